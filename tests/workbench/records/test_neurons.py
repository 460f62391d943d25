"""Router inputs and neurons of experts: equal to what the modules are given and make, for every family; what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.conformance.checks.case import SUPPORTED
from tests.support.families import build, get, slow
from tests.workbench.capturing.small import PROMPTS, quiet
from workbench import Plan, WorkbenchError
from workbench.capturing import expected_size
from workbench.capturing.options import Options
from workbench.model import MoEModel
from workbench.parameters import check_inner, n_neurons
from workbench.store import Store

KEY = ["prompt_id", "sample", "position"]
SLOT = [*KEY, "layer", "slot", "expert"]
BOTH = {"router_input", "inner"}
LONG = [{"id": f"p{n}", "text": f"{n} words " * 12} for n in range(6)]


def after(model: MoEModel, layer: int, expert: int, inner: Tensor) -> Tensor:
    """What an expert adds to the stream by its neurons, written out for each way in which weights lie."""
    block = model.runtime.layout.blocks[layer]
    if type(block.block).__name__ == "DbrxFFN":
        mlp: Any = block.block.experts.mlp
        return inner @ mlp.w2.view(-1, mlp.ffn_hidden_size, mlp.hidden_size)[expert]
    if type(block.block).__name__ == "JetMoeMoE":
        return inner @ block.block.output_linear.weight[expert].T
    experts: Any = block.block.experts if type(block.block).__name__ == "Llama4TextMoe" else block.experts
    weight = experts.down_proj[expert]
    bias = getattr(experts, "down_proj_bias", None)
    out = inner @ (weight if weight.shape[0] == inner.shape[1] and weight.shape[1] != inner.shape[1] else weight.T)
    return out if bias is None else out + bias[expert]


@pytest.mark.parametrize("family", slow(SUPPORTED, ("mixtral", "gpt_oss", "longcat_flash")))
@torch.no_grad()
def test_what_follows_the_neurons_gives_the_expert_s_recorded_output(family: str, tmp_path: Path) -> None:
    model = get(family)
    store = quiet(model, tmp_path / "s", keep=BOTH | {"outputs"})
    outputs = store.table("outputs")
    both = store.table("inner").merge(outputs[outputs["slot"] >= 0], on=SLOT, how="outer", indicator=True)
    missing = both["_merge"] != "both"
    held = {n: _held(model, n) for n in model.anatomy.moe_layers}
    assert (both["expert"] >= both["layer"].map(held))[missing].all(), "an expert with neurons has none"
    for (layer, expert), rows in both[~missing].groupby(["layer", "expert"]):
        inner, own = (torch.tensor(np.stack(list(rows[name]))) for name in ("neurons", "output"))
        found = after(model, layer, expert, inner)
        if hasattr(block := model.runtime.layout.blocks[layer].experts, "post_expert_norm"):
            found = block.post_expert_norm(found)
        torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5 * own.abs().max().item())
    assert {*n_neurons(model).values()} == {len(x) for x in both.loc[~missing, "neurons"]}


def _held(model: MoEModel, layer: int) -> int:
    """Experts that have weights."""
    down = getattr(model.runtime.layout.blocks[layer].experts, "down_proj", None)
    return model.anatomy.layer(layer).n_experts if down is None else len(down)


@pytest.mark.parametrize("name", slow(("mixtral", "deepseek_v3", "llama4"), ("mixtral",)))
def test_router_inputs_are_what_the_router_was_called_with(name: str, tmp_path: Path) -> None:
    model, seen = get(name), dict[int, Tensor]()
    blocks = model.runtime.layout.blocks
    store = quiet(model, tmp_path / "s", [{"id": "a", "text": "Who routes?"}], keep=BOTH | {"logits"})
    found = store.table("router_inputs")
    where = {n: b.router if b.adapter is None else b.block for n, b in blocks.items()}
    handles = [
        module.register_forward_pre_hook(lambda _, args, n=n: seen.__setitem__(n, args[0]))
        for n, module in where.items()
    ]
    ids = torch.tensor([store.tokens["token_id"].tolist()])
    with torch.no_grad():
        model.hf(input_ids=ids)
    for handle in handles:
        handle.remove()
    for layer, given in seen.items():
        rows = np.stack(list(found.loc[found["layer"] == layer, "router_input"]))
        np.testing.assert_allclose(rows, given.reshape(-1, rows.shape[1]).numpy(), rtol=1e-5, atol=1e-6)
    assert len(found) == len(store.tokens) * len(blocks)


def test_a_steered_capture_keeps_the_neurons_of_the_experts_that_computed(tmp_path: Path) -> None:
    model = get("llama4")  # whose weights multiply what goes in
    plan = Plan.scale(["L1E0", "L1E1"], 3.0) | Plan.off("L1E2")
    store = quiet(model, tmp_path / "s", keep={"inner", "outputs"}, plan=plan, generate=2)
    outputs = store.table("outputs")
    both = store.table("inner").merge(outputs[outputs["slot"] >= 0], on=SLOT, validate="1:1")
    assert len(both) == (outputs["slot"] >= 0).sum()
    assert 2 not in {*both.loc[both["layer"] == 1, "expert"]}
    for (layer, expert), rows in both.groupby(["layer", "expert"]):
        inner, own = (torch.tensor(np.stack(list(rows[name]))) for name in ("neurons", "output"))
        torch.testing.assert_close(after(model, layer, expert, inner), own, rtol=1e-4, atol=1e-5)


def drawn(store: Store, table: str) -> set[tuple[object, ...]]:
    return {*store.table(table, KEY).drop_duplicates().itertuples(index=False, name=None)}


def test_a_share_keeps_all_of_some_tokens_and_a_smaller_one_fewer_of_the_same(tmp_path: Path) -> None:
    model = get("mixtral")
    whole = quiet(model, tmp_path / "1", LONG, keep=BOTH)
    some = quiet(model, tmp_path / "2", LONG, keep={"router_input:0.5", "inner:0.2"}, batch_tokens=40, shard_tokens=40)
    half, fifth = drawn(some, "router_inputs"), drawn(some, "inner")
    assert fifth < half < drawn(whole, "inner") == drawn(whole, "router_inputs")
    assert 0.1 < len(fifth) / len(whole.tokens) < 0.3
    for table, column, by in (("inner", "neurons", SLOT), ("router_inputs", "router_input", [*KEY, "layer"])):
        ours, theirs = some.table(table), whole.table(table)
        of = drawn(some, table)
        kept = theirs[[tuple(row) in of for row in theirs[KEY].itertuples(index=False, name=None)]]
        ours, kept = (x.sort_values(by, ignore_index=True) for x in (ours, kept))
        pd.testing.assert_frame_equal(ours[by], kept[by])
        np.testing.assert_allclose(
            np.stack(ours[column]), np.stack(kept[column]), rtol=1e-4, atol=1e-5
        )  # other batches


def test_layers_and_experts_limit_them(tmp_path: Path) -> None:
    store = quiet(get("mixtral"), tmp_path / "s", keep=BOTH, layers=[1], experts=["L1E0", "L1E2", "L0E1"])
    assert {*store.table("inner")["layer"]} == {*store.table("router_inputs")["layer"]} == {1}
    assert {*store.table("inner")["expert"]} == {0, 2}
    assert store.query('select count(*) as n from "inner"')["n"][0] == len(store.table("inner"))  # a word of SQL's own


def test_the_size_is_said_before(tmp_path: Path) -> None:
    model = get("mixtral")
    said = expected_size(model, 1000, Options(keep=["router_input:0.1", "inner"])).tables
    hidden, width, layers = model.anatomy.hidden_size, {*n_neurons(model).values()}.pop(), len(model.anatomy.moe_layers)
    assert said["router_inputs"] == round(100 * layers * (hidden * 3.7 + 0.5))
    assert said["inner"] == round(1000 * layers * model.anatomy.layer(0).top_k * (width * 3.7 + 0.5))
    store = quiet(model, tmp_path / "s", LONG, keep=BOTH)
    expected = expected_size(model, len(store.tokens), Options(keep=BOTH)).tables
    for shard in store.manifest["shards"]:
        for file in shard["files"]:
            if file["table"] in ("inner", "router_inputs"):
                assert 0.5 * expected[file["table"]] < file["size_bytes"] < expected[file["table"]] + 20_000
    assert {"inner", "router_inputs"}.isdisjoint(expected_size(model, 1000, Options()).tables)


def test_a_module_that_computes_otherwise_is_refused_by_name_before_anything_is_written(tmp_path: Path) -> None:
    model = build("mixtral")
    block = model.runtime.layout.blocks[1]
    own = type(block.experts).forward
    block.experts.forward = lambda *args, **how: own(block.experts, *args, **how) * 1.5  # type: ignore[assignment]
    with pytest.raises(
        WorkbenchError, match=r"neurons of the experts of layer 1 \('model\.layers\.1\.mlp\.experts'\) .*own answer"
    ):
        check_inner(model)
    with pytest.raises(WorkbenchError, match=r"; leave inner out of keep\.$"):
        quiet(model, tmp_path / "s", PROMPTS, keep={"inner"})
    assert not (tmp_path / "s").exists()


def test_weights_that_are_not_here_are_refused() -> None:
    model = build("mixtral")
    model.runtime.layout.blocks[0].experts.to("meta")
    with pytest.raises(WorkbenchError, match=r"is offloaded or has no values here .*leave inner out of keep"):
        check_inner(model)


def test_what_was_not_kept_is_named_with_its_option(tmp_path: Path) -> None:
    store = quiet(get("mixtral"), tmp_path / "s", keep={"inner:0.5"})
    assert "inner" not in store.lacks
    assert store.lacks["router_inputs"] == "capture(..., keep={'router_input'})"
    with pytest.raises(
        WorkbenchError, match="kept no router_inputs; capture it again with keep including 'router_input'"
    ):
        store.table("router_inputs")
