"""Hooks on shared experts and their gate: what they answer is edited, then shown to the recorder."""

from typing import Any

import torch
from torch import Tensor

from workbench.hooks.active import active, positions_here, running_here
from workbench.routing import LayerEdits, Positions


def on_shared(uid: int, layer: int, number: int, module: Any, args: Any, output: Tensor) -> Tensor | None:
    now = active(uid)
    if now is None:
        return None
    if now.recorder is not None:
        now.recorder.see_shared(layer, number, output)
    edits = now.compiled.shared.get((layer, number)) if now.compiled else None
    if edits is None:
        return None
    positions = positions_here(uid, now)
    new = edit_shared(edits, number, output.reshape(-1, output.shape[-1]), positions).reshape(output.shape)
    if now.dose is not None and not running_here(uid, now).rerunning:
        running_here(uid, now).count((new != output).reshape(-1, output.shape[-1]).any(-1, keepdim=True))
    return new


def edit_shared(edits: LayerEdits, number: int, rows: Tensor, positions: Positions | None) -> Tensor:
    for _, vector, scope in edits.replacements(rows.device, positions):
        new = vector.to(rows.dtype).expand_as(rows)
        rows = new if scope is None else torch.where(scope, new, rows)
    factor, muted = edits.values("scale", rows.device, positions), edits.mask("mute", rows.device, positions)
    rows = rows if factor is None else (rows * factor[:, number : number + 1]).to(rows.dtype)
    return rows if muted is None else rows.masked_fill(muted[:, number : number + 1], 0)


def on_gate(uid: int, layer: int, module: Any, args: Any, output: Tensor) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_gate(layer, output)
