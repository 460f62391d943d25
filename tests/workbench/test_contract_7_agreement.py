"""Contract 7: prefill, cached decoding, left and right padding, batch size 1 and 32 agree, steered or not.

fp32: the same experts wherever the margin exceeds 1e-5, the same weights. bf16: the same experts above BF16_MARGIN as long as
no earlier layer of the sequence flipped (a flip changes what later layers see); the share of flips is printed.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests import families, reference
from tests.families import MODELS, QUICK, slow
from tests.watching import Seen, Spec, edits_of, plan_of, watch, watch_all
from workbench import Plan
from workbench.model import MoEModel

LENGTHS = [4 + (i * 5) % 9 for i in range(32)]  # 4 to 12 tokens
DECODED = 3  # the last tokens of each sequence, one at a time
FP32_MARGIN = 1e-5
BF16_MARGIN = {"logits": 0.3, "scores": 0.05}  # of the selection score: a probability or a logit, as the family selects
BY_LOGITS = ("gpt_oss", "granitemoe")


class Layer(NamedTuple):
    """One sequence in one layer: received weights by expert and the selection [tokens, experts]."""

    weights: Tensor
    selected: Tensor


Routings = list[dict[int, Layer]]  # by sequence


def sequences(model: MoEModel) -> list[Tensor]:
    return [families.ids(model, 1, length, seed=i)[0] for i, length in enumerate(LENGTHS)]


def _cut(seen: Seen, batch: int, row: int, columns: slice) -> Layer:
    shape = (batch, -1, seen.logits.shape[-1])
    return Layer(seen.dense().view(shape)[row, columns], seen.received().view(shape)[row, columns])


def _padded(texts: list[Tensor], left: bool) -> tuple[Tensor, Tensor]:
    width = max(map(len, texts))
    ids, mask = torch.zeros(len(texts), width, dtype=torch.long), torch.zeros(len(texts), width, dtype=torch.long)
    for row, text in enumerate(texts):
        place = slice(width - len(text), width) if left else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    return ids, mask


def batched(model: MoEModel, plan: Plan, texts: list[Tensor], *, left: bool) -> Routings:
    ids, mask = _padded(texts, left)
    seen = watch(model, plan, ids, attention_mask=mask).layers
    places = [slice(len(ids[0]) - len(t), None) if left else slice(0, len(t)) for t in texts]
    return [{n: _cut(s, len(texts), row, place) for n, s in seen.items()} for row, place in enumerate(places)]


def decoded(model: MoEModel, plan: Plan, texts: list[Tensor]) -> Routings:
    """Left padded, 32 at once: a prefill, then the last tokens one at a time from the cache."""
    ids, mask = _padded(texts, left=True)
    ends = [ids.shape[1] - DECODED, *range(ids.shape[1] - DECODED + 1, ids.shape[1] + 1)]

    def run() -> None:
        cache, start = None, 0
        for end in ends:
            positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, start:end]
            out = model.hf(
                ids[:, start:end],
                attention_mask=mask[:, :end],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            cache, start = out.past_key_values, end

    steps = watch_all(model, plan, run)
    out: Routings = []
    for row, text in enumerate(texts):
        parts = [{n: _cut(s, len(texts), row, slice(None)) for n, s in layers.items()} for layers in steps]
        whole = {
            n: Layer(*(torch.cat(x)[-len(text) :] for x in zip(*(p[n] for p in parts), strict=True))) for n in parts[0]
        }
        out.append(whole)
    return out


WAYS: dict[str, Callable[[MoEModel, Plan, list[Tensor]], Routings]] = {
    "left padding": lambda m, p, t: batched(m, p, t, left=True),
    "right padding": lambda m, p, t: batched(m, p, t, left=False),
    "cached decoding": decoded,
}


def plan_of_kind(model: MoEModel, kind: str) -> tuple[Plan, Callable[[int], reference.Edits]]:
    """A plan (or none), and what it does to the token at a position."""
    a, b, *_, z = watch(model, None, families.ids(model)).layers[families.moe_layer(model)].busiest()
    if kind == "nothing":
        return Plan(), lambda t: reference.Edits()
    if kind == "everywhere":
        specs: list[Spec] = [("off", a, None), ("scale", b, 2.0)]
        return plan_of(model, specs), lambda t: edits_of(specs)
    somewhere: list[Spec] = [("off", a, None), ("force", z, None)]
    plan = plan_of(model, somewhere, positions="1-2,5-")
    return plan, lambda t: edits_of(somewhere) if t in (1, 2) or t >= 5 else reference.Edits()


def alone(
    model: MoEModel, plan: Plan, edits: Callable[[int], reference.Edits], texts: list[Tensor]
) -> tuple[Routings, list[dict[int, Tensor]]]:
    """Each sequence by itself, unpadded; and the margins that the reference finds, by sequence and layer [tokens]."""
    routings, margins = list[dict[int, Layer]](), list[dict[int, Tensor]]()
    for ids in texts:
        layers = watch(model, plan, ids[None]).layers
        routings.append({n: _cut(s, 1, 0, slice(None)) for n, s in layers.items()})
        margins.append({n: _margins(model, n, s, edits) for n, s in layers.items()})
    return routings, margins


def _margins(model: MoEModel, layer: int, seen: Seen, edits: Callable[[int], reference.Edits]) -> Tensor:
    rows = seen.logits.double().tolist()
    return torch.tensor([reference.route_token(model.hf, layer, r, edits(t)).margin for t, r in enumerate(rows)])


@pytest.mark.parametrize("kind", slow(("nothing", "everywhere", "somewhere"), but=("somewhere",)))
@pytest.mark.parametrize("name", slow(MODELS, but=(*QUICK, "gpt_oss")))
def test_contract_7_fp32_agrees_wherever_the_margin_is_clear(name: str, kind: str) -> None:
    model = families.get(name)
    texts = sequences(model)
    plan, edits = plan_of_kind(model, kind)
    single, margins = alone(model, plan, edits, texts)
    for way, run in WAYS.items():
        for row, found in enumerate(run(model, plan, texts)):
            for n, expected in single[row].items():
                clear = margins[row][n] > FP32_MARGIN
                assert clear.float().mean() > 0.5
                assert torch.equal(found[n].selected[clear], expected.selected[clear]), (
                    f"{way}: sequence {row}, layer {n}"
                )
                torch.testing.assert_close(found[n].weights[clear], expected.weights[clear], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", slow(("nothing", "somewhere"), but=("nothing",)))
@pytest.mark.parametrize("name", slow(MODELS, but=QUICK))
def test_contract_7_bf16_agrees_above_a_stated_margin(name: str, kind: str) -> None:
    model = families.get(name, "bfloat16")
    texts, stated = sequences(model), BF16_MARGIN["logits" if name in BY_LOGITS else "scores"]
    plan, edits = plan_of_kind(model, kind)
    single, margins = alone(model, plan, edits, texts)
    for way, run in WAYS.items():
        flips, tokens, judged = 0, 0, 0
        for row, found in enumerate(run(model, plan, texts)):
            flipped_before = False
            for n, expected in single[row].items():
                flipped = (found[n].selected != expected.selected).any(-1)
                flips, tokens = flips + int(flipped.sum()), tokens + len(flipped)
                clear = margins[row][n] > stated
                if not flipped_before:
                    judged += int(clear.sum())
                    assert not (flipped & clear).any(), (
                        f"{way}: layer {n} flipped at margins {margins[row][n][flipped & clear]}"
                    )
                flipped_before = flipped_before or bool(flipped.any())
        print(
            f"{name}, {kind}, {way}: {flips / tokens:.1%} of {tokens} token-layers flipped; {judged} judged above {stated}"
        )
        assert judged > 0
        assert flips < 0.3 * tokens
