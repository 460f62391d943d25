"""Weights that accelerate keeps elsewhere (`device_map` with layers on the CPU or on disk): their values, wherever they are.

Such a parameter is on the meta device except while its own module runs, and the module's `forward` is accelerate's wrapper.
Accelerate is not imported here unless a model carries its hooks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from workbench.errors import WorkbenchError
from workbench.model.quantised import dense


def value(module: nn.Module, name: str) -> Tensor:
    """A parameter or buffer of `module`, with its values. Raises `WorkbenchError` when nobody has them."""
    tensor: Tensor = getattr(module, name)
    if not tensor.is_meta:
        return tensor
    for hook in _hooks(module):
        if name in (hook.weights_map or ()):
            return hook.weights_map[name]
    raise WorkbenchError(
        f"'{name}' of a {type(module).__name__} has no values (it is on the meta device, and no hook of accelerate's brings "
        f"them); load the checkpoint's weights first."
    )


def named_values(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter with its values, one at a time (those on disk are read, quantised ones dequantised), once each, under its
    first name.
    """
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{path}.{name}" if path else name, dense(value(module, name))


def missing(model: nn.Module) -> list[str]:
    """Names of parameters and buffers that have no values, here or at a hook of accelerate's."""
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        if tensor.is_meta and not any(name in (hook.weights_map or ()) for hook in _hooks(module))
    ]


@contextmanager
def brought(block: nn.Module) -> Iterator[None]:
    """While open, weights of `block` and what it holds are where they compute, as in its forward."""
    away = [m for m in block.modules() if _hooks(m) and any(t.is_meta for t in m.parameters(recurse=False))]
    with ExitStack() as stack:
        if away:
            from accelerate.utils import align_module_device

            for module in away:
                stack.enter_context(align_module_device(module))
        yield


def forward_is_its_own(module: nn.Module) -> bool:
    """Whether the forward is that of the class: nobody put another on the object, accelerate's and nnsight's wrappers aside."""
    own = vars(module).get("_old_forward") if _hooks(module) else vars(module).get("forward")
    if type(own).__module__.startswith("nnsight."):
        own = getattr(own, "__wrapped__", None)
    return own is None or getattr(own, "__func__", own) is type(module).forward


def _hooks(module: nn.Module) -> list[Any]:
    """Accelerate's hooks of a module that know where weights are."""
    hook = getattr(module, "_hf_hook", None)
    return [h for h in getattr(hook, "hooks", (hook,)) if hasattr(h, "weights_map")]
