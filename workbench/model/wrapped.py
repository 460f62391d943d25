"""TransformerLens bridges and nnsight models as sources of `load`: what lies inside them.

A `TransformerBridge` puts wrappers into the model that it bridges, so that routers and experts lie one level deeper and
have other names. `unwrapped` takes the wrappers out while the model is looked at: the MoE map, its names and its
fingerprint are those of the bare model. An nnsight model leaves its model as it is. Neither library is imported here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn

from workbench.errors import WorkbenchError
from workbench.model.layout import Layout


class Opened(NamedTuple):
    """A source's transformers model and tokenizer, and the bridge or the nnsight model around it, if any."""

    hf: Any
    tokenizer: Any
    bridge: Any = None
    nnsight: Any = None


def opened(source: Any, *, far: bool = False) -> Opened:
    """What lies in a bridge or an nnsight model; anything else as it is. `far`: its weights need not be here.

    Raises `WorkbenchError` for a bridge without a model of its own (vLLM, Inspect), a bridge whose weights were processed,
    and an nnsight model whose weights are not loaded.
    """
    if _is(source, "transformer_lens", "TransformerBridge"):
        return Opened(_bridged(source), source.tokenizer, bridge=source)
    if _is(source, "nnsight", "Envoy"):
        return Opened(source._module if far else _traced(source), getattr(source, "tokenizer", None), nnsight=source)
    return Opened(source, None)


def _bridged(bridge: Any) -> Any:
    hf = getattr(bridge, "original_model", None)  # a property that raises AttributeError where there is none
    if hf is None or not hasattr(hf, "config") or not callable(getattr(hf, "generate", None)):
        raise WorkbenchError(
            f"This TransformerBridge ({type(getattr(bridge, '_driver', bridge)).__name__}) holds no transformers model in this "
            f"process; boot it with boot_transformers."
        )
    if getattr(bridge, "_weights_processed", False):
        raise WorkbenchError(
            "This TransformerBridge has processed weights (enable_compatibility_mode folds norms into the experts), so its "
            "experts are no longer the checkpoint's; use enable_compatibility_mode(no_processing=True) or none."
        )
    return hf


def _traced(model: Any) -> Any:
    hf = model._module
    if any(p.is_meta for p in hf.parameters()) and not hasattr(hf, "hf_device_map"):
        raise WorkbenchError(
            "This nnsight model has no weights yet, and what its experts do is read off a forward; make it with dispatch=True, "
            "or load(..., remote=True) when NDIF serves it."
        )
    return hf


def _is(thing: Any, library: str, name: str) -> bool:
    """Whether `thing` is of the library's class `name`, without importing the library."""
    return any(c.__name__ == name and c.__module__.split(".")[0] == library for c in type(thing).__mro__)


# ---- TransformerLens's wrappers


@contextmanager
def unwrapped(hf: Any) -> Iterator[dict[nn.Module, nn.Module]]:
    """The model without TransformerLens's wrappers while open; yields the wrapper by the module that it wraps.

    A forward of another thread that falls into the block runs without the wrappers: the same numbers, but nothing that was
    hooked there fires.
    """
    places = list(_wrappers(hf))
    try:
        for owner, name, wrapper in places:
            owner._modules[name] = _innermost(wrapper)
        yield {_innermost(wrapper): wrapper for _, _, wrapper in places}
    finally:
        for owner, name, wrapper in places:
            owner._modules[name] = wrapper


def as_it_runs(layout: Layout, wrapper: dict[nn.Module, nn.Module]) -> Layout:
    """The layout whose layers are the wrappers, where there are any: what leaves a layer has passed its wrapper's hooks."""
    layers = tuple(wrapper.get(layer, layer) for layer in layout.layers)
    return layout._replace(base=wrapper.get(layout.base, layout.base), layers=layers)


def is_wrapped(hf: Any) -> bool:
    """Whether the model lies in a bridge."""
    return _wraps(hf.get_input_embeddings())


def _wrappers(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for name, child in module._modules.items():
        if child is None:
            continue
        if _wraps(child):
            yield module, name, child
            yield from _wrappers(_innermost(child))
        else:
            yield from _wrappers(child)


def _wraps(module: Any) -> bool:
    return _is(module, "transformer_lens", "GeneralizedComponent") and _inside(module) is not None


def _inside(wrapper: nn.Module) -> nn.Module | None:
    return wrapper._modules.get("_original_component")


def _innermost(wrapper: nn.Module) -> nn.Module:
    inside = _inside(wrapper)
    assert inside is not None
    return _innermost(inside) if _wraps(inside) else inside
