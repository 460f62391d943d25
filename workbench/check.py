"""Checked by intervening: changing a routed expert must change the logits, layer by layer, before anybody trusts a number."""

from typing import TYPE_CHECKING

import torch

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.record import recording
from workbench.steer import steered
from workbench.survey import probe_ids

if TYPE_CHECKING:
    from workbench.model import MoEModel


@torch.no_grad()
def check_by_intervening(model: "MoEModel") -> None:
    """Mutes each MoE layer's most used expert in turn and looks at the logits; also that every output can be tapped.

    Raises `WorkbenchError` naming the layers whose experts change nothing: there, every edit would be a silent no-op.
    """
    ids = probe_ids(model.hf)
    with recording(model, keep={"norms"}) as recorder:
        base = model.hf(ids, use_cache=False).logits
        record = recorder.take()
    silent = list[int]()
    for layer, found in record.layers.items():
        used = torch.bincount(found.index.reshape(-1), minlength=model.anatomy.layer(layer).n_experts)
        with steered(model, Plan.mute([(layer, int(used.argmax()))])):
            changed = model.hf(ids, use_cache=False).logits
        if torch.equal(changed, base):
            silent.append(layer)
    if silent:
        raise WorkbenchError(
            f"Muting the most used expert of layers {silent} changed no logit, so what we see there is not what the model "
            f"computes; edits would silently do nothing. Load with check=False to record anyway."
        )
