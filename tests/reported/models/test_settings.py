"""k, renormalisation, scaling and groups are read from the model as it is, belong to its fingerprint, are counted right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes import usage
from probes.utilisation import co_selection
from tests.support import families
from tests.support.stores import anatomy, random_tables
from workbench import MoEModel, Plan, Store, WorkbenchError, capture, compare, load, steered
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.store import write_store
from workbench.store.export import export

PROMPTS = ["The quick brown fox", "a b c d e"]


def routers(hf: Any) -> list[Any]:
    return [layer.mlp.gate for layer in hf.model.layers if hasattr(layer.mlp, "gate")]


def set_all(hf: Any, **values: Any) -> None:
    for router in routers(hf):
        assert all(hasattr(router, name) for name in values)
        vars(router).update(values)


def received(model: MoEModel, plan: Plan) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Index and weights that the experts of each layer get for some tokens, as a hook of one's own sees them."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handles = [
        model.hf.get_submodule(x.experts).register_forward_pre_hook(lambda _, args: seen.append((args[1], args[2])))
        for x in model.anatomy.layers
        if x.is_moe
    ]
    try:
        with steered(model, plan), torch.no_grad():
            seen.clear()  # of a model that was changed, entering takes another look
            model.hf(families.ids(model), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def by_expert(index: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(index), 64).scatter_(1, index, weights.float())


def counted_by_hand(hf: Any, store: Store, layer: int, n_experts: int) -> np.ndarray:
    """Selections in a layer: every prompt alone, the bare router asked."""
    n = np.zeros(n_experts)
    seen: list[torch.Tensor] = []
    handle = hf.model.layers[layer].mlp.gate.register_forward_hook(lambda *a: seen.append(a[2][2]))
    for _, tokens in store.tokens.groupby("prompt_id", observed=True):
        with torch.no_grad():
            hf(torch.tensor([tokens["token_id"].tolist()]))
    handle.remove()
    for index in seen:
        for expert in index.flatten().tolist():
            n[expert] += 1
    return n


# ---- k


@pytest.mark.parametrize(("family", "k"), [("olmoe", 2), ("olmoe", 5), ("qwen3_moe", 1), ("mixtral", 3)])
@pytest.mark.parametrize("again", [True, False], ids=["loaded again", "not loaded again"])
def test_k_changed_after_a_first_load(family: str, k: int, again: bool, tmp_path: Path) -> None:
    model = families.build(family)
    set_all(model.hf, top_k=k)
    model = load(model.hf, model.tokenizer) if again else model
    store = capture(model, PROMPTS, tmp_path / "s", progress=False)
    layer = store.layers[0]
    shape = store.anatomy.layer(layer)
    assert shape.top_k == k
    assert store.anatomy.fingerprint == load(model.hf).anatomy.fingerprint
    assert store.routing(layer).expert.shape == (len(store.tokens), k)
    own = counted_by_hand(model.hf, store, layer, shape.n_experts)
    assert own.sum() == k * len(store.tokens)
    frame = usage(store, tokens="all", n_bootstrap=0).frame
    assert frame.groupby("layer").score.sum().to_numpy() == pytest.approx(1.0)
    loads = frame[frame.layer == layer].sort_values("expert").score.to_numpy()
    assert loads == pytest.approx(own / own.sum())
    pairs = co_selection(store, layer, tokens="all", first=0).frame
    assert pairs["n"].sum() == k * (k - 1) // 2 * len(store.tokens)


def test_k_set_back_is_the_model_of_before() -> None:
    model = families.build("olmoe")
    first, k = model.anatomy.fingerprint, model.anatomy.layer(0).top_k
    set_all(model.hf, top_k=k + 1)
    changed = load(model.hf)
    assert changed.anatomy.fingerprint != first
    assert changed.anatomy.layer(0).top_k == k + 1
    set_all(model.hf, top_k=k)
    assert load(model.hf).runtime is model.runtime


def test_a_capture_under_another_k_is_not_gone_on_with(tmp_path: Path) -> None:
    model = families.build("olmoe")
    capture(model, PROMPTS, tmp_path / "s", progress=False)
    set_all(model.hf, top_k=2)
    with pytest.raises(
        WorkbenchError, match=r"begun with another model .*another top-k \(\[3, 3, 3\] there, \[2, 2, 2\]"
    ):
        capture(model, PROMPTS, tmp_path / "s", progress=False)


@pytest.mark.parametrize(("said", "real"), [(3, 2), (2, 4), (1, 2)])
def test_a_store_whose_anatomy_says_another_k(said: int, real: int, tmp_path: Path) -> None:
    """As captures made before this was mended are, on a model whose k had been changed."""
    tables = random_tables(n_prompts=3, shape=anatomy(top_k=real))
    store = write_store(tmp_path / "s", anatomy(top_k=said), tables)
    slots = tables["slots"]
    for layer in store.layers:
        rows = slots[slots.layer == layer]
        assert store.routing(layer).expert.shape[1] == real
        n = np.array([(rows.expert == e).sum() for e in range(5)])
        found = usage(store, tokens="all", n_bootstrap=0).frame
        found = found[found.layer == layer].sort_values("expert")
        assert found.score.to_numpy() == pytest.approx(n / n.sum())
        pairs = co_selection(store, layer, tokens="all", first=0).frame
        assert pairs["n"].sum() == real * (real - 1) / 2 * (len(rows) / real)
        selected: Any = export(store)
        assert selected[f"blocks.{layer}.mlp.hook_expert_indices"].shape[1] == real


@pytest.mark.parametrize("slot", [0, 1])
def test_an_empty_slot_is_no_expert(slot: int, tmp_path: Path) -> None:
    """One token lacks a slot: not the last expert is counted for it, nor any other."""
    tables = random_tables(n_prompts=2, shape=anatomy())
    slots = tables["slots"]
    lacks = slots.index[(slots.slot == slot) & (slots.layer == 1)][0]
    tables["slots"] = slots = slots.drop(index=lacks)
    store = write_store(tmp_path / "s", anatomy(), tables)
    rows = slots[slots.layer == 1]
    tokens = rows.groupby(["prompt_id", "position"]).ngroups
    n = np.array([(rows.expert == e).sum() for e in range(5)])
    assert (store.routing(1).expert == -1).sum() == 1 + 2 * (len(store.tokens) - tokens)
    assert store.counts().n.sum(0)[0].tolist() == n.tolist()
    pairs = co_selection(store, 1, tokens="all", first=0).frame
    ends = [pairs["expert"].to_numpy(), pairs["other_expert"].to_numpy()]
    assert pairs["expected"].to_numpy() == pytest.approx(n[ends[0]] * n[ends[1]] / tokens**2)
    assert pairs["n"].sum() == tokens - 1, "the token that lacks one has no pair"
    assert usage(store, tokens="all", n_bootstrap=0).frame.groupby("layer").score.sum().to_numpy() == pytest.approx(1.0)


# ---- the other settings

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "renormalised": ("olmoe", {"norm_topk_prob": True}),
    "not renormalised": ("qwen3_moe", {"norm_topk_prob": False}),
    "scaled": ("deepseek_v3", {"routed_scaling_factor": 1.7}),
    "scaled, not renormalised": ("glm4_moe", {"routed_scaling_factor": 0.5, "norm_topk_prob": False}),
    "fewer groups": ("deepseek_v3", {"topk_group": 1}),
    "no groups": ("deepseek_v3", {"num_group": 1, "topk_group": 1}),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("again", [True, False], ids=["loaded again", "not loaded again"])
def test_an_edit_that_changes_nothing_leaves_the_weights(name: str, again: bool) -> None:
    family, change = CHANGES[name]
    model = families.build(family)
    before = model.anatomy
    set_all(model.hf, **change)
    model = load(model.hf, model.tokenizer) if again else model
    layer = model.anatomy.moe_layers[0]
    own, under = received(model, Plan()), received(model, Plan.bias([(layer, 0)], 1e-6))
    assert len(own) == len(model.anatomy.moe_layers)
    for a, b in zip(own, under, strict=True):
        assert torch.allclose(by_expert(*a), by_expert(*b), atol=1e-4)
    after = load(model.hf).anatomy
    assert after.fingerprint != before.fingerprint
    assert after.unversioned == before.unversioned, "which is why fingerprints have a version"


@pytest.mark.parametrize(
    ("family", "dtype"), [("olmoe", "bfloat16"), ("deepseek_v3", "bfloat16"), ("glm4_moe", "bfloat16")]
)
def test_the_fingerprint_does_not_hang_on_the_dtype(family: str, dtype: str) -> None:
    wide, other = families.build(family), families.build(family, dtype)
    assert wide.anatomy.fingerprint.startswith("2:")
    assert wide.anatomy.fingerprint == other.anatomy.fingerprint


@pytest.mark.parametrize("family", ["deepseek_v3", "glm4_moe"])
def test_a_correction_bias_belongs_to_the_model(family: str) -> None:
    model = families.build(family)
    routers(model.hf)[-1].e_score_correction_bias[3] += 0.25
    changed = load(model.hf)
    assert changed.anatomy.fingerprint != model.anatomy.fingerprint
    assert changed.anatomy.weights == model.anatomy.weights


# ---- between load and capture, steering, comparing


def half_all(hf: Any) -> None:
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.mul_(0.5)


@pytest.mark.parametrize(
    "change",
    [half_all, lambda hf: set_all(hf, top_k=2), lambda hf: set_all(hf, norm_topk_prob=True)],
    ids=["weights", "k", "renormalise"],
)
def test_a_capture_is_of_the_model_of_now(change: Callable[[Any], None], tmp_path: Path) -> None:
    model = families.build("olmoe")
    first = capture(model, PROMPTS, tmp_path / "first", keep=(), progress=False)
    model.hf.train()
    change(model.hf)
    second = capture(model, PROMPTS, tmp_path / "second", keep=(), progress=False)
    assert model.hf.training, "looking again leaves the mode"
    fresh = tiny_model("olmoe")
    change(fresh)
    assert first.anatomy.fingerprint == model.anatomy.fingerprint
    assert second.anatomy.fingerprint == load(fresh, tiny_tokenizer()).anatomy.fingerprint != first.anatomy.fingerprint
    assert second.manifest["fingerprint"] == second.anatomy.fingerprint
    with pytest.raises(WorkbenchError, match="begun with another model"):
        capture(model, PROMPTS, tmp_path / "first", keep=(), progress=False)
    stamped = Plan.off("L0E1").for_model(model.anatomy)
    with pytest.raises(WorkbenchError, match="made on another model"):
        capture(model, PROMPTS, tmp_path / "third", keep=(), plan=stamped, progress=False)
    with pytest.raises(WorkbenchError, match="made on another model"):
        compare(model, PROMPTS, stamped, metrics=("length",), controls=0, max_new_tokens=1, progress=False)


def test_changed_inside_a_block_that_steers_is_refused(tmp_path: Path) -> None:
    """What is in force there was made for the model of before; it must neither be lost nor be taken for the new one's."""
    model = families.build("olmoe")
    with steered(model, Plan.off("L0E1")):
        set_all(model.hf, top_k=2)
        with pytest.raises(WorkbenchError, match=r"was changed .* inside a block"):
            capture(model, PROMPTS, tmp_path / "s", progress=False)
    assert capture(model, PROMPTS, tmp_path / "s", progress=False).steering is None


def test_what_changes_nothing_is_no_change(tmp_path: Path) -> None:
    model = families.build("olmoe")
    with steered(model, Plan.off("L0E1")) as plan:
        for router in routers(model.hf):
            router.made_up = 7  # read by nobody
        try:
            store = capture(model, PROMPTS, tmp_path / "s", progress=False)
        except WorkbenchError as error:
            pytest.fail(f"refused: {error}")
    assert store.anatomy.fingerprint == model.anatomy.fingerprint
    assert store.steering == plan
