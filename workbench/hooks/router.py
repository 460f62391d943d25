"""The hook on a router: the recorder sees what it reads and its logits, and the plan's off, force and bias change its choice."""

from typing import Any

from torch import Tensor

from workbench.hooks.active import Active, active, positions_here, running_here
from workbench.hooks.adapted import touch
from workbench.model import logits_first, numbers_first, runtime_of, swapped
from workbench.routing import LayerEdits, Positions, Router, Routing, Unlike, changed_slots, reroute, unlike


def on_read(uid: int, layer: int, module: Any, args: Any, kwargs: Any = None) -> None:
    """What the router is about to read."""
    now = active(uid)
    if now is not None and now.recorder is not None and now.recorder.wants("router_input", layer):
        given = (x for x in (*args, *(kwargs or {}).values()) if isinstance(x, Tensor) and x.is_floating_point())
        hidden = next(given, None)
        if hidden is not None:
            now.recorder.see_router_input(layer, hidden)


def on_router(uid: int, layer: int, module: Any, args: Any, output: Any) -> Any:
    now = active(uid)
    if now is None:
        return None
    answered, weights, index, *rest = logits_first(output)
    logits = runtime_of(uid).logits(layer, answered)
    if now.recorder is not None:
        now.recorder.see_logits(layer, logits)
    edits = now.compiled.routed.get(layer) if now.compiled else None
    if edits is None or not edits.reroutes:
        return None
    routing = _reroute(uid, layer, edits, logits, Routing(weights, index), now)
    touch(lambda: (routing.index != index) | (routing.weights != weights))
    if now.dose is not None:
        forward = running_here(uid, now)
        forward.rerouted[layer] = changed_slots(index, weights, routing.index, routing.weights)
    changed = (answered, routing.weights, routing.index, *rest)
    return swapped(changed) if numbers_first(output) else changed


def _reroute(uid: int, layer: int, edits: LayerEdits, logits: Tensor, own: Routing, now: Active) -> Routing:
    runtime, positions = runtime_of(uid), positions_here(uid, now)
    inside = edits.touched(logits.device, positions) if edits.is_scoped else None
    router = Router(runtime.rule(layer), runtime.correction(layer), runtime.expert_scale(layer))
    if now.unlike is not None and now.unlike.wants(layer):
        _notice(now.unlike, layer, unlike(router, logits, own), inside, positions)
    return reroute(router, logits, own, edits.router_edits(logits.device, positions), inside)


def _notice(found: Unlike, layer: int, tokens: Tensor, inside: Tensor | None, positions: Positions | None) -> None:
    """Padding is nobody's token, and outside of the edits' scope the router answers for itself."""
    real = None if positions is None else positions.real.to(tokens.device)
    for those in (inside, real):
        tokens = tokens & those if those is not None and those.shape == tokens.shape else tokens
    found.add(layer, tokens if positions is None else positions.times(tokens))
