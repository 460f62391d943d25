"""`with recording(model) as recorder:` - each forward inside is seen as the experts received it, layer by layer."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from workbench.errors import WorkbenchError
from workbench.hooks.active import activate
from workbench.hooks.guards import as_it_is, check_here, outside_traces
from workbench.hooks.points import HookPoint
from workbench.hooks.register import held
from workbench.model import MoEModel, Runtime
from workbench.parameters import neurons
from workbench.records import KEEPS, Recorder


@contextmanager
def recording(
    model: MoEModel,
    keep: Collection[str] = ("norms", "residual"),
    layers: Collection[int] | None = None,
    experts: Collection[tuple[int, int]] | None = None,
) -> Iterator[Recorder]:
    """While open, each forward of `model.hf` in this context is recorded; `recorder.take()` returns the last one.

    keep     out of "norms", "residual", "logits", "outputs", "router_input", "inner"; slots are always kept
    layers   limits all but norms and residual to these layers
    experts  limits outputs and inner to these (layer, expert) pairs; shared expert s is (layer, -1 - s)

    What is recorded is what the experts received: inside `steered`, in either nesting order, the steered routing.
    """
    unknown = set(keep) - KEEPS
    if unknown:
        raise WorkbenchError(f"keep knows {', '.join(sorted(KEEPS))}, not {', '.join(sorted(unknown))}.")
    check_here(model.runtime)
    runtime = as_it_is(model, weights=False).runtime
    with outside_traces("recording"), recorded(runtime, frozenset(keep), layers, experts) as recorder:
        yield recorder


@contextmanager
def recorded(
    runtime: Runtime,
    keep: frozenset[str],
    layers: Collection[int] | None = None,
    experts: Collection[tuple[int, int]] | None = None,
) -> Iterator[Recorder]:
    """`recording` of a model that was looked at just now."""
    chosen = None if experts is None else frozenset(experts)
    limited = None if layers is None else frozenset(layers)
    inner = neurons(runtime, limited) if "inner" in keep else {}
    recorder = Recorder(keep, runtime.anatomy.moe_layers, limited, chosen, runtime.multipliers, inner)
    points, state = _points(runtime, recorder), activate(runtime.uid, recorder=recorder)
    with held(runtime, points), state:
        yield recorder


def _points(runtime: Runtime, recorder: Recorder) -> Iterator[HookPoint]:
    yield HookPoint("forward", -1)
    for layer, block in runtime.layout.blocks.items():
        if block.adapter is not None:
            yield HookPoint("adapted", layer)
        if recorder.wants("logits", layer):
            yield HookPoint("router", layer)
        if recorder.wants("router_input", layer):
            yield HookPoint("reads", layer)
        yield HookPoint("experts", layer)
        for number in range(len(block.shared)):
            yield HookPoint("shared", layer, number)
        if block.shared_gate is not None:
            yield HookPoint("gate", layer)
        if "residual" in recorder.keep and layer in runtime.before:
            yield HookPoint("before", layer)
    if "residual" in recorder.keep and not any("residual" in x.refused for x in runtime.anatomy.layers):
        for layer in range(len(runtime.layout.layers)):
            yield HookPoint("residual", layer)
