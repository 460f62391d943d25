"""A layer in the engine gives each token what the native hooks give it under the plan of its row, for every routing rule."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import families
from workbench import Plan
from workbench.anatomy import ExpertRef
from workbench.backends import Batch, Keep, backend_of, compiled_for
from workbench.model import MoEModel
from workbench.routing import Router
from workbench.serving.layer import Layer, StepTensors
from workbench.serving.tables import LayerTables, Vectors

NAMES = ("mixtral", "olmoe", "deepseek_v3", "deepseek_v2", "demo")
KINDS = {
    "off": Plan.off,
    "force": Plan.force,
    "drop": Plan.drop,
    "mute": Plan.mute,
    "scale": lambda refs: Plan.scale(refs, 3.0),
    "bias": lambda refs: Plan.bias(refs, 2.0),
}


def routed(model: MoEModel, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
    """Of the first layer that routes: logits, experts and weights of 60 tokens."""
    rng = np.random.default_rng(3)
    rows = rng.integers(10, model.facts.n_embeddings, (3, 20)).tolist()
    (found,) = backend_of(model).run(Batch(rows), compiled_for(model, plan), keep=Keep(frozenset({"logits"})))
    assert found.record is not None
    record = found.record.layers[model.anatomy.moe_layers[0]]
    assert record.logits is not None
    return record.logits, record.index, record.weight


def layer_of(model: MoEModel, plans: list[Plan], row: Tensor) -> Layer:
    """The layer with a plan in each row of its tables; its router answers as the native one does without a plan."""
    number = model.anatomy.moe_layers[0]
    there, (_, index, weights) = model.anatomy.layer(number), routed(model, Plan())
    assert there.rule is not None
    tables = LayerTables(len(plans) + 1, there.n_experts, Vectors(4, 8, torch.device("cpu")), torch.device("cpu"))
    for n, plan in enumerate(plans):
        tables.write(n + 1, plan.edits)
    step = StepTensors(row, torch.zeros_like(row), torch.zeros_like(row))
    router = Router(there.rule, model.runtime.correction(number), model.runtime.expert_scale(number))

    def own(hidden: Tensor, logits: Tensor, kind: object, *, input_ids: object = None) -> tuple[Tensor, Tensor]:
        return weights, index.int()

    return Layer(number, there.n_experts, there.top_k, own, tables, step, router=router)


@pytest.mark.parametrize("kinds", [tuple(KINDS), ("off", "force", "bias")], ids=["every", "routing alone"])
@pytest.mark.parametrize("name", NAMES)
def test_every_edit_beside_every_other(name: str, kinds: tuple[str, ...]) -> None:
    model = families.get(name)
    logits, bare, own = routed(model, Plan())
    refs = [ExpertRef(model.anatomy.moe_layers[0], int(e)) for e in torch.bincount(bare.flatten()).topk(2).indices]
    plans = [KINDS[kind](refs[:1]) for kind in kinds] + [Plan.off(refs[:1]) | Plan.force(refs[1:])]
    row = torch.arange(60) % (len(plans) + 1)
    layer = layer_of(model, plans, row)
    given, index = layer.choose(logits, logits, None)
    assert layer.kept is not None
    for n, plan in enumerate([Plan(), *plans]):
        mine = row == n
        _, there, weights = routed(model, plan)
        assert (index[mine].sort(-1).values == there[mine].sort(-1).values).all(), str(plan)
        order, other = index[mine].long().argsort(-1), there[mine].argsort(-1)
        kept = layer.kept.weight[mine].gather(-1, order)
        assert (kept - weights[mine].gather(-1, other)).abs().max() < 1e-6, str(plan)
        if "mute" in str(plan):
            assert (given[mine][index[mine] == refs[0].expert] == 0).all()
    plain = row == 0
    assert torch.equal(index[plain].long(), bare[plain])
    assert torch.equal(given[plain], own[plain])  # bit for bit
    assert not layer.step.changed[plain].any()
    assert layer.step.changed[~plain].any()


def test_replaced_outputs_weigh_nothing_and_their_vector_is_added() -> None:
    model = families.get("mixtral")
    logits, index, weights = routed(model, Plan())
    expert = int(torch.bincount(index.flatten()).argmax())
    vector = tuple(float(n) for n in range(8))
    row = torch.arange(60) % 2
    layer = layer_of(model, [Plan.replace([(model.anatomy.moe_layers[0], expert)], vector)], row)
    given, found = layer.choose(logits, logits, None)
    summed = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    added = layer.add(summed) - summed
    hit = (found == expert) & (row == 1)[:, None]
    assert hit.any()
    assert (given[hit] == 0).all()
    assert torch.equal(given[~hit], weights[~hit])
    share = (weights * hit).sum(-1, keepdim=True)
    assert (added - share * torch.tensor([vector])).abs().max() < 1e-5
    assert torch.equal(layer.add(summed), summed)  # once for each forward
