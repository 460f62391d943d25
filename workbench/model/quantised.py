"""Checkpoints and weights that are quantised: by what, and their values as ordinary floating-point numbers."""

import json
from typing import Any

from workbench.paths import given_path


def quantised_by(path: str) -> str | None:
    """The method that a checkpoint's config names (gptq, awq, fp8, ...), of a folder or of what the hub's cache holds."""
    try:
        config = json.loads((given_path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = _cached(path)
    found = (config or {}).get("quantization_config") if isinstance(config, dict) else None
    return str(found.get("quant_method", "a method that it does not name")) if isinstance(found, dict) else None


def _cached(name: str) -> Any:
    """The config of a model of the hub, out of the cache alone: it was just asked for."""
    from transformers import PreTrainedConfig

    try:
        return PreTrainedConfig.get_config_dict(name, local_files_only=True)[0]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ):  # the error at hand says what is wrong with it
        return None


def dense(tensor: Any) -> Any:
    """The values of a weight as ordinary numbers: torchao's and other subclasses of Tensor that can are dequantised."""
    from torch import Tensor

    return tensor if type(tensor).dequantize is Tensor.dequantize else tensor.dequantize()


def unreadable(tensor: Any) -> str | None:
    """Why a weight's values cannot be read; None where they can. Only a subclass of Tensor may answer otherwise."""
    from torch import Tensor
    from torch.nn import Parameter

    if type(tensor) in (Tensor, Parameter):
        return None
    try:
        dense(tensor).detach().reshape(-1)[:1].float().tolist()
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]:.100}"
    return None
