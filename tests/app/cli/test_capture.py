"""`workbench capture` hands every option on."""

import json
from pathlib import Path

import pytest
from workbench_app.cli import capture as cli_capture

import workbench
import workbench.replicas
from tests.app.cli.printed import Recorder, lines, model, run
from tests.support.stores import random_store
from workbench import Plan, WorkbenchError, open_store

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Recorder, Recorder]:
    """`capture`, which answers with a store of three prompts, and what opens the model."""
    made, opened = Recorder(random_store(tmp_path / "s", n_prompts=3)), Recorder(model())
    monkeypatch.setattr(workbench, "capture", made)
    monkeypatch.setattr(cli_capture, "open_model", opened)
    return made, opened


def size_of(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def test_capture_by_its_defaults(capturing: tuple[Recorder, Recorder], tmp_path: Path) -> None:
    made, opened = capturing
    said = run("capture", "m", "refusal", "--store", tmp_path / "s")
    assert said.exit_code == 0, said.output
    assert made.named == {
        "keep": None, "generate": 0, "samples": 1, "temperature": 0.0, "responses": None, "layers": None,
        "experts": None, "batch_tokens": 4096, "seed": 0, "plan": None, "resume": True, "text": True,
        "single_writer": False,
    }  # fmt: skip
    assert opened.given == ("m",)
    assert opened.named == {"device": "auto", "dtype": "auto", "engine": None}
    rows = open_store(tmp_path / "s").manifest["rows"]
    counted = ", ".join(f"{n:,} {table}" for table, n in rows.items())
    assert rows["prompts"] == 3
    assert lines(said.stdout) == [f"{tmp_path / 's'}: {counted}; {size_of(tmp_path / 's') / 1000:.1f} kB"]


def test_capture_hands_every_option_on(capturing: tuple[Recorder, Recorder], tmp_path: Path) -> None:
    made, opened = capturing
    Plan.off("L1E3").to_json(tmp_path / "p.json")
    words = [
        "--keep", "norms, logits,", "--generate", 3, "--samples", 2, "--temperature", 0.5, "--responses", "--layers", "2,0-1",
        "--experts", "L1E2", "--plan", tmp_path / "p.json", "--batch-tokens", 99, "--seed", 4, "--no-text", "--no-resume",
        "--single-writer", "--device", "cpu", "--dtype", "float32", "--json",
    ]  # fmt: skip
    said = run("capture", "m", "refusal", "--store", tmp_path / "s", *words)
    assert said.exit_code == 0, said.output
    assert list(map(str, made.named.pop("experts"))) == ["L1E2"]
    assert made.named == {
        "keep": {"norms", "logits"}, "generate": 3, "samples": 2, "temperature": 0.5, "responses": True, "layers": [0, 1, 2],
        "batch_tokens": 99, "seed": 4, "plan": Plan.off("L1E3"), "resume": False, "text": False,
        "single_writer": True,
    }  # fmt: skip
    assert opened.given == ("m",)
    assert opened.named == {"device": "cpu", "dtype": "float32", "engine": None}
    assert made.given[2] == str(tmp_path / "s")
    rows = open_store(tmp_path / "s").manifest["rows"]
    assert json.loads(said.stdout) == {
        "store": str(tmp_path / "s"), "rows": rows, "size_bytes": size_of(tmp_path / "s"),
    }  # fmt: skip


def test_layers_are_numbers_and_ranges() -> None:
    assert cli_capture.numbers("0,3-5") == [0, 3, 4, 5]
    assert cli_capture.numbers(" 7 , 2-2") == [2, 7]
    assert len(cli_capture.numbers("0-9999")) == 10_000
    for text in ("x", "1-", "-1", "", "1,,2", "3-x"):
        if text == "1-":
            assert cli_capture.numbers(text) == [1]
            continue
        with pytest.raises(WorkbenchError) as error:
            cli_capture.numbers(text)
        assert str(error.value) == f"'{text}' names no layers; write them like 0,3-5."
    for text in ("5-3", "0-10000"):
        with pytest.raises(WorkbenchError) as error:
            cli_capture.numbers(text)
        assert str(error.value) == f"'{text}' names no layers of a model; write them like 0,3-5."


def test_capture_is_spread_over_a_cluster_which_loads_the_model_itself(
    capturing: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, opened = capturing
    spread = Recorder(random_store(tmp_path / "r", n_prompts=3))
    monkeypatch.setattr(workbench.replicas, "capture_on", spread)
    words = ["--ray", "head:6379", "--workers", 3, "--gpus-per-worker", 0.5, "--experts", "L1E*", "--device", "cpu"]
    said = run("capture", "m", "refusal", "--store", tmp_path / "s", *words)
    assert said.exit_code == 0, said.output
    cluster, source, prompts, into = spread.given
    assert cluster == workbench.replicas.Cluster("head:6379", 3, 0.5)
    assert (source, into, prompts.source) == ("m", str(tmp_path / "s"), "refusal")
    assert spread.named["how"] == {"device": "cpu", "dtype": "auto", "engine": None}
    assert (spread.named["experts"], spread.named["keep"]) == ("L1E*", None)
    assert (made.given, opened.given) == ((), ())  # no model in this process


@pytest.mark.parametrize("words", [("--workers", 3), ("--gpus-per-worker", 1)])
def test_what_belongs_to_a_cluster_is_refused_without_one(
    capturing: tuple[Recorder, Recorder], words: tuple[str, int], tmp_path: Path
) -> None:
    said = run("capture", "m", "refusal", "--store", tmp_path / "s", *words)
    assert said.exit_code == 2
    assert "belong to --ray ADDRESS" in said.stderr
    assert [one.given for one in capturing] == [(), ()]
