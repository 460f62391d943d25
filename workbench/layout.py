"""Where a transformers model keeps its routers and experts: found through its own declarations, without naming families.

The router's class is the one the model declares in `_can_record_outputs["router_logits"]`. Beside each router, in the same
block, lie the experts (fused 3-D weights of `n_experts` rows) and, in some families, shared experts and their gate.
"""

import re
from typing import Any, NamedTuple

from torch import nn

from workbench.errors import WorkbenchError


class MoEBlock(NamedTuple):
    """The modules of one MoE layer, with their names in the model."""

    layer: int
    block: nn.Module
    router: nn.Module
    experts: nn.Module
    shared: tuple[nn.Module, ...]
    shared_gate: nn.Module | None
    router_name: str
    experts_name: str
    shared_names: tuple[str, ...]


class Layout(NamedTuple):
    """Decoder layers in order, and the MoE blocks by layer."""

    base: nn.Module
    layers: tuple[nn.Module, ...]
    blocks: dict[int, MoEBlock]


def find_layout(hf: Any) -> Layout:
    """The model's decoder layers and MoE blocks. Raises `WorkbenchError` for a dense model or an unknown MoE interface."""
    name = type(hf).__name__
    router_classes = _recorded_classes(hf, "router_logits")
    routers = [(n, m) for n, m in hf.named_modules() if router_classes and isinstance(m, router_classes)]
    if not routers:
        raise WorkbenchError(
            f"{name} has no router that transformers declares, so there are no experts to look at: it is a dense model, or an "
            f"MoE family outside the experts interface; `workbench models` lists what is supported."
        )
    layers_name, layers = _decoder_layers(hf, routers[0][0])
    pattern = re.compile(re.escape(layers_name) + r"\.(\d+)\.")
    blocks: dict[int, MoEBlock] = {}
    for router_name, router in routers:
        match = pattern.match(router_name)
        if match is None or int(match[1]) in blocks:
            raise WorkbenchError(
                f"{name} has a router at '{router_name}', outside the one-router-per-layer plan we know."
            )
        blocks[int(match[1])] = _block(hf, int(match[1]), router_name, router)
    base = hf.get_submodule(layers_name.rpartition(".")[0]) if "." in layers_name else hf
    return Layout(base, layers, blocks)


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


def _decoder_layers(hf: Any, router_name: str) -> tuple[str, tuple[nn.Module, ...]]:
    match = re.match(r"(.*?)\.\d+\.", router_name)
    if match is None:
        raise WorkbenchError(f"The router '{router_name}' of {type(hf).__name__} lies in no list of layers.")
    return match[1], tuple(hf.get_submodule(match[1]))


def _block(hf: Any, layer: int, router_name: str, router: nn.Module) -> MoEBlock:
    block_name = router_name.rpartition(".")[0]
    block = hf.get_submodule(block_name)
    others = [(n, m) for n, m in block.named_children() if m is not router and _has_weights(m)]
    experts = [(n, m) for n, m in others if any(p.ndim == 3 for p in m.parameters(recurse=False))]
    if len(experts) != 1:
        raise WorkbenchError(
            f"Layer {layer} of {type(hf).__name__} has {len(experts)} modules of fused expert weights beside its router "
            f"'{router_name}'; we know one. `workbench models` lists what is supported."
        )
    rest = [(n, m) for n, m in others if m is not experts[0][1]]
    gates = [m for _, m in rest if isinstance(m, nn.Linear) and m.out_features == 1]
    shared = [(n, m) for n, m in rest if m not in gates]
    return MoEBlock(
        layer,
        block,
        router,
        experts[0][1],
        tuple(m for _, m in shared),
        gates[0] if gates else None,
        router_name,
        f"{block_name}.{experts[0][0]}",
        tuple(f"{block_name}.{n}" for n, _ in shared),
    )


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
