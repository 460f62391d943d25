"""The rewritten model as a folder of transformers: a shard for each layer, so that a killed run goes on where it was.

config.json comes last, so a folder that is not whole is loaded by nobody.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from workbench.errors import WorkbenchError
from workbench.progress import Meter
from workbench.storage import WRITING, publish, read_json, temporary, write_json, write_text

from .groups import Groups, Router
from .layers import Tensors, as_stored, layer_tensors, outside
from .rewriting import moe_config
from .sizes import Sizes
from .targets import Fit

PLAN = "factorization.json"
"""What this folder is made of: written first, compared when a run goes on."""
_INDEX = "model.safetensors.index.json"


def claim(out: Path, plan: dict[str, Any]) -> bool:
    """Makes the folder this run's; returns whether it is whole already.

    Raises `WorkbenchError` where something else lies there, or a rewrite of other things.
    """
    if (out / PLAN).exists():
        if read_json(out / PLAN) != plan:
            raise WorkbenchError(
                f"'{out}' holds another rewrite ({PLAN} there says of what); choose another folder, or remove it."
            )
        return (out / "config.json").exists()
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out, PLAN, plan)
    return False


def finished(out: Path, source: str, sizes: Sizes, seed: int, facts: Mapping[str, Any]) -> bool:
    """Whether the folder holds a whole rewrite of that source with these sizes, this seed and these facts."""
    if not (out / PLAN).exists() or not (out / "config.json").exists():
        return False
    wanted = {
        "source": source,
        "groups": sizes.experts,
        "shared_groups": sizes.shared,
        "top_k": sizes.top_k,
        "seed": seed,
    }
    return {**wanted, **facts}.items() <= read_json(out / PLAN).items()


def check_free(out: Path) -> None:
    """Raises `WorkbenchError` where something lies that is no rewrite."""
    there = out.exists() or out.is_symlink()
    if there and not (out / PLAN).exists() and (not out.is_dir() or {x.name for x in out.iterdir()} - {WRITING}):
        raise WorkbenchError(f"'{out}' holds something else already; choose a folder that is new or empty.")


def pace(out: Path, size: int = 1 << 24) -> float:
    """Bytes a second that this folder's disk takes, measured on 16 MiB that are removed again."""
    part = temporary(out, "pace")
    start = time.monotonic()
    with part.open("wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
    part.unlink()
    return size / max(time.monotonic() - start, 1e-6)


def write_shards(
    out: Path,
    dense: Any,
    found: Fit,
    groups: Sequence[Groups],
    routers: Sequence[Router] | None,
    meter: Meter,
) -> None:
    """Writes what is not there yet, a shard at a time, and the index of them all."""
    from safetensors import safe_open

    shards = list(_shards(dense, found, groups, routers))
    index: dict[str, str] = {}
    total = 0
    for number, make in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        if not (out / name).exists():
            _write(out, name, make())
        with safe_open(out / name, framework="pt") as file:
            index |= dict.fromkeys(file.keys(), name)
            total += (out / name).stat().st_size
        meter.forwarded(1)
    write_json(out, _INDEX, {"metadata": {"total_size": total}, "weight_map": index})


def _shards(
    dense: Any, found: Fit, groups: Sequence[Groups], routers: Sequence[Router] | None
) -> Iterator[Callable[[], Tensors]]:
    state = dense.state_dict()
    dtype = found.dtype(dense.dtype, len(groups[0].routed))
    yield lambda: outside(state, found, dtype)
    for layer, own in enumerate(groups):
        router = None if routers is None else routers[layer]
        yield lambda layer=layer, own=own, router=router: layer_tensors(state, layer, own, router, found, dtype)


def _write(out: Path, name: str, tensors: Tensors) -> None:
    from safetensors.torch import save_file

    part = temporary(out, name)
    save_file(as_stored(tensors), part, metadata={"format": "pt"})
    publish(out, part, name)


def write_rest(
    out: Path,
    dense: Any,
    found: Fit,
    groups: Groups,
    top_k: int | None,
    texts: dict[str, bytes],
    tokenizer: Any,
    name: str,
) -> None:
    """Tokenizer, generation config, `texts` (licences and the card, by file name), and config.json at the end."""
    tokenizer.save_pretrained(out)
    if dense.generation_config is not None:
        dense.generation_config.save_pretrained(out)
    for file, text in texts.items():
        part = temporary(out, file)
        part.write_bytes(text)
        publish(out, part, file)
    dtype = found.dtype(dense.dtype, len(groups.routed))
    config = moe_config(dense, found, groups, top_k, name, dtype=dtype).to_dict()
    config["architectures"] = [architecture_class(found)]
    write_text(out / "config.json", json.dumps(_jsonable(config), indent=2, sort_keys=True) + "\n")
    shutil.rmtree(out / WRITING, ignore_errors=True)


def architecture_class(found: Fit) -> str:
    """The transformers class that reads the folder."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[found.architecture.name]
    return name if isinstance(name, str) else name[0]


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items() if not str(k).startswith("_")}
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
