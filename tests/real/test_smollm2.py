"""Super experts of SmolLM2-135M as a mixture of experts: the ones that write the massive activation, and no others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from probes import MassiveRule, super_experts, writers_of
from probes.magnitudes import forming_layers
from probes.ranking import refs_of
from tests.real.groups import dealt, groups_store, watched, writers
from tests.real.texts import HELD_OUT, READ
from workbench import Plan, Store, capture, load, steered
from workbench.anatomy import ExpertRef
from workbench.attribution import writers as attributed
from workbench.comparison import parts
from workbench.factorization import Groups, deal, rewrite

pytestmark = [pytest.mark.real, pytest.mark.timeout(480)]
EXPERTS, SHARED, LAYER = 28, 4, 11
"""Layer 11 writes 15,000 and 4,800 with two of its 1,536 neurons (found neuron by neuron, below)."""


@pytest.fixture(scope="module")
def neurons(smollm2: tuple[Any, Any]) -> list[int]:
    """The neurons of layer 11 that write more than a thousand, the largest first."""
    dense, tokenizer = smollm2
    found = writers(dense, tokenizer(READ[0], return_tensors="pt").input_ids)
    large = sorted((x for x in found if x[0] == LAYER and found[x] > 1000), key=lambda x: -found[x])
    assert len(large) == 2
    return [neuron for _, neuron in large]


def groups(seed: int, kept: list[int]) -> list[Groups]:
    """The groups of every layer; kept: neurons of layer 11 that lie in its expert 0 together."""
    return [deal(1536, EXPERTS, SHARED, seed + 1000 * i, kept if i == LAYER else ()) for i in range(30)]


def as_experts(dense: Any, seed: int, kept: list[int]) -> Any:
    return rewrite(dense, groups(seed, kept), None, EXPERTS)


def moe(smollm2: tuple[Any, Any], folder: Path, seed: int, kept: list[int]) -> tuple[Any, Store]:
    """The rewrite, loaded, and a store of what it reads."""
    dense, tokenizer = smollm2
    model = load(as_experts(dense, seed, kept), tokenizer)
    prompts = [{"text": text} for text in READ]
    return model, capture(model, prompts, folder / "store", keep={"norms", "residual"}, progress=False)


def holders(seed: int, neurons: list[int]) -> list[str]:
    """The experts that hold the neurons when nothing is kept together."""
    found = [(groups(seed, [])[LAYER].routed == neuron).any(1).nonzero().flatten().tolist() for neuron in neurons]
    return [f"L{LAYER}E{group[0]}" if group else f"L{LAYER}S0" for group in found]


def flagged(store: Store, **how: Any) -> list[str]:
    return [str(x) for x in super_experts(store, **how).flagged("super expert")]


@torch.no_grad()
def test_the_rewrite_computes_what_the_dense_model_computes(smollm2):
    dense, tokenizer = smollm2
    ids = tokenizer(READ[1], return_tensors="pt").input_ids
    rewritten = as_experts(dense, 3, [])
    assert torch.allclose(rewritten(ids).logits, dense(ids).logits, atol=1e-3, rtol=0)


def test_the_expert_that_writes_it_is_found_and_muting_it_breaks_the_model(smollm2, neurons, loss, tmp_path):
    model, store = moe(smollm2, tmp_path, 0, neurons)
    assert forming_layers(store, MassiveRule()) == (LAYER,)
    assert flagged(store) == flagged(store, rule="paper") == ["L11E0"]
    assert forming_layers(store, MassiveRule(against="own")) == ()  # beside its own median nothing is massive
    cost = _cost(model, loss)
    broken = cost("L11E0")
    print(f"mute L11E0: {broken:+.3f} nats")
    assert broken > 0.7
    largest = [ref for ref in super_experts(store).top(4) if str(ref) != "L11E0"]
    drawn = Plan.random_like(Plan.mute("L11E0"), model.anatomy, match="layer", seed=0)
    others = {str(e): cost(str(e)) for e in (*largest, *drawn.experts)}
    print("mute others:", {name: round(value, 3) for name, value in others.items()})
    assert len(others) == 4
    assert all(value < 0.15 * broken for value in others.values())


@pytest.mark.parametrize("seed", [0, 1])  # with 0 one of the two lies in the shared expert
def test_where_two_experts_write_it_together_both_are_found(smollm2, neurons, loss, tmp_path, seed):
    model, store = moe(smollm2, tmp_path, seed, [])
    both = holders(seed, neurons)
    assert len(set(both)) == 2
    assert flagged(store) == both
    assert flagged(store, rule="paper") == both[:1]  # its percentile lets the largest pass alone
    assert [str(x) for x in super_experts(store).flagged("writes with others")] == both
    _as_the_weights_say(model, store, smollm2, both, neurons)
    cost = _cost(model, loss)
    together, alone = cost(*both), [cost(name) for name in both]
    print(f"mute {both}: {together:+.3f} nats, alone {[round(x, 3) for x in alone]}")
    assert together > 0.7
    assert all(value < 0.3 * together for value in alone)
    others = [
        f"L{LAYER}E{e}" for e in range(EXPERTS) if f"L{LAYER}E{e}" not in both
    ]  # dealt at random: so are the first
    assert cost(*others[:2]) < 0.1 * together
    table = parts(model, [{"text": text} for text in HELD_OUT], Plan.mute(both), controls=2)
    print(table.to_string())
    change, lost = table.set_index("arm")["change"], table.set_index("arm")["decay"]
    assert change["together"] == pytest.approx(together, abs=1e-3)
    assert change["alone"].tolist() == pytest.approx(sorted_alone(both, alone), abs=1e-3)
    assert lost["together"] > 3 * max(lost.drop("together"))


def sorted_alone(both: list[str], alone: list[float]) -> list[float]:
    """In the order of the experts' names, as a plan has them."""
    return [value for _, value in sorted(zip(map(ExpertRef.parse, both), alone, strict=True))]


@torch.no_grad()
def test_nothing_is_flagged_on_the_twin_whose_writers_are_of_ordinary_size(smollm2, neurons, tmp_path):
    dense, tokenizer = smollm2
    down = dense.model.layers[LAYER].mlp.down_proj.weight
    before = down.clone()
    texts = [tokenizer(text, return_tensors="pt").input_ids for text in READ]
    members = [dealt(1536, 32, seed) for seed in range(30)]
    try:
        down[:, neurons] *= 1e-3
        twin = groups_store(tmp_path / "twin", dense, watched(dense, texts), members)
    finally:
        down.copy_(before)
    assert forming_layers(twin, MassiveRule()) == ()
    assert flagged(twin) == []


def _as_the_weights_say(
    model: Any, store: Store, smollm2: tuple[Any, Any], both: list[str], neurons: list[int]
) -> None:
    """What the two write is what their neurons write by the weights, by the store's sizes and by a forward's parts."""
    wrote = writers(smollm2[0], smollm2[1](READ[0], return_tensors="pt").input_ids)
    first = store.prompt_ids[0]
    sizes: Any = writers_of(store)
    sizes = sizes[sizes["prompt_id"] == first]
    whole = attributed(model, [{"id": first, "text": READ[0]}], sizes)
    signed = whole[whole["position"] == 0].set_index("part")["value"]
    known = {str(ref): value for ref, value in zip(refs_of(sizes), sizes["wrote"], strict=True)}
    for name, neuron in zip(both, neurons, strict=True):
        expected = wrote[LAYER, neuron]
        assert known[name] == pytest.approx(expected, rel=5e-3)  # the expert's other neurons write a little as well
        assert abs(signed[name]) == pytest.approx(expected, rel=5e-3)
    assert signed.sum() == pytest.approx(float(sizes["size"].iloc[0]), rel=1e-5)
    assert abs(signed["attention"]) + abs(signed["before"]) < 0.01 * signed.sum()


def _cost(model: Any, loss: Callable[[Any, Any], float]) -> Callable[..., float]:
    """Nats a token that muting these experts costs on the texts held out."""
    base = loss(model.hf, model.tokenizer)

    def cost(*experts: str | ExpertRef) -> float:
        with steered(model, Plan.mute(experts)):
            return loss(model.hf, model.tokenizer) - base

    return cost
