"""The private names of vLLM that plans depend on, with their parameters: where one is otherwise, plans are refused."""

from importlib import import_module
from inspect import signature
from typing import Any

PLACES = {
    "vllm.v1.engine.input_processor:InputProcessor.process_inputs": ("self", "request_id", "prompt", "params"),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.execute_model": ("self", "scheduler_output"),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner._prepare_inputs": (
        "self",
        "scheduler_output",
        "num_scheduled_tokens",
    ),
    "vllm.v1.worker.gpu_worker:Worker.load_model": ("self",),
    "vllm.model_executor.layers.fused_moe.router.base_router:BaseRouter._compute_routing": (
        *("self", "hidden_states", "router_logits", "indices_type", "input_ids"),
    ),
    "vllm.model_executor.layers.fused_moe.routed_experts:RoutedExperts.forward_modular": (
        *("self", "x", "topk_weights", "topk_ids"),
    ),
    "vllm.model_executor.layers.fused_moe.runner.moe_runner:MoERunner._apply_quant_method": (
        *("self", "hidden_states", "router_logits"),
    ),
}
"""By module:Class.method the first parameters that it has to have."""


def found(place: str) -> Any:
    """The function at such a place. Raises `AttributeError` or `ImportError` where there is none."""
    module, _, path = place.partition(":")
    place_ = import_module(module)
    for name in path.split("."):
        place_ = getattr(place_, name)
    return place_


def mismatch() -> str | None:
    """Half a sentence about the first place that is not as it was in the version that this was written for; None: all are."""
    for place, wanted in PLACES.items():
        try:
            there = tuple(signature(found(place)).parameters)[: len(wanted)]
        except (AttributeError, ImportError):
            return f"this vLLM has no {place}"
        if there != wanted:
            return f"{place} of this vLLM takes ({', '.join(there)}), not ({', '.join(wanted)})"
    return None
