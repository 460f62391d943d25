"""Hooks on the experts module: slots lose or gain weight as the plan says, and each expert's output is shown to the recorder."""

import inspect
from typing import Any, Protocol

import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.hooks.active import Scratch, active, positions_here, running, running_here
from workbench.hooks.adapted import touch
from workbench.records import Recorder, SlotWeights
from workbench.routing import LayerEdits, Positions, Replacement, taken


def on_experts(uid: int, layer: int, module: Any, args: Any, kwargs: Any = None) -> Any:
    now = active(uid)
    if now is None:
        return None
    hidden, index, weights = _experts_arguments(module, args, kwargs)
    edits = now.compiled.routed.get(layer) if now.compiled else None
    if edits is None and now.recorder is None:
        return None
    positions = positions_here(uid, now)
    steered = edit_weights(edits, index, weights, positions) if edits else weights
    if now.recorder is not None:
        _check_rows(layer, index, positions)
        now.recorder.see_slots(layer, index, steered)
    muted = _taken(edits.mask("mute", index.device, positions), index) if edits else None
    if now.dose is not None and edits is not None:
        _count(layer, edits, index, weights, steered, muted, running_here(uid, now))
    given = steered
    if muted is not None:
        steered = steered.masked_fill(muted, 0)
    replacements = edits.replacements(index.device, positions) if edits else []
    touch(lambda: _changed_here(index, weights, given, muted, replacements))
    if replacements:
        steered = _set_aside(layer, index, steered, replacements, running_here(uid, now))
    if now.recorder is not None and now.recorder.wants("inner", layer):
        now.recorder.see_inner(layer, hidden, steered if getattr(module, "on_input", False) else None)
    if now.recorder is not None and now.recorder.wants_outputs:
        steered = _tapped(now.recorder, layer, index, steered, running_here(uid, now))
    return (hidden, index, steered), {}


def _check_rows(layer: int, index: Tensor, positions: Positions | None) -> None:
    """Rows belong to tokens by their order, so a layer that routes only some of them cannot be recorded."""
    if positions is not None and index.shape[0] != (n := positions.batch * positions.length):
        raise WorkbenchError(
            f"Layer {layer} routed {index.shape[0]} of {n} tokens (experts of one modality), so its "
            f"rows cannot be told apart; record prompts of text alone."
        )


def _experts_arguments(module: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
    if len(args) == 3:
        return args
    names = list(inspect.signature(module.forward).parameters)
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    return tuple(named[n] for n in names[:3])  # pyright: ignore[reportReturnType]


def _taken(mask: Tensor | None, index: Tensor) -> Tensor | None:
    return None if mask is None else taken(mask, index)


class Masks(Protocol):
    """Edits of one layer by kind, [1 or tokens, experts]; None where none is of the kind. `LayerEdits` is one."""

    def mask(self, kind: str, device: torch.device, positions: Positions | None) -> Tensor | None: ...
    def values(self, kind: str, device: torch.device, positions: Positions | None) -> Tensor | None: ...


def edit_weights(edits: Masks, index: Tensor, weights: Tensor, positions: Positions | None) -> Tensor:
    """drop, then scale. Rows in which no edited expert is selected keep their weights bit for bit."""
    dropped = _taken(edits.mask("drop", index.device, positions), index)
    if dropped is not None:
        kept = weights.masked_fill(dropped, 0)
        left = kept.sum(-1, keepdim=True, dtype=torch.float32)
        share = torch.where(left > 0, weights.sum(-1, keepdim=True, dtype=torch.float32) / left, 0.0)
        weights = torch.where(dropped.any(-1, keepdim=True), (kept * share).to(weights.dtype), weights)
    factor = _taken(edits.values("scale", index.device, positions), index)
    return weights if factor is None else (weights * factor).to(weights.dtype)


def _set_aside(layer: int, index: Tensor, weights: Tensor, replacements: list[Replacement], forward: Scratch) -> Tensor:
    """Replaced slots weigh nothing; what they add instead, their weights times the vectors, is added behind the experts."""
    added = forward.added[layer] = list[tuple[Tensor, Tensor]]()
    for replacement in replacements:
        left = weights.masked_fill(replacement.touches(index), 0)
        added.append(((weights - left).sum(-1, keepdim=True, dtype=torch.float32), replacement.vector))
        weights = left
    return weights


def _tapped(recorder: Recorder, layer: int, index: Tensor, weights: Tensor, forward: Scratch) -> Tensor:
    """`weights`, riding through the experts so that the recorder sees each slot's output."""
    tap = forward.taps[layer] = _Tap(layer, index, recorder)
    return SlotWeights.wrap(weights, tap)


class _Tap:
    """Shows each slot's output to the recorder, and counts them."""

    def __init__(self, layer: int, index: Tensor, recorder: Recorder) -> None:
        self.layer, self.index, self.recorder, self.seen = layer, index, recorder, 0

    def __call__(self, outputs: Tensor, slots: Tensor) -> None:
        self.seen += slots.numel()
        self.recorder.see_outputs(self.layer, outputs, slots)


def on_routed(uid: int, layer: int, module: Any, args: Any, output: Any) -> Tensor | None:
    now = active(uid)
    forward = None if now is None else running(uid, now)
    tap = forward.taps.pop(layer, None) if forward is not None else None
    added = forward.added.pop(layer, None) if forward is not None else None
    if now is None:
        return None
    if tap is not None and tap.seen != tap.index.numel():
        raise WorkbenchError(
            f"Layer {layer}: {tap.seen} of {tap.index.numel()} expert outputs passed where we look, so this experts "
            f"implementation cannot be recorded; set experts_implementation to grouped_mm, batched_mm or eager."
        )
    new = None if added is None else _plus(output, added)
    if now.recorder is not None:
        now.recorder.finish_slots(layer)
        now.recorder.see_routed(layer, output if new is None else new)
    return new


def _plus(output: Tensor, added: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The experts' sum [..., hidden] and what replaced slots add: shares [tokens, 1] times vectors [1, hidden]."""
    rows = output.reshape(-1, output.shape[-1]).float()
    for share, vector in added:
        rows = torch.addcmul(rows, share, vector)
    return rows.to(output.dtype).view(output.shape)


def _count(
    layer: int,
    edits: LayerEdits,
    index: Tensor,
    weights: Tensor,
    steered: Tensor,
    muted: Tensor | None,
    forward: Scratch,
) -> None:
    replacements = edits.replacements(index.device, forward.positions)
    changed = _changed_here(index, weights, steered, muted, replacements)
    rerouted = forward.rerouted.pop(layer, None)
    forward.count(changed if rerouted is None else changed | rerouted, (steered == 0).all(-1))


def _changed_here(
    index: Tensor, weights: Tensor, steered: Tensor, muted: Tensor | None, replacements: list[Replacement]
) -> Tensor:
    """Slots [tokens, k] that drop, scale, mute or replace change."""
    changed = weights != steered
    if muted is not None:
        changed = changed | (muted & (steered != 0))
    for replacement in replacements:
        changed = changed | replacement.touches(index)
    return changed
