"""The dose equals a count by brute force: token by token, slot by slot."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.support import families, reference
from tests.support.families import MODELS
from tests.support.watching import Spec, edits_of, plan_of, watch_all
from workbench import Plan, steered
from workbench.model import MoEModel
from workbench.routing import Dose, DoseCounts

Key = tuple[int, int]  # forward, row


def brute_force(
    model: MoEModel, plan: Plan, specs: Sequence[Spec], ids: Tensor, mask: Tensor, layers: Sequence[int]
) -> DoseCounts:
    """A slot is changed when the expert would not have been there, or its weight or its output is another."""
    seen = watch_all(model, plan, lambda: model.hf(ids, attention_mask=mask))
    changed_tokens, slots, emptied, tokens = set[Key](), 0, 0, int(mask.sum())
    silenced = {e: kind for kind, e, _ in specs if kind in ("mute", "replace") and e >= 0}
    for f, forward in enumerate(seen):
        for layer in layers:
            for row, logits in enumerate(forward[layer].logits.double().tolist()):
                if not mask.reshape(-1)[row]:
                    continue
                before = reference.route_token(model.hf, layer, logits).weights
                after = reference.route_token(model.hf, layer, logits, edits_of(specs)).weights
                close = 1e-5 * max(after.values(), default=0.0)
                changed = [
                    e
                    for e, w in after.items()
                    if e not in before
                    or abs(w - before[e]) > close
                    or (e in silenced and (w or silenced[e] == "replace"))
                ]
                slots += len(changed)
                emptied += all(w == 0 for w in after.values())
                changed_tokens |= {(f, row)} if changed else set()
    total = sum(x.top_k + x.n_shared for x in model.anatomy.layers) * tokens
    return DoseCounts(tokens, len(changed_tokens), total, slots, emptied)


CASES: dict[str, list[Spec]] = {
    "off": [("off", 1, None), ("off", 2, None)],
    "force": [("force", 3, None)],
    "bias": [("bias", 2, 0.5)],
    "drop": [("drop", 1, None), ("drop", 2, None)],
    "scale": [("scale", 1, 2.0)],
    "scale by one": [("scale", 1, 1.0)],
    "mute": [("mute", 1, None)],
    "replace": [("replace", 1, [0.5] * 32)],
    "several": [("off", 1, None), ("scale", 2, 0.5), ("mute", 3, None), ("drop", 4, None)],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["mixtral", "olmoe", "deepseek_v3"])
@torch.no_grad()
def test_dose_equals_brute_force(name: str, case: str) -> None:
    model = families.get(name)
    ids, mask = families.ids(model, 4, 24), torch.ones(4, 24, dtype=torch.long)
    mask[1, :3] = 0
    layers = [model.anatomy.moe_layers[-1]]
    plan, dose = plan_of(model, CASES[case], layers), Dose()
    with steered(model, plan, dose=dose):
        model.hf(ids, attention_mask=mask)
    assert dose.counts() == brute_force(model, plan, CASES[case], ids, mask, layers)
    changes = case != "scale by one"
    assert (dose.counts().tokens_changed > 0) == changes
    assert str(dose.counts()).startswith("nothing changed") != changes


@torch.no_grad()
def test_dose_counts_tokens_with_no_expert_left() -> None:
    model = families.get("mixtral")
    ids = families.ids(model, 2, 5)
    plan, dose = Plan.drop([(1, e) for e in range(8)]), Dose()
    with steered(model, plan, dose=dose):
        model.hf(ids)
        model.hf(ids)
    assert dose.counts() == DoseCounts(20, 20, 20 * 9, 60, 20)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_dose_of_a_generation_in_one_phase(name: str) -> None:
    model = families.get(name)
    n = families.moe_layer(model)
    k = model.anatomy.layer(n).top_k
    everything = [(n, e) for e in range(model.anatomy.layer(n).n_experts)]
    dose = Dose()
    with steered(model, Plan.mute(everything, phase="generated"), dose=dose):
        model.hf.generate(families.ids(model, 2, 6), max_new_tokens=4, do_sample=False, eos_token_id=None)
    counts = dose.counts()
    assert (counts.tokens, counts.tokens_changed, counts.slots_changed) == (2 * (6 + 3), 2 * 3, 2 * 3 * k)


@torch.no_grad()
def test_an_inner_block_does_not_stop_the_outer_dose() -> None:
    model = families.get("mixtral")
    ids, dose = families.ids(model, 1, 5), Dose()
    with steered(model, Plan.mute([(1, e) for e in range(8)]), dose=dose):
        model.hf(ids)
        with steered(model, Plan.scale([(2, 1)], 2.0)):
            model.hf(ids)
    assert dose.counts().tokens == 10


@torch.no_grad()
def test_dose_counts_shared_experts() -> None:
    model = families.get("qwen2_moe")
    ids, dose = families.ids(model, 2, 5), Dose()
    with steered(model, Plan.mute("L1S0"), dose=dose):
        model.hf(ids)
    assert dose.counts() == DoseCounts(10, 10, 10 * 3 * 4, 10, 0)


@torch.no_grad()
def test_a_token_that_is_changed_in_several_layers_is_one_token() -> None:
    """Mixtral here has three layers with top-3; six tokens, by hand."""
    model = families.get("mixtral")
    ids, every = families.ids(model, 1, 6), range(8)
    both, apart = Dose(), Dose()
    with steered(model, Plan.mute([(n, e) for n in (0, 2) for e in every]), dose=both):
        model.hf(ids)
    assert both.counts() == DoseCounts(6, 6, 54, 2 * 6 * 3, 0)
    plan = Plan.mute([(0, e) for e in every], positions="0-2") | Plan.mute([(1, e) for e in every], positions="2-4")
    with steered(model, plan, dose=apart):
        model.hf(ids)
        model.hf(ids[:, :3])  # here only positions 0 to 2 are
    assert apart.counts() == DoseCounts(9, 5 + 3, 81, 3 * 3 + 3 * 3 + 3 * 3 + 1 * 3, 0)
    assert str(apart.counts()) == "8 of 9 tokens and 30 of 81 slots changed"


def test_what_a_dose_says() -> None:
    assert str(DoseCounts(3, 0, 27, 0, 0)) == "nothing changed in 3 tokens"
    assert str(DoseCounts(1200, 2, 2400, 5, 4)) == (
        "2 of 1,200 tokens and 5 of 2,400 slots changed, 4 token-layers left without any expert"
    )
    unlike = "token-layers (layers 0, 3) the router's own answer is not that of its routing rule, by which off, force and bias go"
    assert str(DoseCounts(3, 0, 27, 0, 0, 2, (0, 3))) == f"nothing changed in 3 tokens; in 2 {unlike}"
    assert str(DoseCounts(3, 1, 27, 1, 0, 2, (0, 3))) == f"1 of 3 tokens and 1 of 27 slots changed; in 2 {unlike}"


@torch.no_grad()
def test_a_token_that_is_changed_in_every_other_layer_is_one_token() -> None:
    """Positions 0-3 in layers 0 and 2, position 5 in layer 1: five tokens."""
    model, every, dose = families.get("mixtral"), range(8), Dose()
    plan = Plan.mute([(n, e) for n in (0, 2) for e in every], positions="0-3")
    plan |= Plan.mute([(1, e) for e in every], positions="5")
    with steered(model, plan, dose=dose):
        model.hf(families.ids(model, 1, 6))
    assert dose.counts() == DoseCounts(6, 5, 54, 2 * 4 * 3 + 3, 0)
