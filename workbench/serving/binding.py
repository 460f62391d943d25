"""Finds the MoE layers of a model in the engine and puts `Layer` in between each router and its experts.

What cannot be bound is said by layer, and then no plan is served. Numbers are those of the decoder layers.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from workbench.serving.layer import Layer, StepTensors
from workbench.serving.tables import LayerTables, Vectors

_NUMBER = re.compile(r"\.?layers\.(\d+)\.")


class Binding(NamedTuple):
    """The layers by their numbers, and why the model's plans are refused, empty where they are not."""

    layers: dict[int, Layer]
    reasons: tuple[str, ...]


def bind(model: nn.Module, n_rows: int, vectors: Callable[[int], Vectors], step: StepTensors) -> Binding:
    """Binds every MoE layer of the model (not those of a draft model, which is another one)."""
    layers, reasons = dict[int, Layer](), list[str]()
    for name, module in model.named_modules():
        if not hasattr(module, "_apply_quant_method") or not hasattr(module, "router"):
            continue
        number = _NUMBER.search(f"{name}.")
        found = _refused(module) if number is not None else "it has no layer number"
        if number is None or found or int(number[1]) in layers:
            reasons.append(f"the layer {name} cannot be steered ({found or 'its number occurs twice'})")
            continue
        layers[int(number[1])] = _bound(int(number[1]), module, n_rows, vectors, step)
    return Binding(dict(sorted(layers.items())), tuple(reasons if layers else ["it has no MoE layer that can be seen"]))


def _refused(runner: Any) -> str | None:
    """Why a layer's routing cannot be changed; None: it can."""
    config, router, experts = runner.moe_config, runner.router, runner.routed_experts
    kinds = {
        "its kernel routes by itself": experts.quant_method.is_monolithic,
        "tokens of several ranks are routed together": runner.do_naive_dispatch_combine or config.pcp_size > 1,
        "its router has experts that are no experts": type(router).__name__ == "ZeroExpertRouter",
        "it routes by token ids": getattr(router, "_hash_indices_table", None) is not None,
        "its weights are applied to the inputs": getattr(experts, "apply_router_weight_on_input", False),
        "shared experts ride in its slots": runner.router.global_num_experts != config.num_logical_experts,
        "its router is of no known kind": not hasattr(router, "_compute_routing"),
    }
    return next((why for why, holds in kinds.items() if holds), None)


def _bound(number: int, runner: Any, n_rows: int, vectors: Callable[[int], Vectors], step: StepTensors) -> Layer:
    router, experts = runner.router, runner.routed_experts
    n_experts, device = router.global_num_experts, step.row.device
    tables = LayerTables(n_rows, n_experts, vectors(runner.moe_config.hidden_dim), device)
    layer = Layer(number, n_experts, router.top_k, router._compute_routing, tables, step, _scaling(runner))
    router._compute_routing = layer.choose
    routed = experts.forward_modular
    experts.forward_modular = lambda *args, **kwargs: layer.add(routed(*args, **kwargs))
    return layer


def _scaling(runner: Any) -> float:
    return float(getattr(runner, "routed_scaling_factor", 1.0) or 1.0)
