"""What a store holds of the model's weights: written once beside the forwards, said before, limited, refused, and lacking."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.support.families import build, get
from tests.workbench.capturing.small import PROMPTS, quiet
from workbench import WorkbenchError, capture
from workbench.capturing import estimate
from workbench.parameters import matrices, routers
from workbench.shards.manifest import sealed
from workbench.store import open_store

BOTH = {"matrices", "routers"}


def same(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(got, expected, check_dtype=False)


def test_both_tables_as_the_model_has_them(tmp_path: Path) -> None:
    model, said = get("deepseek_v3"), []
    store = capture(model, PROMPTS, tmp_path / "s", keep=BOTH, progress=said.append)
    same(store.table("matrices"), matrices(model))
    same(store.table("routers"), routers(model))
    assert store.manifest["rows"]["routers"] == sum(model.anatomy.layer(n).n_experts for n in model.anatomy.moe_layers)
    assert store.check() == []
    assert any("routers " in line.message and "of weights are read once" in line.message for line in said)
    last = model.anatomy.moe_layers[-1]
    assert {*store.table("routers", ["layer"], layers=[last])["layer"]} == {last}
    assert {*store.lacks} == {"residual", "logits", "outputs", "router_inputs", "inner", "directions", "alignments"}
    assert store.query("select sum(n_values) as n from matrices")["n"][0] == matrices(model)["n_values"].sum()


def test_layers_limit_them(tmp_path: Path) -> None:
    model = get("mixtral")
    store = quiet(model, tmp_path / "s", keep=BOTH, layers=[1])
    assert {*store.table("matrices")["layer"]} == {*store.table("routers")["layer"]} == {1}


def test_what_was_not_kept_is_named_with_the_option(tmp_path: Path) -> None:
    store = quiet(get("mixtral"), tmp_path / "s", keep={"norms"})
    assert store.lacks["matrices"] == "capture(..., keep={'matrices'})"
    with pytest.raises(WorkbenchError, match=r"kept no routers; capture it again with keep including 'routers'"):
        store.table("routers")


def test_the_size_is_estimated(tmp_path: Path) -> None:
    model = get("mixtral")
    anatomy, store = model.anatomy, quiet(model, tmp_path / "s", keep=BOTH)
    expected = estimate(anatomy, 0, BOTH).tables
    for name in BOTH:
        found = next(file["size_bytes"] for file in store.manifest["files"] if file["table"] == name)
        assert found < expected[name] + 20_000  # a footer and the headers of pages, whatever is in them
    assert BOTH.isdisjoint(estimate(anatomy, 0, {"norms"}).tables)


def test_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"is not one matrix of 12 rows .*; leave routers out of keep\.$"):
        quiet(build("zaya"), tmp_path / "s", keep={"routers"})
    assert not (tmp_path / "s").exists()


def test_a_store_of_version_1_opens_and_lacks_them(tmp_path: Path) -> None:
    store = quiet(get("mixtral"), tmp_path / "s", keep={"norms"})
    plan = store.plan_json | {"schema_version": 1}
    (store.path / "plan.json").write_text(json.dumps(plan))
    rows = {name: n for name, n in store.manifest["rows"].items() if name not in BOTH}
    old = {name: x for name, x in store.manifest.items() if "sha256" not in name} | {"schema_version": 1, "rows": rows}
    (store.path / "manifest.json").write_text(json.dumps(sealed(store.path, old)))
    found = open_store(store.path)
    assert {*BOTH} < {*found.lacks}
    assert found.counts().n.sum() == store.counts().n.sum()
    assert found.check() == []


def test_one_that_version_1_began_goes_on_and_stays_version_1(tmp_path: Path) -> None:
    model = get("mixtral")
    quiet(model, tmp_path / "s")
    (tmp_path / "s/manifest.json").unlink()
    plan = json.loads((tmp_path / "s/plan.json").read_text()) | {"schema_version": 1}
    (tmp_path / "s/plan.json").write_text(json.dumps(plan))
    store = quiet(model, tmp_path / "s")
    assert (store.plan_json["schema_version"], store.manifest["schema_version"]) == (1, 1)
