"""Which checkpoints were checked by intervening before: one small JSON file for each, in the user's cache folder.

What could make a difference is part of the entry, and all of it has to be the same. Nothing is kept of a model whose parts
cannot be told by their files: built in memory, with code from the hub, with hooks on it, with an adapter of one's own.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from workbench.errors import WorkbenchError
from workbench.model import Runtime
from workbench.paths import cache_folder
from workbench.storage import read_json, write_text
from workbench.version import __version__

_UNSEEN = ("trust_remote_code", "use_kernels")  # options that bring code which is in no file of the checkpoint
_NO_MATTER = (
    "token",
    "cache_dir",
    "local_files_only",
    "adapter_kwargs",
    "offload_folder",
)  # where it comes from; secrets


def entry_of(runtime: Runtime, hub: Mapping[str, Any], files: str | None) -> dict[str, Any] | None:
    """All that the check depends on, by what it is; None for a model of which nothing may be kept.

    files  the full hash of the checkpoint's files
    hub    what went to `from_pretrained` beside the name
    """
    hf, options = runtime.hf, {name: value for name, value in hub.items() if name not in _NO_MATTER}
    seen = files is not None and runtime.adapter is None and not any(hub.get(name) for name in _UNSEEN)
    if not seen or _hooked(hf) or not _is_json(options):
        return None
    tensors = [*hf.parameters(), *hf.buffers()]
    return {
        "files": files,
        "options": options,
        "config": _config(hf),
        "map": runtime.anatomy.fingerprint,
        "adapters": list(runtime.anatomy.adapters),
        "dtype": _once(tensor.dtype for tensor in tensors),
        "device": getattr(hf, "hf_device_map", None) or _once(tensor.device for tensor in tensors),
        "attention": str(getattr(hf.config, "_attn_implementation", None)),
        "experts": str(getattr(hf.config, "_experts_implementation", None)),
        "code": _code(hf),
        "versions": _versions(),
        "processor": _processor(tensors),
    }


def was_checked(entry: dict[str, Any]) -> bool:
    """Whether a model of which all this holds passed the check. A file that is damaged or about something else is none."""
    try:
        return read_json(_path(entry)) == json.loads(_text(entry))
    except (OSError, WorkbenchError):
        return False


def note_checked(entry: dict[str, Any]) -> None:
    """Keeps that such a model passed; where nothing can be written it is checked again next time."""
    path = _path(entry)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, _text(entry))


def _path(entry: dict[str, Any]) -> Path:
    return cache_folder() / "checked" / f"{hashlib.sha256(_text(entry).encode()).hexdigest()[:32]}.json"


def _text(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, indent=1, default=str) + "\n"


def _is_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError):
        return False


def _once(values: Iterable[object]) -> list[str]:
    return sorted({str(value) for value in values})


def _hooked(hf: Any) -> bool:
    return any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())


def _config(hf: Any) -> str:
    """The hash of the config in force, overrides included, wherever the folder lies."""
    told = {name: value for name, value in hf.config.to_dict().items() if name != "_name_or_path"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _code(hf: Any) -> str:
    """The hash of the forwards that run: a class whose forward somebody has replaced is another model to the check."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    forwards = [vars(m).get("forward") or type(m).forward for m in hf.modules()]
    parts = {part for forward in (*forwards, *ALL_EXPERTS_FUNCTIONS.values()) for part in _told(forward)}
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def _told(function: Any) -> list[str]:
    """A function's name and what it does, and those that it wraps."""
    found = list[str]()
    while function is not None:
        code = getattr(function, "__code__", None)
        does = "" if code is None else f"{code.co_code.hex()} {code.co_names} {code.co_filename}:{code.co_firstlineno}"
        found.append(f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')} {does}")
        function = getattr(function, "__wrapped__", None)
    return found


def _versions() -> dict[str, str]:
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__, "workbench": __version__}


def _processor(tensors: Iterable[torch.Tensor]) -> list[str]:
    """What computes: the processor and its instructions as torch uses them, and each graphics card."""
    cards = sorted({tensor.device for tensor in tensors if tensor.device.type == "cuda"}, key=str)
    here = (platform.machine(), _model_name(), torch.backends.cpu.get_cpu_capability())
    return [*here, *(torch.cuda.get_device_name(card) for card in cards)]


def _model_name() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return platform.processor()
