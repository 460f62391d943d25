"""Comparing what was watched with what the reference says, layer by layer, tie or no tie."""

from collections.abc import Collection, Mapping, Sequence

import torch

from tests.support import reference
from tests.support.watching import Seen, Spec, edits_of, relative
from workbench.model import MoEModel

BLOCK = {"float32": 1e-5, "bfloat16": 2e-2}  # relative, of the block's output
WEIGHT = {"float32": 2e-6, "bfloat16": 2**-6}  # of weights, relative to the token's largest: four roundings to bf16
TIE = 1e-5


def judge(
    model: MoEModel,
    seen: Mapping[int, Seen],
    specs: Sequence[Spec],
    dtype: str = "float32",
    layers: Sequence[int] | None = None,
    tokens: Collection[int] | None = None,
    rows: Sequence[int] | None = None,
) -> float:
    """Selection, received weights and block outputs of every edited layer equal the reference's; the share of tokens judged.

    tokens  rows that are in the edits' scope (None: all); rows  those that are judged (None: all; padding is nobody's)
    """
    share = 1.0
    for layer in model.anatomy.moe_layers if layers is None else layers:
        found = seen[layer]
        expected = reference.answer(model.hf, layer, found.hidden, edits_of(specs, tokens), logits=found.logits)
        clear = expected.margins > TIE
        if rows is not None:
            clear &= torch.isin(torch.arange(len(clear)), torch.tensor(list(rows)))
        share = min(share, float(clear.sum()) / max(1, len(clear) if rows is None else len(rows)))
        if not clear.any():
            continue
        assert torch.equal(found.received()[clear], expected.selected[clear]), f"layer {layer}: another selection"
        error = (found.dense() - _as_received(expected.weights, specs, tokens))[clear].abs()
        error /= expected.weights[clear].amax(-1, keepdim=True).clamp_min(1e-9)
        assert error.max() <= WEIGHT[dtype], f"layer {layer}: weights off by {error.max():.2g}"
        assert relative(found.block[clear], expected.block[clear]) < BLOCK[dtype], f"layer {layer}: another output"
    return share


def _as_received(weights: torch.Tensor, specs: Sequence[Spec], tokens: Collection[int] | None) -> torch.Tensor:
    """A muted or replaced expert is received with weight 0; its weight as such is the recorder's to tell."""
    weights, muted = weights.clone(), [e for kind, e, _ in specs if kind in ("mute", "replace") and e >= 0]
    inside = torch.tensor([tokens is None or t in tokens for t in range(len(weights))])
    for expert in muted:
        weights[inside, expert] = 0
    return weights
