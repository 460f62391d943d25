"""Where a transformers model keeps its routers and experts: found through its own declarations, without naming families.

The router's class is the one the model declares in `_can_record_outputs["router_logits"]`. Beside each router, in the same
block, lie the experts (fused 3-D weights of `n_experts` rows) and, in some families, shared experts and their gate. What
keeps to another plan comes through an adapter (`workbench.model.adapters`).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from workbench.errors import WorkbenchError
from workbench.model.adapters import ADAPTERS, REFUSED, WITHIN, AdaptedExperts, AdaptedRouter, MoEAdapter


class MoEBlock(NamedTuple):
    """The modules of one MoE layer, with their names in the model.

    With an adapter, router and experts are its stand-ins, which run only while something is recorded or steered.
    """

    layer: int
    block: nn.Module
    router: nn.Module
    experts: nn.Module
    shared: tuple[nn.Module, ...]
    shared_gate: nn.Module | None
    router_name: str
    experts_name: str
    shared_names: tuple[str, ...]
    adapter: MoEAdapter | None = None


class Layout(NamedTuple):
    """Decoder layers in order (none when an adapter numbers something else), and the MoE blocks by layer."""

    base: nn.Module
    layers: tuple[nn.Module, ...]
    blocks: dict[int, MoEBlock]

    @property
    def n_layers(self) -> int:
        """How many layers there are to number."""
        return max(len(self.layers), 1 + max(self.blocks))


def find_layout(hf: Any, adapter: MoEAdapter | None = None) -> Layout:
    """The model's decoder layers and MoE blocks. Raises `WorkbenchError` for a dense model or an unknown MoE interface."""
    for name, module in hf.named_modules():
        kind = type(module).__name__
        if adapter is None and kind in REFUSED:
            raise WorkbenchError(
                f"{type(hf).__name__} ('{name}') is not supported: {REFUSED[kind]}. Its own output_router_logits still works; "
                f"`workbench models` lists what is supported."
            )
        adapter = adapter or ADAPTERS.get(kind)
    if adapter is not None:
        return _adapted_layout(hf, adapter)
    if getattr(hf.config, "is_encoder_decoder", False):
        raise WorkbenchError(
            f"{type(hf).__name__} is an encoder-decoder, and stores, roles and generation here are those of decoder-only models; "
            f"its own output_router_logits still works."
        )
    return _declared_layout(hf)


def _declared_layout(hf: Any) -> Layout:
    name = type(hf).__name__
    router_classes = _recorded_classes(hf, "router_logits")
    found = [n for n, m in hf.named_modules() if router_classes and isinstance(m, router_classes)]
    routers = [(n, hf.get_submodule(n)) for n in map(wrapping, found)]
    if not routers:
        raise WorkbenchError(
            f"{name} has no router that transformers declares, so there are no experts to look at: it is a dense model, or an "
            f"MoE family outside the experts interface; `workbench models` lists what is supported, and load(..., adapter=) "
            f"takes any module (see workbench/model/adapters.py)."
        )
    layers_name, layers = decoder_layers(hf, routers[0][0])
    pattern = re.compile(re.escape(layers_name) + r"\.(\d+)\.")
    blocks: dict[int, MoEBlock] = {}
    for router_name, router in routers:
        match = pattern.match(router_name)
        if match is None or int(match[1]) in blocks:
            raise WorkbenchError(
                f"{name} has a router at '{router_name}', outside the one-router-per-layer plan we know."
            )
        blocks[int(match[1])] = block_of(hf, int(match[1]), router_name, router, match[0].rstrip("."))
    for router_name, router in _undeclared(hf, pattern, blocks):
        layer = int(pattern.match(router_name)[1])  # pyright: ignore[reportOptionalSubscript]
        blocks[layer] = block_of(hf, layer, router_name, router, f"{layers_name}.{layer}")
    blocks = dict(sorted(blocks.items()))
    base = hf.get_submodule(layers_name.rpartition(".")[0]) if "." in layers_name else hf
    return Layout(base, layers, blocks)


def wrapping(name: str) -> str:
    """The module that is called: an adapter layer around it (PEFT) holds the module itself as `base_layer`."""
    while name.endswith(".base_layer"):
        name = name.removesuffix(".base_layer")
    return name


def _undeclared(hf: Any, pattern: re.Pattern[str], blocks: dict[int, MoEBlock]) -> list[tuple[str, nn.Module]]:
    """Routers of layers with the same experts that the model does not declare (hash routers): else they would pass for dense."""
    kinds = tuple({type(block.experts) for block in blocks.values()})
    found: list[tuple[str, nn.Module]] = []
    for name, experts in hf.named_modules():
        match = pattern.match(name)
        if match is None or int(match[1]) in blocks or not isinstance(experts, kinds):
            continue
        parent = name.rpartition(".")[0]
        beside = [(n, m) for n, m in hf.get_submodule(parent).named_children() if m is not experts]
        rows = rows_of(experts)
        routers = [
            (n, m) for n, m in beside if any(p.ndim == 2 and p.shape[0] == rows for p in m.parameters(recurse=False))
        ]
        if len(routers) != 1:
            raise WorkbenchError(
                f"Layer {match[1]} of {type(hf).__name__} has experts ('{name}') and {len(routers)} modules that could be their "
                f"router, and the model declares none; name it through an adapter (workbench/model/adapters.py)."
            )
        found.append((f"{parent}.{routers[0][0]}", routers[0][1]))
    return found


def _recorded_classes(hf: Any, what: str) -> tuple[type, ...]:
    """Classes that the model (or a part of it) declares for `what`; entries are recorders, classes, or lists of either."""
    found: list[type] = []
    for module in hf.modules():
        declared = getattr(module, "_can_record_outputs", None) or {}
        entries = declared.get(what, ())
        for entry in entries if isinstance(entries, list | tuple) else (entries,):
            target = getattr(entry, "target_class", entry)
            if isinstance(target, type) and target not in found:
                found.append(target)
    return tuple(found)


def decoder_layers(hf: Any, router_name: str) -> tuple[str, tuple[nn.Module, ...]]:
    match = re.match(r"(.*?)\.\d+\.", router_name)
    if match is None:
        raise WorkbenchError(f"The router '{router_name}' of {type(hf).__name__} lies in no list of layers.")
    return match[1], tuple(hf.get_submodule(match[1]))


def block_of(hf: Any, layer: int, router_name: str, router: nn.Module, decoder_name: str) -> MoEBlock:
    block_name, router_name, experts_name = places(hf, layer, router_name, router)
    block = hf.get_submodule(block_name)
    inner = {name.removeprefix(f"{block_name}.").split(".")[0] for name in (router_name, experts_name)}
    others = [(n, m) for n, m in block.named_children() if n not in inner and _has_weights(m)]
    gates = [m for _, m in others if isinstance(m, nn.Linear) and m.out_features == 1]
    # where router and experts hang in the decoder layer itself, what lies beside them is attention and norms
    shared = [] if block_name == decoder_name else [(n, m) for n, m in others if is_expert(m)]
    return MoEBlock(
        layer,
        block,
        hf.get_submodule(router_name),
        hf.get_submodule(experts_name),
        tuple(m for _, m in shared),
        gates[0] if gates else None,
        router_name,
        experts_name,
        tuple(f"{block_name}.{n}" for n, _ in shared),
    )


def places(hf: Any, layer: int, name: str, module: nn.Module) -> tuple[str, str, str]:
    """Names of the block, its router and its experts, from the router that the model declares."""
    within = WITHIN.get(type(module).__name__)
    if within is not None:
        return name, f"{name}.{within[0]}", f"{name}.{within[1]}"
    block_name = name.rpartition(".")[0]
    beside = [(n, m) for n, m in hf.get_submodule(block_name).named_children() if m is not module]
    found = max(((rows_of(m), n) for n, m in beside), default=(0, ""))
    if not found[0]:
        raise WorkbenchError(
            f"Layer {layer} of {type(hf).__name__} has no module of fused expert weights beside its router '{name}'; "
            f"`workbench models` lists what is supported, and load(..., adapter=) takes any module."
        )
    return block_name, name, f"{block_name}.{found[1]}"


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def fused_weights(module: nn.Module) -> list[nn.Parameter]:
    """Weights with one matrix per expert; of what an adapter layer wraps (`base_layer`, as PEFT has it) as well."""
    inner = getattr(module, "base_layer", None)
    own = [p for p in module.parameters(recurse=False) if p.ndim == 3]
    return own or (fused_weights(inner) if isinstance(inner, nn.Module) else [])


def rows_of(module: nn.Module) -> int:
    """How many experts a module of fused weights holds; 0 for any other module."""
    return max((p.shape[0] for p in fused_weights(module)), default=0)


def is_expert(module: nn.Module) -> bool:
    """A shared expert has two weight matrices or more (norms have none, projections one) and no experts within it."""
    matrices = sum(p.ndim >= 2 for p in module.parameters())
    return matrices >= 2 and not any(rows_of(m) for m in module.modules() if m is not module)


# ---- through an adapter


def _adapted_layout(hf: Any, adapter: MoEAdapter) -> Layout:
    found: Mapping[int, nn.Module] = adapter.blocks(hf)
    if not found:
        raise WorkbenchError(f"The adapter {type(adapter).__name__} found no block in {type(hf).__name__}.")
    names = {module: name for name, module in hf.named_modules()}
    blocks = {n: _adapted_block(n, module, names.get(module, ""), adapter) for n, module in sorted(found.items())}
    base, layers = _adapted_layers(hf, {n: names.get(m, "") for n, m in found.items()})
    return Layout(base, layers, blocks)


def _adapted_block(layer: int, module: nn.Module, name: str, adapter: MoEAdapter) -> MoEBlock:
    shared: tuple[str, ...] = getattr(adapter, "shared", lambda _: ())(module)
    router, experts = AdaptedRouter(adapter, module), AdaptedExperts(adapter, module)
    parts = tuple(module.get_submodule(s) for s in shared)
    labels = tuple(f"{name}.{s}" for s in shared)
    return MoEBlock(
        layer, module, router, experts, parts, None, f"{name} (router)", f"{name} (experts)", labels, adapter
    )


def _adapted_layers(hf: Any, names: dict[int, str]) -> tuple[nn.Module, tuple[nn.Module, ...]]:
    """The list of modules whose positions are the adapter's numbers, and what holds it; no layers where there is none."""
    for n, name in names.items():
        match = re.match(rf"(.*?)\.{n}(?:\.|$)", name)
        if match is None:
            return hf, ()
        layers = tuple(hf.get_submodule(match[1]).children())
        if all(f"{names[i]}.".startswith(f"{match[1]}.{i}.") for i in names):
            return (hf.get_submodule(match[1].rpartition(".")[0]) if "." in match[1] else hf), layers
    return hf, ()
