"""Contract 7 for every family: alone, in a padded batch on either side, and decoded with a cache, the plan does the same."""

import math
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.conformance.checks.case import Case, case, relative
from tests.conformance.oracle import Layer
from tests.support.agreement import Routed, compare, judge, moved
from tests.support.reference import Edits
from workbench import Plan, steered
from workbench.hooks import recording

WAYS = ("left padding", "right padding", "cached decoding")
EDITED = "1-4,6-10,13-"  # the last two tokens of the text are decoded: one is edited, the other is not
PADDING, DECODED = 5, 2
SAME_LOGITS = 1e-4  # of the bare model in fp32, relative: two ways that differ by more are not the same computation
CLOSE = {"float32": 1e-5, "bfloat16": 2e-2}  # weights received, relative to the token's largest


def edited(position: int) -> bool:
    """EDITED, read by hand."""
    return 1 <= position <= 4 or 6 <= position <= 10 or position >= 13


class Seen(NamedTuple):
    """One layer in one forward, rows as the router saw them: its logits, its own answer and what the experts received."""

    logits: Tensor
    own: Tensor | None
    received: Tensor


class Edited(NamedTuple):
    """What a plan does in one layer: by the rule, or, where no rule is known, muting one expert of the router's own answer."""

    off: int
    force: int | None

    @property
    def edits(self) -> Edits:
        return Edits(off=frozenset({self.off}), force=frozenset({self.force}))


def plan_of(found: Case) -> tuple[Plan, dict[int, Edited]]:
    """In every layer at some positions: the busiest expert off and the idlest forced; muted where nothing can be off."""
    found.oracle.run(found.ids)
    plan, edits = Plan(), dict[int, Edited]()
    for n, layer in found.oracle.layers.items():
        used = layer.received().abs().sum(0)
        busy, idle = int(used.argmax()), int(used.argmin())
        if not layer.has_rule:
            plan |= Plan.mute([(n, busy)], positions=EDITED)
            edits[n] = Edited(busy, None)
        else:
            plan |= Plan.off([(n, busy)], positions=EDITED) | Plan.force([(n, idle)], positions=EDITED)
            edits[n] = Edited(busy, idle)
    return plan, edits


# ---- running


Forwards = Iterable[tuple[slice, dict[str, Any]]]


@torch.no_grad()
def _watched(found: Case, plan: Plan, forwards: Forwards, ids: Tensor) -> tuple[dict[int, Seen], Tensor]:
    """Columns of `ids` by forward, seen by the oracle's hooks: by layer, rows [batch, columns, ...]; and the model's logits."""
    steps, logits, memory = list[dict[int, Seen]](), list[Tensor](), None
    with ExitStack() as stack:
        stack.enter_context(steered(found.model, plan))
        adapted = found.layer.is_adapted  # nobody calls its experts with an index: what the recorder saw
        recorder = stack.enter_context(recording(found.model, keep=())) if adapted else None
        own = found.oracle.watched(stack)
        for columns, options in forwards:
            if options.get("use_cache"):
                options = {**options, "past_key_values": memory}
            out = found.model.hf(ids[:, columns], **options)
            memory, slots = out.get("past_key_values"), recorder.take().layers if recorder is not None else None
            shape = (ids.shape[0], len(range(ids.shape[1])[columns]), -1)
            steps.append({n: _seen(found.oracle.layers[n], slots, own.get(n), shape) for n in found.oracle.layers})
            logits.append(out.logits)
    return {n: _joined([step[n] for step in steps]) for n in steps[0]}, torch.cat(logits, 1)


def _seen(layer: Layer, slots: Any, own: Tensor | None, shape: tuple[int, int, int]) -> Seen:
    index, weights = layer.index, layer.weights
    if slots is not None:
        index, weights = slots[layer.number].index, slots[layer.number].weight
    found = layer.logits, own, layer.by_expert(index, weights)
    return Seen(*(None if x is None else x.reshape(shape).clone() for x in found))


def _joined(parts: list[Seen]) -> Seen:
    return Seen(*(None if x[0] is None else torch.cat(x, 1) for x in zip(*parts, strict=True)))


Run = tuple[list[dict[int, Routed]], Tensor]


def run(found: Case, plan: Plan, edits: dict[int, Edited], way: str, dtype: str) -> Run:
    """The text, and a longer one beside it where there is padding: what each token got, and the logits of the text."""
    n = found.ids.shape[1]
    if way == "alone":
        parts = [_watched(found, plan, [(slice(None), {"use_cache": False})], ids) for ids in (found.ids, _long(found))]
        return [_routed(found, seen, 0, slice(None), edits, dtype) for seen, _ in parts], parts[0][1][0]
    if way == "cached decoding":
        ends = [0, n - DECODED, *range(n - DECODED + 1, n + 1)]
        spans = [(slice(a, b), {"use_cache": True}) for a, b in pairwise(ends)]
        seen, logits = _watched(found, plan, spans, found.ids)
        return [_routed(found, seen, 0, slice(None), edits, dtype)], logits[0]
    left, filler = way == "left padding", torch.zeros(1, PADDING, dtype=torch.long)
    ids = torch.cat([torch.cat([filler, found.ids] if left else [found.ids, filler], 1), _long(found)])
    place = slice(PADDING, None) if left else slice(0, n)
    mask = torch.zeros_like(ids)
    mask[0, place], mask[1] = 1, 1
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    options = {"use_cache": False, "attention_mask": mask, "position_ids": positions}
    seen, logits = _watched(found, plan, [(slice(None), options)], ids)
    return [_routed(found, seen, row, at, edits, dtype) for row, at in ((0, place), (1, slice(None)))], logits[0, place]


def _long(found: Case) -> Tensor:
    return torch.cat([found.ids, found.ids[:, :PADDING]], 1)


# ---- what the tokens should have got


def _routed(
    found: Case, seen: dict[int, Seen], row: int, at: slice, edits: dict[int, Edited], dtype: str
) -> dict[int, Routed]:
    return {n: _layer(found.oracle.layers[n], s, row, at, edits.get(n), dtype) for n, s in seen.items()}


def _layer(layer: Layer, seen: Seen, row: int, at: slice, edit: Edited | None, dtype: str) -> Routed:
    received = seen.received[row, at]
    if not layer.has_rule:
        assert seen.own is not None
        bare = seen.own[row, at]
        return Routed(received, _muted(bare, edit), bare, torch.full((len(bare),), math.inf))
    expected, bare, gaps = torch.zeros_like(received), torch.zeros_like(received), list[float]()
    for t, logits in enumerate(seen.logits[row, at].double().tolist()):
        here = edit.edits if edit is not None and edited(t) else Edits()
        choice = layer.choice(logits, here)
        expected[t, list(choice.weights)] = torch.tensor(list(choice.weights.values()), dtype=torch.float64)
        plain = layer.choice(logits, Edits()).weights
        bare[t, list(plain)] = torch.tensor(list(plain.values()), dtype=torch.float64)
        gaps.append(layer.gap(logits, here, dtype))
    return Routed(received, expected, bare, torch.tensor(gaps))


def _muted(own: Tensor, edit: Edited | None) -> Tensor:
    out = own.clone()
    if edit is not None:
        out[[edited(t) for t in range(len(own))], edit.off] = 0
    return out


# ---- the verdict


@cache
def left_out(family: str) -> tuple[str, ...]:
    """Ways in which the bare model itself, in fp32, computes something else than alone: no two of its runs to compare."""
    found = case(family)
    alone = run(found, Plan(), {}, "alone", "float32")[1]
    return tuple(w for w in WAYS if relative(run(found, Plan(), {}, w, "float32")[1], alone) > SAME_LOGITS)


def check_agreement(family: str, dtype: str) -> str | None:
    """Contract 7: in every way tokens get what the rule under a plan gives for their own logits, and ways agree with each other.

    Returns why ways are not compared with each other: the model's own forward gives other logits there. They are judged.
    """
    found, others = case(family, dtype), left_out(family)
    plan, edits = plan_of(found)
    ways = {
        way: (run(found, Plan(), {}, way, dtype)[0], run(found, plan, edits, way, dtype)[0]) for way in ("alone", *WAYS)
    }
    for way, (bare, steered_) in ways.items():
        judge(f"{way}, no plan", bare, CLOSE[dtype])
        judge(way, steered_, CLOSE[dtype])
        for layer in edits:
            assert moved(steered_, layer), f"{way}, layer {layer}: the plan moved no token"
        if way not in ("alone", *others):
            pair = [ways["alone"][i][: len(bare)] for i in (0, 1)]
            known = [n for n, layer in found.oracle.layers.items() if layer.has_rule or dtype == "float32"]
            compared = compare(way, (pair[0], bare), (pair[1], steered_), known)
            print(f"{family} {dtype}, {way}: {compared}")
            assert dtype != "float32" or compared.judged >= 0.5 * compared.tokens, f"{way}: hardly compared, {compared}"
    return f"the model's own logits differ with {', '.join(others)}" if others else None
