"""nnsight and TransformerLens doing the same recording in memory (they have no store), over the bare forward.

Both change the model they wrap, so each gets a copy.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch

from tests.benchmarks.timing import Ratio, ratio
from workbench.model import MoEModel


def bare_forward(model: MoEModel, ids: torch.Tensor) -> Callable[[], object]:
    """One forward of the transformers model, nothing installed."""

    def work() -> object:
        with torch.no_grad():
            return model.hf(ids, use_cache=False)

    return work


def _nnsight(model: MoEModel) -> Any:
    from nnsight import TransformersModel

    return TransformersModel(copy.deepcopy(model.hf), task="text-generation", tokenizer=model.tokenizer)


def nnsight_routing(model: MoEModel, ids: torch.Tensor) -> Callable[[], object]:
    """Router logits, weights and index of every layer, in one trace."""
    wrapped = _nnsight(model)

    def work() -> object:
        saved = []
        with torch.no_grad(), wrapped.trace(ids):
            for n in model.anatomy.moe_layers:
                saved.append(wrapped.model.layers[n].mlp.gate.output.save())
        return saved

    return work


def nnsight_norms(model: MoEModel, ids: torch.Tensor) -> Callable[[], object]:
    """Beside the routing, L2 and max-abs of every weighted slot output, through the experts backend's own source."""
    wrapped = _nnsight(model)

    def work() -> object:
        saved = []
        with torch.no_grad(), wrapped.trace(ids):
            for n in model.anatomy.moe_layers:
                mlp = wrapped.model.layers[n].mlp
                saved.append(mlp.gate.output.save())
                slots = mlp.experts.source.experts_forward_1.source.weighted_out_1.output
                saved.append(slots.norm(dim=-1).save())
                saved.append(slots.abs().amax(-1).save())
        return saved

    return work


def transformer_lens_routing(model: MoEModel, ids: torch.Tensor) -> Callable[[], object]:
    """Router logits, expert weights and indices of every layer, cached by the bridge."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    hf = copy.deepcopy(model.hf)
    bridge = build_bridge_from_module(hf, type(hf).__name__, hf_config=hf.config, tokenizer=model.tokenizer)
    wanted = ("mlp.gate.hook_out", "mlp.hook_expert_weights", "mlp.hook_expert_indices")

    def work() -> object:
        with torch.no_grad():
            _, cache = bridge.run_with_cache(ids, names_filter=lambda name: name.endswith(wanted))
        assert len(cache) >= len(model.anatomy.moe_layers)
        return cache

    return work


def peer_ratios(model: MoEModel, ids: torch.Tensor, name: str, pairs: int = 11) -> list[Ratio]:
    """Rows for the peers; no limit, they stand beside ours."""
    bare = bare_forward(model, ids)
    work = {
        "nnsight, routing and logits": nnsight_routing,
        "nnsight, routing, L2 and max-abs": nnsight_norms,
        "TransformerLens, routing and logits": transformer_lens_routing,
    }
    return [
        ratio(f"{name}: {what}", make(model, ids), "bare forward", bare, pairs=pairs) for what, make in work.items()
    ]
