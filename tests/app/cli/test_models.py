"""`workbench models` and `workbench inspect`: the families, and the map of one model."""

import json

import pytest

from tests.app.cli.printed import SHAPE, Recorder, columns, lines, model, run
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule
from workbench.backends import Capabilities
from workbench.bundled import bundled_path

pytestmark = pytest.mark.usefixtures("wide")


def test_models_lists_what_the_conformance_suite_found() -> None:
    found = json.loads(bundled_path("conformance.json").read_text("utf-8"))
    rows = json.loads(run("models", "--json").stdout)
    assert rows[0] == {"model": "demo", "what": rows[0]["what"]}
    by_name = {row["model"]: row["no"] for row in rows[1:]}
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


RULE = RoutingRule("softmax", True)

MAP = Anatomy(
    "some/model", "fam", 64, 50_000, "w",
    (LayerAnatomy(0, n_shared=2), LayerAnatomy(1, 8, 2, 1, rule=RULE),
     LayerAnatomy(2, 16, 4, 0, refused={"off": "a reason", "bias": "other"}),
     LayerAnatomy(3, 8, 2, 0, refused={"off": "a reason"})),
    revision="main", context_length=4096, adapters=("one", "two"),
)  # fmt: skip


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
        ["off is not supported in layers 2, 3: a reason"],
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
