"""The checks by the capability that each holds, and why a family may lack one."""

from tests.conformance.checks.case import case
from tests.conformance.checks.edited import check_edit
from tests.conformance.checks.recorded import (
    check_logits,
    check_norms,
    check_outputs,
    check_residual,
    check_routed_change,
    check_routing,
)
from workbench.anatomy import CAPABILITIES

CAPTURED = {
    "routing": check_routing,
    "logits": check_logits,
    "norms": check_norms,
    "outputs": check_outputs,
    "residual": check_residual,
    "routed_change": check_routed_change,
}

EDITS = ("off", "drop", "mute", "force", "scale", "bias", "replace")
assert {*CAPTURED, *EDITS} == set(CAPABILITIES)


def why_not(family: str, capability: str) -> str | None:
    """The anatomy's reason, with its layers, when some layer refuses this."""
    layers = case(family).model.anatomy.layers
    reasons: dict[str, list[int]] = {}
    for layer in layers:
        if capability in layer.refused:
            reasons.setdefault(layer.refused[capability], []).append(layer.layer)
    moe = list(case(family).model.anatomy.moe_layers)
    return (
        "; ".join(
            reason if at == moe else f"layers {', '.join(map(str, at))}: {reason}" for reason, at in reasons.items()
        )
        or None
    )


def check(family: str, dtype: str, capability: str) -> str | None:
    """None when the capability holds, the anatomy's reason when it is refused; raises when it is promised and broken."""
    reason = why_not(family, capability)
    if capability in CAPTURED:
        if reason is None:
            CAPTURED[capability](family, dtype)
        return reason
    last = case(family).model.anatomy.layer(case(family).last)
    if capability not in last.refused:
        check_edit(family, dtype, capability)
    return reason
