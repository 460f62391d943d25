"""Contract 7: prefill, cached decoding, left and right padding, batch size 1 and 32 agree, steered or not.

In each way tokens receive what the reference's rule gives for that way's own router logits, wherever the margin is clear; ways
are compared with each other where the bare model routes alike in every layer (fp32: a margin above 1e-5; bf16: above what a
rounding of scores, and twice what the bare model's margins differ by, can close; the share of flips is printed).
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests.conformance.rules import size
from tests.support import families, reference
from tests.support.agreement import ROUNDED, Routed, compare, judge, moved
from tests.support.families import MODELS, QUICK, slow
from tests.support.routing_rules import Token
from tests.support.watching import Seen, Spec, edits_of, plan_of, watch, watch_all
from workbench import Plan
from workbench.model import MoEModel

LENGTHS = [4 + (i * 5) % 9 for i in range(32)]  # 4 to 12 tokens
DECODED = 3  # the last tokens of each sequence, one at a time
CLOSE = {"float32": 2e-6, "bfloat16": 2e-2}  # weights received, relative to the token's largest


class Layer(NamedTuple):
    """One sequence in one layer: the router's logits, and received weights by expert [tokens, experts]."""

    logits: Tensor
    weights: Tensor


Seens = list[dict[int, Layer]]  # by sequence


def sequences(model: MoEModel) -> list[Tensor]:
    return [families.ids(model, 1, length, seed=i)[0] for i, length in enumerate(LENGTHS)]


def _cut(seen: Seen, batch: int, row: int, columns: slice) -> Layer:
    shape = (batch, -1, seen.logits.shape[-1])
    return Layer(seen.logits.view(shape)[row, columns], seen.dense().view(shape)[row, columns])


def _padded(texts: list[Tensor], left: bool) -> tuple[Tensor, Tensor]:
    width = max(map(len, texts))
    ids, mask = torch.zeros(len(texts), width, dtype=torch.long), torch.zeros(len(texts), width, dtype=torch.long)
    for row, text in enumerate(texts):
        place = slice(width - len(text), width) if left else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    return ids, mask


def batched(model: MoEModel, plan: Plan, texts: list[Tensor], *, left: bool) -> Seens:
    ids, mask = _padded(texts, left)
    seen = watch(model, plan, ids, attention_mask=mask).layers
    places = [slice(len(ids[0]) - len(t), None) if left else slice(0, len(t)) for t in texts]
    return [{n: _cut(s, len(texts), row, place) for n, s in seen.items()} for row, place in enumerate(places)]


def decoded(model: MoEModel, plan: Plan, texts: list[Tensor]) -> Seens:
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
    out: Seens = []
    for row, text in enumerate(texts):
        parts = [{n: _cut(s, len(texts), row, slice(None)) for n, s in layers.items()} for layers in steps]
        whole = {
            n: Layer(*(torch.cat(x)[-len(text) :] for x in zip(*(p[n] for p in parts), strict=True))) for n in parts[0]
        }
        out.append(whole)
    return out


def alone(model: MoEModel, plan: Plan, texts: list[Tensor]) -> Seens:
    """Each sequence by itself, unpadded."""
    seen = [watch(model, plan, ids[None]).layers for ids in texts]
    return [{n: _cut(s, 1, 0, slice(None)) for n, s in layers.items()} for layers in seen]


WAYS: dict[str, Callable[[MoEModel, Plan, list[Tensor]], Seens]] = {
    "alone": alone,
    "left padding": lambda m, p, t: batched(m, p, t, left=True),
    "right padding": lambda m, p, t: batched(m, p, t, left=False),
    "cached decoding": decoded,
}


# ---- plans, and what they do to a token by hand


class Kind(NamedTuple):
    """A plan, and what it does in a layer to the token at a position (`late`: when that is generated).

    ways  in which it is tried; every  of how many sequences one is judged
    """

    plan: Plan
    edits: Callable[[int, int, bool], reference.Edits]
    ways: tuple[str, ...] = tuple(WAYS)
    every: int = 1


NOTHING = reference.Edits()
BARE = Kind(Plan(), lambda n, t, late: NOTHING)
SOMEWHERE = (1, 2, 5, 6, 7, 9, 10)


def kind_of(model: MoEModel, kind: str) -> Kind:
    """One by its name: each layer's busiest expert is off, its idlest forced, another scaled."""
    found = {n: seen.busiest() for n, seen in watch(model, None, families.ids(model)).layers.items()}
    off: dict[int, list[Spec]] = {n: [("off", a, None)] for n, (a, *_) in found.items()}
    force: dict[int, list[Spec]] = {n: [("force", z, None)] for n, (*_, z) in found.items()}
    if kind == "everywhere":
        both: dict[int, list[Spec]] = {n: [*off[n], ("scale", found[n][1], 2.0)] for n in found}
        return Kind(_plan(model, both), lambda n, t, late: edits_of(both[n]), every=3)
    if kind == "phases":  # generated tokens are prompt in the other ways, so there is nothing to compare
        plan = _plan(model, off, phase="prompt") | _plan(model, force, phase="generated")
        ways = ("right padding", "cached decoding")
        return Kind(plan, lambda n, t, late: edits_of(force[n] if late else off[n]), ways, every=3)
    both = {n: off[n] + force[n] for n in found}
    plan = _plan(model, both, positions="1-2,5-7,9-10")
    return Kind(plan, lambda n, t, late: edits_of(both[n]) if t in SOMEWHERE else NOTHING)


def _plan(model: MoEModel, specs: dict[int, list[Spec]], **scope: str) -> Plan:
    plan = Plan()
    for n, those in specs.items():
        plan |= plan_of(model, those, [n], **scope)
    return plan


def routed(name: str, dtype: str, way: str, kind: Kind) -> list[dict[int, Routed]]:
    """What each token received in one way, beside what the reference says of the logits that it had there."""
    model = families.get(name, dtype)
    seen = WAYS[way](model, kind.plan, sequences(model))[:: kind.every]
    assert [len(found.logits) for layers in seen for found in layers.values()] == [
        length for length in LENGTHS[:: kind.every] for _ in model.anatomy.moe_layers
    ], f"{way}: a token, a layer or a sequence is missing"
    return [{n: _layer(model, n, found, way, kind, ROUNDED[dtype]) for n, found in layers.items()} for layers in seen]


def _layer(model: MoEModel, n: int, found: Layer, way: str, kind: Kind, rounded: float) -> Routed:
    gaps = torch.zeros(len(found.logits), dtype=torch.float64)
    expected, bare = torch.zeros_like(found.weights), torch.zeros_like(found.weights)
    for t, row in enumerate(found.logits.double().tolist()):
        edits = kind.edits(n, t, way == "cached decoding" and t >= len(gaps) - DECODED)
        own = reference.route_token(model.hf, n, row)
        choice = own if edits is NOTHING else reference.route_token(model.hf, n, row, edits)
        for to, what in ((expected, choice), (bare, own)):
            to[t, list(what.weights)] = torch.tensor(list(what.weights.values()), dtype=to.dtype)
        token = Token(row, edits.off, edits.force)
        gaps[t] = choice.margin / (rounded * size(reference.family_of(model.hf), token))
    return Routed(found.weights, expected, bare, gaps)


@cache
def bare(name: str, dtype: str, way: str) -> list[dict[int, Routed]]:
    """Without a plan: judged once."""
    found = routed(name, dtype, way, BARE)
    judge(f"{way}, no plan", found, CLOSE[dtype])
    return found


def check(name: str, dtype: str, kind: str) -> None:
    """Every way judged by itself, and then compared with each sequence alone."""
    model = families.get(name, dtype)
    what = kind_of(model, kind)
    runs = {way: routed(name, dtype, way, what) for way in what.ways}
    for way, run in runs.items():
        share = judge(way, run, CLOSE[dtype])
        still = [n for n in model.anatomy.moe_layers if not moved(run, n)]
        assert not still, f"{way}: the plan moved no token of layers {still}"
        if way == "alone" or "alone" not in runs:
            continue
        plain = bare(name, dtype, "alone")[:: what.every], bare(name, dtype, way)[:: what.every]
        found = compare(way, plain, (runs["alone"], run))
        print(
            f"{name} {dtype}, {kind}, {way}: {share:.0%} judged at least, and of {found.tokens} token-layers ", end=""
        )
        print(f"{found.flipped / found.tokens:.1%} flipped and {found.judged} were compared with those alone")
        assert found.judged >= (0.5 if dtype == "float32" else 0.0) * found.tokens


KINDS = ("everywhere", "somewhere", "phases")


@pytest.mark.parametrize("kind", slow(KINDS, but=("somewhere", "phases")))
@pytest.mark.parametrize("name", slow(MODELS, but=(*QUICK, "gpt_oss")))
def test_contract_7_fp32_agrees_wherever_the_margin_is_clear(name: str, kind: str) -> None:
    check(name, "float32", kind)


@pytest.mark.parametrize("kind", slow(KINDS, but=("somewhere",)))
@pytest.mark.parametrize("name", slow(MODELS, but=QUICK))
def test_contract_7_bf16_agrees_wherever_the_margin_is_clear(name: str, kind: str) -> None:
    check(name, "bfloat16", kind)
