"""A model whose weights are on NDIF and only its modules' names here: what `load` needs to know of it, from one trace."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.backends.nnsight import in_trace
from workbench.backends.nnsight.in_trace import held_numbers, survey_numbers
from workbench.backends.nnsight.ndif import plainly, shipped
from workbench.errors import WorkbenchError
from workbench.model import Layout, MoEBlock
from workbench.survey import Seen, Survey, described, probe_ids

WHY_NOT = "its weights are on NDIF, and edits are made by hooks in this process"
_EDITS = ("off", "drop", "mute", "force", "scale", "bias", "replace")
_SMALL = 4096  # numbers of a vector that may be a correction bias, and values of each weight for the fingerprint


class Far(NamedTuple):
    """The survey, the dtype of the weights, and about 4,096 values of each parameter, as `read_weights` samples them."""

    survey: Survey
    dtype: torch.dtype
    values: dict[str, Tensor]


def traced(source: Any, tokenizer: Any = None) -> Any:
    """An nnsight model around a transformers model, or around a hub id, whose weights are then not loaded.

    Raises `WorkbenchError` where nnsight is not installed, or the id names nothing that it can read.
    """
    try:
        from nnsight import TransformersModel
    except ImportError as error:
        raise WorkbenchError(
            "engine='nnsight' needs nnsight, which is not installed; install moe-workbench[interop]."
        ) from error
    try:
        return TransformersModel(
            source, task="text-generation", **({} if tokenizer is None else {"tokenizer": tokenizer})
        )
    except Exception as error:  # of an unknown or unreachable id the hub and transformers raise anything
        if not isinstance(source, str):
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise WorkbenchError(
            f"nnsight could not read '{source}' ({said}); give a Hugging Face id that NDIF serves."
        ) from error


def look(wrapped: Any, layout: Layout, remote: bool | str) -> Far:
    """One trace of the nnsight model `wrapped` over the survey's tokens; every edit is refused in what comes back.

    Small vectors of the routers (correction biases) are put into the skeleton, so that the routing rule can be fitted.
    """
    if any(block.adapter is not None for block in layout.blocks.values()):
        raise WorkbenchError(
            f"{wrapped.repo_id} routes outside of transformers' experts interface, and what stands in for it runs in hooks of "
            f"ours; load it here."
        )
    hf, ids = wrapped._module, probe_ids(wrapped._module)
    answered, held = _trace(wrapped, layout, ids, remote)
    put(hf, held["vectors"])
    seen = {layer: seen_of(found) for layer, found in answered.items()}
    found = described(hf, layout, seen, ids)
    layers = tuple(
        x if not x.is_moe else x.__class__(**{**vars(x), "refused": {**x.refused, **dict.fromkeys(_EDITS, WHY_NOT)}})
        for x in found.layers
    )
    dtype = getattr(torch, str(held["dtype"]).removeprefix("torch."))
    return Far(found._replace(layers=layers), dtype, held["values"])


def _trace(wrapped: Any, layout: Layout, ids: Tensor, remote: bool | str) -> tuple[dict[int, Any], dict[str, Any]]:
    from nnsight import save

    names = {module: f"{wrapped.path}.{name}" for name, module in wrapped._module.named_modules()}
    places = {n: _place(layout, block, names) for n, block in layout.blocks.items()}
    modules = sorted({path for place in places.values() for path in paths(place)})
    vectors, most = vectors_of(wrapped._module, layout), _SMALL
    options: dict[str, Any] = {"use_cache": False, "remote": remote}
    with plainly(remote), shipped(in_trace), torch.no_grad(), wrapped.trace(input_ids=ids, **options) as tracer:
        seen = tracer.cache(modules=modules, device=None, include_inputs=True)
        wrapped.output  # noqa: B018 - the forward's end: by now the cache is full
        entries = seen._cache.entries
        answered = save({n: survey_numbers(place, entries) for n, place in places.items()})
        held = save(held_numbers(wrapped._module, vectors, most))
        entries.clear()
    return answered, held


def _place(layout: Layout, block: MoEBlock, names: dict[nn.Module, str]) -> dict[str, Any]:
    decoder = layout.layers[block.layer]
    return {
        "router": names[block.router],
        "experts": names[block.experts],
        "block": names[block.block],
        "decoder": names[decoder],
        "shared": [names[x] for x in block.shared],
        "gate": None if block.shared_gate is None else names[block.shared_gate],
        "beside": {name: names[x] for name, x in decoder.named_children() if x is not block.block},
    }


def paths(place: dict[str, Any]) -> list[str]:
    alone = [place[kind] for kind in ("router", "experts", "block", "decoder", "gate") if place[kind] is not None]
    return [*alone, *place["shared"], *place["beside"].values()]


def vectors_of(hf: Any, layout: Layout) -> list[str]:
    """Names of the small vectors in routers and blocks."""
    inside = {m for block in layout.blocks.values() for m in (*block.router.modules(), block.block)}
    return [
        f"{path}.{name}"
        for path, module in hf.named_modules()
        if module in inside
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        if tensor.is_floating_point() and tensor.numel() <= _SMALL and tensor.ndim == 1
    ]


def put(hf: Any, vectors: dict[str, Tensor]) -> None:
    for name, values in vectors.items():
        path, _, attribute = name.rpartition(".")
        module = hf.get_submodule(path)
        if attribute in module._parameters:
            module._parameters[attribute] = nn.Parameter(values, requires_grad=False)
        else:
            module._buffers[attribute] = values


def seen_of(found: dict[str, Any]) -> Seen:
    last = {kind: found[kind][-1] if found[kind] else None for kind in ("experts", "block", "decoder", "gate")}
    return Seen(
        router=found["router"],
        received=found["received"],
        routed=last["experts"],
        block=last["block"],
        layer=last["decoder"],
        shared=found["shared"],
        gate=last["gate"],
        entering=found["beside"],
        block_input=found["given"],
    )
