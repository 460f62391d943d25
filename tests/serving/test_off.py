"""An expert that is off receives nothing, also where a correction bias and groups would bring it back; soft masks leak."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.serving.support.models import engine, native, served
from workbench import Plan
from workbench.backends import Batch, Keep, compiled_for
from workbench.routing import Routing
from workbench.serving.layer import Layer

CORRECTED = ("deepseek_v3", "glm4_moe")


def plan_of(name: str) -> Plan:
    """In each layer the two experts whose correction bias is largest are off."""
    model, chosen = native(name), list[tuple[int, int]]()
    for layer in model.anatomy.moe_layers:
        bias = model.runtime.correction(layer)
        assert bias is not None
        assert model.anatomy.layer(layer).rule.n_group > 1  # type: ignore[union-attr]
        chosen += [(layer, int(expert)) for expert in bias.topk(2).indices]
    return Plan.off(chosen)


def received(name: str, plan: Plan) -> dict[int, np.ndarray]:
    """By layer, how many tokens each expert got of 400."""
    model, rng = served(name), np.random.default_rng(0)
    rows = rng.integers(10, model.facts.n_embeddings, (8, 50)).tolist()
    portions = engine(name).run(Batch(rows), compiled_for(model, plan), keep=Keep())
    records, counted = [p.record for p in portions if p.record is not None], dict[int, np.ndarray]()
    for layer in model.anatomy.moe_layers:
        index = torch.cat([record.layers[layer].index for record in records])
        assert len(index) == 400
        counted[layer] = torch.bincount(index.flatten(), minlength=model.anatomy.layer(layer).n_experts).numpy()
    return counted


def leaked(name: str, plan: Plan) -> int:
    found = received(name, plan)
    return sum(int(found[e.layer][e.expert]) for e in plan.experts)


@pytest.mark.parametrize("name", CORRECTED)
def test_off_leaks_no_slot(name: str) -> None:
    plan = plan_of(name)
    bare = received(name, Plan())
    assert sum(int(bare[e.layer][e.expert]) for e in plan.experts) > 400, "they had nothing to lose"
    assert leaked(name, plan) == 0


@pytest.mark.parametrize("name", CORRECTED)
def test_masking_the_logits_softly_leaks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an engine does that only has the router's logits: their log-softmax, minus a lot where an expert is off."""

    def soft(self: Layer, logits: Tensor, own: Routing, rows: Tensor) -> Routing:
        off = self.tables.of("off", rows)
        logits = logits.log_softmax(-1) if off is None else logits.log_softmax(-1) - 1e4 * off
        return Routing(*self.own(logits, logits, None))

    monkeypatch.setattr(Layer, "rerouted", soft)
    assert leaked(name, plan_of(name)) > 0
