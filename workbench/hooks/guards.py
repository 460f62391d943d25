"""What must hold before a block steers or records: the model is here, as it was looked at, and runs inside the block."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import nn

from workbench.errors import WorkbenchError
from workbench.hooks.active import active
from workbench.model import MoEModel, Runtime, is_wrapped
from workbench.survey import known_runtime, looked_again, runtimes_of


def check_loaded(model: object) -> None:
    """Raises `WorkbenchError` for what `load` did not return."""
    if not hasattr(model, "local"):
        raise WorkbenchError(f"{model!r:.60} is no loaded model; give what load(...) returns, such as load('demo').")


def check_here(runtime: Runtime) -> None:
    """Raises `WorkbenchError` when what we would hook is not what runs: put into a bridge after `load`, or on NDIF."""
    name = runtime.anatomy.model
    if runtime.far:
        raise WorkbenchError(
            f"The weights of {name} are on NDIF, not here; it can be captured there, and steering needs them here."
        )
    if not runtime.wrapped and is_wrapped(runtime.hf):
        raise WorkbenchError(
            f"{name} was put into a TransformerBridge after it was loaded; use load(bridge) from then on."
        )


def hooked_by_others(hf: nn.Module) -> bool:
    """Whether forward hooks of a user's are on the model or its parts: they may count forwards, or columns in them."""
    places = (place for part in hf.modules() for place in (part._forward_pre_hooks, part._forward_hooks))
    hooks = (hook for place in places for hook in place.values())
    homes = (str(getattr(getattr(hook, "func", hook), "__module__", "")) for hook in hooks)
    return any(not home.startswith(("workbench.hooks.", "transformers.")) for home in homes)


@contextmanager
def outside_traces(what: str) -> Iterator[None]:
    """Raises `WorkbenchError` where the block stands inside an nnsight trace, or behind one in the same `with` line.

    The model does not run there but where the trace ends, so the block would do nothing.
    """
    tracer = sys.modules.get("nnsight.tracing.tracer")
    if tracer is not None and getattr(getattr(tracer, "_local", None), "depth", 0):
        raise _inside_trace(what)
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "ExitTracingException":
            raise
        sys.settrace(getattr(error, "displaced", None))  # as nnsight does when its own block ends
        raise _inside_trace(what) from None


def _inside_trace(what: str) -> WorkbenchError:
    return WorkbenchError(
        f"{what} inside an nnsight trace would do nothing, for the model runs where the trace ends; open it around the trace: "
        f"with {what}(...), model.trace(...):"
    )


def as_it_is(model: MoEModel, *, weights: bool = True) -> MoEModel:
    """The model with the MoE map that it has now: k, other settings or adapters may have been changed since it was loaded.

    weights  also look whether weights were changed in place: reads about 4,096 values of each

    Raises `WorkbenchError` when it was changed inside a block that steers or records it: what is in force there is for the
    model of before.
    """
    check_loaded(model)
    runtime = model.local
    if runtime is None or runtime.far or runtime.wrapped != is_wrapped(runtime.hf):
        return model
    found = known_runtime(runtime.hf, weights=weights, first=runtime) or looked_again(runtime)
    if found is runtime:
        return model
    if any(r is not found and active(r.uid) for r in (runtime, *runtimes_of(runtime.hf))):
        raise WorkbenchError(
            f"{runtime.anatomy.model} was changed (adapters, routing settings or weights) inside a block that steers or records "
            f"it, or since it was loaded and before that block; change it outside, and load(model.hf) again."
        )
    return replace(model, local=found)
