"""The hooks themselves: one small function per kind of place, each first edits, then records.

All of them are module-level functions that look up what is active in this context, so they are inert in everybody else's
forwards, can be saved with the model, and give the same answer in whatever order `steered` and `recording` were entered.

`kwargs` has a default because torch enters a hook before it notes that the hook wants keywords, and forgets the note before
the hook: a forward of another thread that falls between calls it without them. There it is inert, and must not fail.
"""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor

from workbench.active import Active, HookPoint, active, current_forward, set_forward
from workbench.adapters import rerun
from workbench.compiled import LayerEdits, Replacement
from workbench.dose import Unlike, changed_slots
from workbench.errors import WorkbenchError
from workbench.interop import BridgeSteps
from workbench.positions import Forward, prompt_length, read_forward
from workbench.record import Recorder
from workbench.reroute import Router, reroute, unlike
from workbench.routing import Routing, taken
from workbench.runtime import Runtime, runtime_of
from workbench.tap import SlotWeights


def register(runtime: Runtime, point: HookPoint) -> list[Any]:
    """Installs the hook of one place and returns its handles."""
    layout, (kind, layer, number) = runtime.layout, point
    block = layout.blocks.get(layer)
    if kind == "forward":
        return [
            layout.base.register_forward_pre_hook(partial(_on_forward, runtime.uid), with_kwargs=True),
            layout.base.register_forward_hook(partial(_on_forwarded, runtime.uid)),
        ]
    if kind == "generate":
        return [_GenerateHandle(runtime), *map(BridgeSteps, runtime.bridges)]
    if kind == "residual":
        handles = [layout.layers[layer].register_forward_hook(partial(_on_residual, runtime.uid, layer))]
        if layer == 0:
            hook = partial(_on_embeddings, runtime.uid)
            handles.append(layout.layers[0].register_forward_pre_hook(hook, with_kwargs=True))
        return handles
    assert block is not None
    if kind == "router":
        return [block.router.register_forward_hook(partial(_on_router, runtime.uid, layer))]
    if kind == "experts":
        return [
            block.experts.register_forward_pre_hook(partial(_on_experts, runtime.uid, layer), with_kwargs=True),
            block.experts.register_forward_hook(partial(_on_routed, runtime.uid, layer)),
        ]
    if kind == "shared":
        return [block.shared[number].register_forward_hook(partial(_on_shared, runtime.uid, layer, number))]
    if kind == "adapted":
        return [block.block.register_forward_hook(partial(_on_adapted, runtime.uid, layer), with_kwargs=True)]
    if kind == "gate":
        assert block.shared_gate is not None
        return [block.shared_gate.register_forward_hook(partial(_on_gate, runtime.uid, layer))]
    assert kind == "before"
    return [runtime.before[layer].register_forward_pre_hook(partial(_on_before, runtime.uid, layer))]


# ---- the base model


def _on_forward(uid: int, module: Any, args: Any, kwargs: Any = None) -> None:
    now = active(uid)
    if now is None:
        return
    names = list(inspect.signature(module.forward).parameters) if args else []
    forward = read_forward({**dict(zip(names, args, strict=False)), **kwargs}, current_forward(uid))
    forward.under = now
    set_forward(uid, forward)
    if now.recorder is not None:
        now.recorder.begin()
    if now.dose is not None:
        now.dose.begin(forward)


def _on_forwarded(uid: int, module: Any, args: Any, output: Any) -> None:
    now = active(uid)
    forward = None if now is None else _current(uid, now)
    if forward is not None:
        forward.leave_trail(output)


class _GenerateHandle:
    """`generate` told apart from plain forwards: while installed, it states the prompt's length in this context."""

    def __init__(self, runtime: Runtime) -> None:
        uid, hf = runtime.uid, runtime.hf
        self.hf, original = hf, hf.generate
        self.users_own = hf.__dict__.get("generate")  # some libraries set one on the object

        def generate(*args: Any, **kwargs: Any) -> Any:
            _refuse_beams(uid, hf, kwargs)
            named = (kwargs.get(n) for n in ("inputs", "input_ids", "inputs_embeds"))
            prompt = args[0] if args else next((x for x in named if x is not None), None)
            if prompt is None:
                return original(*args, **kwargs)
            with prompt_length(prompt.shape[1]):
                return original(*args, **kwargs)

        hf.generate = generate

    def remove(self) -> None:
        """The model's own `generate` again, or the user's."""
        self.hf.__dict__.pop("generate", None)
        if self.users_own is not None:
            self.hf.generate = self.users_own


def _refuse_beams(uid: int, hf: Any, options: dict[str, Any]) -> None:
    """A beam that overtakes another moves into its row, and what is open in that row would be the other's."""
    now = active(uid)
    if now is None or now.compiled is None or not now.compiled.has_spans:
        return
    beams = options.get("num_beams") or getattr(
        options.get("generation_config") or hf.generation_config, "num_beams", 1
    )
    if (beams or 1) > 1:
        raise WorkbenchError(
            f"Edits between tokens follow each row, and beam search ({beams} beams) moves rows; generate greedily or sample."
        )


# ---- the router


def _on_router(uid: int, layer: int, module: Any, args: Any, output: Any) -> Any:
    now = active(uid)
    if now is None:
        return None
    answered, weights, index = output[:3]
    logits = runtime_of(uid).logits(layer, answered)
    if now.recorder is not None:
        now.recorder.see_logits(layer, logits)
    edits = now.compiled.routed.get(layer) if now.compiled else None
    if edits is None or not edits.reroutes:
        return None
    routing = _reroute(uid, layer, edits, logits, Routing(weights, index), now)
    _touch(lambda: (routing.index != index) | (routing.weights != weights))
    if now.dose is not None:
        forward = _forward(uid, now)
        forward.rerouted[layer] = changed_slots(index, weights, routing.index, routing.weights)
    return (answered, routing.weights, routing.index, *output[3:])


def _reroute(uid: int, layer: int, edits: LayerEdits, logits: Tensor, own: Routing, now: Active) -> Routing:
    runtime, forward = runtime_of(uid), _current(uid, now)
    inside = edits.touched(logits.device, forward) if edits.is_scoped else None
    router = Router(runtime.rule(layer), runtime.correction(layer), runtime.expert_scale(layer))
    if now.unlike is not None and now.unlike.wants(layer):
        _notice(now.unlike, layer, unlike(router, logits, own), inside, forward)
    return reroute(router, logits, own, edits.router_edits(logits.device, forward), inside)


def _notice(found: Unlike, layer: int, tokens: Tensor, inside: Tensor | None, forward: Forward | None) -> None:
    """Padding is nobody's token, and outside of the edits' scope the router answers for itself."""
    real = None if forward is None else forward.real.to(tokens.device)
    for those in (inside, real):
        tokens = tokens & those if those is not None and those.shape == tokens.shape else tokens
    found.add(layer, tokens)


# ---- the experts


def _on_experts(uid: int, layer: int, module: Any, args: Any, kwargs: Any = None) -> Any:
    now = active(uid)
    if now is None:
        return None
    hidden, index, weights = _experts_arguments(module, args, kwargs)
    edits = now.compiled.routed.get(layer) if now.compiled else None
    if edits is None and now.recorder is None:
        return None
    forward = _current(uid, now)
    steered = _edit_weights(edits, index, weights, forward) if edits else weights
    if now.recorder is not None:
        _check_rows(layer, index, forward)
        now.recorder.see_slots(layer, index, steered)
    muted = _taken(edits.mask("mute", index.device, forward), index) if edits else None
    if now.dose is not None and edits is not None:
        _count(now, layer, edits, index, weights, steered, muted, _forward(uid, now))
    given = steered
    if muted is not None:
        steered = steered.masked_fill(muted, 0)
    replacements = edits.replacements(index.device, forward) if edits else []
    _touch(lambda: _changed_here(index, weights, given, muted, replacements))
    if replacements:
        steered = _set_aside(layer, index, steered, replacements, _forward(uid, now))
    if now.recorder is not None and now.recorder.wants_outputs:
        steered = _tapped(now.recorder, layer, index, steered, _forward(uid, now))
    return (hidden, index, steered), {}


def _check_rows(layer: int, index: Tensor, forward: Forward | None) -> None:
    """Rows belong to tokens by their order, so a layer that routes only some of them cannot be recorded."""
    if forward is not None and index.shape[0] != forward.batch * forward.length:
        raise WorkbenchError(
            f"Layer {layer} routed {index.shape[0]} of {forward.batch * forward.length} tokens (experts of one modality), so its "
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


def _edit_weights(edits: LayerEdits, index: Tensor, weights: Tensor, forward: Forward | None) -> Tensor:
    """drop, then scale. Rows in which no edited expert is selected keep their weights bit for bit."""
    dropped = _taken(edits.mask("drop", index.device, forward), index)
    if dropped is not None:
        kept = weights.masked_fill(dropped, 0)
        left = kept.sum(-1, keepdim=True, dtype=torch.float32)
        share = torch.where(left > 0, weights.sum(-1, keepdim=True, dtype=torch.float32) / left, 0.0)
        weights = torch.where(dropped.any(-1, keepdim=True), (kept * share).to(weights.dtype), weights)
    factor = _taken(edits.values("scale", index.device, forward), index)
    return weights if factor is None else (weights * factor).to(weights.dtype)


def _set_aside(layer: int, index: Tensor, weights: Tensor, replacements: list[Replacement], forward: Forward) -> Tensor:
    """Replaced slots weigh nothing; what they add instead, their weights times the vectors, is added behind the experts."""
    added = forward.added[layer] = list[tuple[Tensor, Tensor]]()
    for replacement in replacements:
        left = weights.masked_fill(replacement.touches(index), 0)
        added.append(((weights - left).sum(-1, keepdim=True, dtype=torch.float32), replacement.vector))
        weights = left
    return weights


def _tapped(recorder: Recorder, layer: int, index: Tensor, weights: Tensor, forward: Forward) -> Tensor:
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


def _on_routed(uid: int, layer: int, module: Any, args: Any, output: Any) -> Tensor | None:
    now = active(uid)
    forward = None if now is None else _current(uid, now)
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
    now: Active,
    layer: int,
    edits: LayerEdits,
    index: Tensor,
    weights: Tensor,
    steered: Tensor,
    muted: Tensor | None,
    forward: Forward,
) -> None:
    replacements = edits.replacements(index.device, forward)
    changed = _changed_here(index, weights, steered, muted, replacements)
    rerouted = forward.rerouted.pop(layer, None)
    assert now.dose is not None
    now.dose.add(forward, changed if rerouted is None else changed | rerouted, (steered == 0).all(-1))


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


def _current(uid: int, now: Active) -> Forward | None:
    """The forward that runs, or None where the base model did not run under what is active now (a layer by itself)."""
    forward = current_forward(uid)
    return forward if forward is not None and forward.under is now else None


def _forward(uid: int, now: Active) -> Forward:
    forward = _current(uid, now)
    assert forward is not None
    return forward


# ---- blocks that an adapter speaks for


_TOUCHED: ContextVar[list[Tensor] | None] = ContextVar("workbench_touched", default=None)


def _touch(slots: Callable[[], Tensor]) -> None:
    """Notes slots [tokens, k] that an edit changes, where the block's adapter wants to know."""
    found = _TOUCHED.get()
    if found is not None:
        found.append(slots().any(-1))


def _on_adapted(uid: int, layer: int, module: Any, args: Any, *rest: Any) -> Any:
    """Runs the block through its adapter, where the hooks on router and experts see it; edited tokens have its output."""
    now = active(uid)
    edited = now is not None and now.compiled is not None and layer in now.compiled.routed
    if now is None or not (edited or now.recorder is not None):
        return None
    output, named = rest[-1], rest[0] if len(rest) > 1 else {}
    block, hidden = runtime_of(uid).layout.blocks[layer], args[0] if args else next(iter(named.values()))
    assert block.adapter is not None
    forward = _current(uid, now)
    if forward is not None:
        forward.rerunning = True  # its shared experts were counted when the model ran them
    touched = list[Tensor]()
    token = _TOUCHED.set(touched)
    try:
        new = rerun(block.adapter, block.block, block.router, block.experts, hidden)
    finally:
        _TOUCHED.reset(token)
        if forward is not None:
            forward.rerunning = False
    if not edited:
        return None
    own = output[0] if isinstance(output, tuple) else output
    rows = torch.stack(touched).any(0)[:, None]
    new = torch.where(rows, new.to(own.dtype).reshape(len(rows), -1), own.reshape(len(rows), -1)).reshape(own.shape)
    return (new, *output[1:]) if isinstance(output, tuple) else new


# ---- shared experts and the residual stream


def _on_shared(uid: int, layer: int, number: int, module: Any, args: Any, output: Tensor) -> Tensor | None:
    now = active(uid)
    if now is None:
        return None
    if now.recorder is not None:
        now.recorder.see_shared(layer, number, output)
    edits = now.compiled.shared.get((layer, number)) if now.compiled else None
    if edits is None:
        return None
    forward = _current(uid, now)
    new = _edit_shared(edits, number, output.reshape(-1, output.shape[-1]), forward).reshape(output.shape)
    if now.dose is not None and not _forward(uid, now).rerunning:
        now.dose.add(_forward(uid, now), (new != output).reshape(-1, output.shape[-1]).any(-1, keepdim=True))
    return new


def _edit_shared(edits: LayerEdits, number: int, rows: Tensor, forward: Forward | None) -> Tensor:
    for _, vector, scope in edits.replacements(rows.device, forward):
        new = vector.to(rows.dtype).expand_as(rows)
        rows = new if scope is None else torch.where(scope, new, rows)
    factor, muted = edits.values("scale", rows.device, forward), edits.mask("mute", rows.device, forward)
    rows = rows if factor is None else (rows * factor[:, number : number + 1]).to(rows.dtype)
    return rows if muted is None else rows.masked_fill(muted[:, number : number + 1], 0)


def _on_gate(uid: int, layer: int, module: Any, args: Any, output: Tensor) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_gate(layer, output)


def _on_before(uid: int, layer: int, module: Any, args: Any) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_before(layer, args[0])


def _on_residual(uid: int, layer: int, module: Any, args: Any, output: Any) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_residual(layer, output[0] if isinstance(output, tuple) else output)


def _on_embeddings(uid: int, module: Any, args: Any, kwargs: Any = None) -> None:
    now = active(uid)
    if now is not None and now.recorder is not None:
        now.recorder.see_residual(-1, args[0] if args else kwargs["hidden_states"])
