"""The routing rule of each layer's router, by which off, force and bias go: fitted to what it answered, never guessed."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from workbench.routing import Router, Routing, fit_rule
from workbench.serving.layer import Layer

LEAST = 16
"""Tokens that a fit needs."""


def rules_of(layers: Mapping[int, Layer]) -> dict[str, Any]:
    """Fits every layer to what it kept of the last forward, which no plan may have changed; see `Worker.workbench_rules`."""
    return {str(number): _fitted(layer) for number, layer in layers.items()}


def _fitted(layer: Layer) -> dict[str, Any]:
    kept, router = layer.kept, layer.own.__self__  # pyright: ignore[reportFunctionMemberAccess]
    if kept is None or kept.logits is None or len(kept.index) < LEAST:
        return {"reason": f"layer {layer.number} was seen with fewer than {LEAST} tokens"}
    bias: Tensor | None = getattr(router, "e_score_correction_bias", None)
    corrections = {} if bias is None else {"correction": bias}
    own = Routing(kept.weight / layer.scaling, kept.index.long())
    fit = fit_rule(kept.logits, own, corrections, _groups(router))
    if fit.rule is None:
        return {"reason": f"layer {layer.number}: {fit.reason}"}
    layer.router = Router(fit.rule, bias if fit.correction else None)
    return {"rule": asdict(fit.rule)}


def _groups(router: Any) -> tuple[int, int]:
    """How many groups of experts there are, and how many of them a token may use."""
    if not getattr(router, "use_grouped_topk", True):
        return 1, 1
    return int(getattr(router, "num_expert_group", None) or 1), int(getattr(router, "topk_group", None) or 1)
