"""How many parameters a model and one of its routed experts have, counted from its own modules, tied weights once."""

from collections.abc import Iterable
from typing import Any

from workbench.errors import WorkbenchError
from workbench.model import Runtime


def parameters(runtime: Runtime) -> int:
    """Parameters of the whole model; one that two places share counts once."""
    return sum(int(weight.numel()) for weight in runtime.hf.parameters())


def expert_parameters(runtime: Runtime) -> dict[int, int]:
    """Parameters of one routed expert of each MoE layer: what is gone from the model when the expert is.

    An expert's are its rows of the experts module's weights: those whose first axis counts the experts. What all experts of a
    layer share, and what another module holds as well (tied layers, a weight of the router), would not be freed and does not
    count; nor do its row of the router, and shared experts. Quantised weights count as they are stored.

    Raises `WorkbenchError` for a model whose experts an adapter computes: where their weights lie is the adapter's affair.
    """
    if runtime.adapter is not None or any(block.adapter is not None for block in runtime.layout.blocks.values()):
        raise WorkbenchError(
            f"{runtime.anatomy.model} routes through an adapter, which does not say where an expert's weights lie, so parameters "
            f"cannot be counted; count them from the model's own config."
        )
    places = _places(runtime.hf)
    return {
        layer: _of_one(block.experts.parameters(), places, block.experts_name, runtime.anatomy.layer(layer).n_experts)
        for layer, block in runtime.layout.blocks.items()
    }


def _places(hf: Any) -> dict[int, list[str]]:
    """Every name under which each parameter stands in the model."""
    found: dict[int, list[str]] = {}
    for name, weight in hf.named_parameters(remove_duplicate=False):
        found.setdefault(id(weight), []).append(name)
    return found


def _of_one(weights: Iterable[Any], places: dict[int, list[str]], name: str, n_experts: int) -> int:
    own = [weight for weight in weights if weight.ndim and weight.shape[0] == n_experts]
    return sum(
        int(weight.numel()) // n_experts
        for weight in own
        if all(place.startswith(f"{name}.") for place in places[id(weight)])
    )
