"""Checked by intervening: changing a routed expert must change the logits, layer by layer, before anybody trusts a number."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.hooks import recording, steered
from workbench.loading.heard import surely_heard
from workbench.plan import Plan
from workbench.records import LayerRecord
from workbench.survey import probe_ids

if TYPE_CHECKING:
    from workbench.model import MoEModel


_OFF = {torch.float32: 1e-4, torch.float64: 1e-4}  # of the experts' own sum; half precision adds slots in its own dtype


@torch.no_grad()
def check_by_intervening(model: "MoEModel") -> None:
    """Mutes each MoE layer's most used expert in turn and looks at the logits, after checking what each expert said.

    Layers that are heard for certain in a row of a batch are told together; every other one gets a forward of its own.

    Raises `WorkbenchError` naming the layers whose experts change nothing (there, every edit would be a silent no-op), and
    those where the experts' output is not the sum of routing weight times expert output.
    """
    ids = probe_ids(model.hf)
    with recording(model, keep={"norms", "outputs"}) as recorder:
        base = model.hf(ids, use_cache=False).logits
        sums = recorder.routed()
        record = recorder.take()
    for layer, found in record.layers.items():
        adapter = model.runtime.layout.blocks[layer].adapter
        _check_sum(layer, found, sums[layer], getattr(adapter, "weights_on_input", False))
    heard = surely_heard(model, ids)
    silent = [
        n for n, found in record.layers.items() if n not in heard and not _is_heard(model, n, found.index, ids, base)
    ]
    if silent:
        raise WorkbenchError(
            f"Muting the most used expert of layers {silent} changed no logit, so what we see there is not what the model "
            f"computes; edits would silently do nothing. Load with check=False to record anyway."
        )


def _is_heard(model: "MoEModel", layer: int, index: Tensor, ids: Tensor, base: Tensor) -> bool:
    """Whether muting the layer's most used expert, in a forward of its own, changes a bit of the logits."""
    used = torch.bincount(index.reshape(-1), minlength=model.anatomy.layer(layer).n_experts)
    with steered(model, Plan.mute([(layer, int(used.argmax()))])):
        return not torch.equal(model.hf(ids, use_cache=False).logits, base)


def _check_sum(layer: int, record: LayerRecord, routed: Tensor, weights_on_input: bool) -> None:
    """The experts' output must be the sum of routing weight times expert output: else the weights seen are not those used."""
    assert record.outputs is not None
    tokens, k = record.index.shape
    vectors = record.outputs.vectors.float()
    by_slot = torch.zeros(tokens * k, vectors.shape[-1], device=vectors.device).index_copy_(
        0, record.outputs.slots, vectors
    )
    share = torch.ones_like(record.weight.float()) if weights_on_input else record.weight.float()
    ours = (by_slot.view(tokens, k, -1) * share[..., None]).sum(1)
    own = routed.float().reshape(ours.shape)
    off = ((ours - own).norm() / own.norm().clamp_min(1e-30)).item()
    if not off <= _OFF.get(routed.dtype, 3e-2):
        raise WorkbenchError(
            f"Layer {layer}: the experts' output is not the sum of routing weight times expert output (off by {off:.2g} of its "
            f"norm), so the weights or outputs that we see are not those it uses; edits and norms would be wrong. Set "
            f"experts_implementation to eager, or remove what replaces the experts' forward."
        )
