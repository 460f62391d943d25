"""Steered generation with one edit in every layer, over the bare model's."""

from collections.abc import Callable, Iterator

import torch

from tests.benchmarks.models import token_ids
from tests.benchmarks.timing import Ratio, ratio
from workbench import Plan, steered
from workbench.model import MoEModel
from workbench.plan import KINDS

LIMIT = 1.05


def one_per_layer(model: MoEModel, kind: str) -> Plan:
    """The same kind of edit on one expert of every MoE layer."""
    refs = [(layer, layer % model.anatomy.layer(layer).n_experts) for layer in model.anatomy.moe_layers]
    value = {"scale": (4.0,), "bias": (1.0,), "replace": ([0.1] * model.anatomy.hidden_size,)}.get(kind, ())
    return getattr(Plan, kind)(refs, *value)


def generation(model: MoEModel, batch: int, new_tokens: int) -> Callable[[], object]:
    """Greedy generation of exactly `new_tokens` after 32 prompt tokens."""
    ids = token_ids(model, batch, 32)
    mask = torch.ones_like(ids)

    def work() -> object:
        with torch.no_grad():
            return model.hf.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
            )

    return work


def steering_ratios(
    model: MoEModel, name: str, batch: int = 8, new_tokens: int = 24, pairs: int = 15
) -> Iterator[Ratio]:
    """One row per kind of edit."""
    bare = generation(model, batch, new_tokens)
    for kind in KINDS:
        plan = one_per_layer(model, kind)

        def work(plan: Plan = plan) -> object:
            with steered(model, plan):
                return bare()

        name_of = f"{name}: generate, {kind} in every layer"
        yield ratio(name_of, work, "bare generate", bare, pairs=pairs, limit=LIMIT)
