"""granitemoe as transformers 5.19 has it: its router answers expert numbers first and logits last."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.granitemoe import modeling_granitemoe as granite

from tests.support import families
from workbench import Plan, steered
from workbench.hooks import recording
from workbench.model import MoEModel

PLANS = (Plan.off("L0E1, L1E2"), Plan.force("L0E3"), Plan.bias("L1E0", 2.0), Plan.scale("L0E2", 0.5))


def _block(self: Any, layer_input: Tensor) -> Tensor:
    rows = layer_input.reshape(-1, layer_input.shape[-1])
    index, weights, _ = self.router(rows)
    return self.experts(rows, index, weights).view(layer_input.shape)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> MoEModel:
    """The same weights in classes whose router answers the other way round."""
    own = granite.GraniteMoeTopKRouter.forward
    monkeypatch.setattr(granite.GraniteMoeTopKRouter, "forward", lambda self, x: own(self, x)[::-1])
    monkeypatch.setattr(granite.GraniteMoeMoE, "forward", _block)
    return families.build("granitemoe")


@torch.no_grad()
def _said(model: MoEModel, plan: Plan | None) -> tuple[Tensor, list[Tensor]]:
    ids = families.ids(model)
    with recording(model, {"logits"}) as recorder:
        if plan is None:
            logits = model.hf(ids, use_cache=False).logits
        else:
            with steered(model, plan):
                logits = model.hf(ids, use_cache=False).logits
        layers = recorder.take().layers.values()
    return logits, [x for layer in layers for x in (layer.index, layer.weight, layer.logits) if x is not None]


@pytest.mark.parametrize("plan", [None, *PLANS], ids=str)
def test_it_is_recorded_and_steered_as_the_present_one(
    plan: Plan | None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    wanted = _said(families.build("granitemoe"), plan)
    found = _said(request.getfixturevalue("older"), plan)
    assert torch.equal(found[0], wanted[0])
    assert all(torch.equal(a, b) for a, b in zip(found[1], wanted[1], strict=True))
    assert plan is None or not torch.equal(found[0], _said(families.build("granitemoe"), None)[0])
