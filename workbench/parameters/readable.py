"""Which weights can be read as they are: in memory, as ordinary floating-point numbers, with nothing added to them."""

from torch import Tensor, bfloat16, float16, float32, float64, nn

from workbench.errors import WorkbenchError, listed
from workbench.model import at_work

_ORDINARY = (float64, float32, bfloat16, float16)
_ELSE = "leave matrices and routers out of keep"


def check_plain(name: str, tensor: Tensor, otherwise: str = _ELSE) -> None:
    """Raises `WorkbenchError` for a weight whose values are elsewhere, or are not the numbers that it stands for."""
    if tensor.is_meta:
        raise WorkbenchError(
            f"The weight '{name}' is offloaded or has no values here (it is on the meta device), and it is read as it is; load "
            f"the model into memory whole, or {otherwise}."
        )
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.dtype not in _ORDINARY:
        kind = f"a {type(tensor).__name__} of {str(tensor.dtype).removeprefix('torch.')}"
        raise WorkbenchError(
            f"The weight '{name}' is quantised ({kind}), so its numbers are not the expert's; load the model unquantised, or "
            f"{otherwise}."
        )


def check_alone(name: str, module: nn.Module, otherwise: str = _ELSE) -> None:
    """Raises `WorkbenchError` where an adapter adds to a module's weights in every forward: others compute."""
    tuners = [m for m in module.modules() if hasattr(type(m), "adapter_layer_names")]
    added = sorted({adapter for tuner in tuners for adapter in at_work(tuner)})
    if added:
        raise WorkbenchError(
            f"The adapter {listed(added)} adds to the weights of '{name}' in every forward, so they are not what computes; merge "
            f"it, switch it off, or {otherwise}."
        )
