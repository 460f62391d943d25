"""What a built model must be before anybody looks at its experts: whole, in this process, with weights and a head."""

from typing import Any

import torch

from workbench.errors import WorkbenchError, listed
from workbench.model import missing, unreadable


def check_suitable(hf: Any) -> None:
    """Raises `WorkbenchError` for a model of which we would see a part, or nothing."""
    name = type(hf).__name__
    parts = _parts(hf)
    if parts:
        raise WorkbenchError(
            f"{name} is split over {parts} processes (tensor, expert or data parallel), so each would record a part of the "
            f"experts' outputs as if it were all; load it in one process, with device_map='auto' for several devices."
        )
    lost = missing(hf)
    if lost:
        raise WorkbenchError(
            f"{name} has no values for {len(lost)} of its weights ({listed(lost, 2)}): they are on the meta device; load the "
            f"checkpoint with from_pretrained, or materialise them first."
        )
    for weight, tensor in hf.named_parameters():
        if not tensor.is_meta and (why := unreadable(tensor)):
            raise WorkbenchError(
                f"The weight '{weight}' of {name} is a {type(tensor).__name__}, whose values cannot be read ({why}); load the "
                f"model without this quantisation."
            )


def _parts(hf: Any) -> int:
    """Over how many processes the model is split; 0 when it is whole."""
    meshes = [p.device_mesh for p in hf.parameters() if type(p).__name__ == "DTensor"]
    if meshes:
        return meshes[0].size()
    size = getattr(hf, "_tp_size", None) or 1
    return size if size > 1 else 0


def check_head(hf: Any, logits: Any, shape: tuple[int, int]) -> None:
    """Raises `WorkbenchError` when the model's answer to ids of `shape` is no next-token logits [batch, tokens, vocabulary]."""
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else None
    if found is None or len(found) != 3 or found[:2] != shape:
        raise WorkbenchError(
            f"{type(hf).__name__} answers {shape[0]} x {shape[1]} token ids with logits of shape {found}, not with one row per "
            f"token: it has no language-model head; load its ForCausalLM class."
        )
