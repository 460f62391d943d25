"""How far a plan moves next-token distributions and perplexity, by hand."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.stores import anatomy
from workbench import Plan, PromptSet, load
from workbench.backends import Batch, Capabilities
from workbench.comparison import divergence
from workbench.comparison.comparison import Asked
from workbench.comparison.distributions import GivenText
from workbench.model import Told
from workbench.progress import Meter
from workbench.routing import CompiledPlan


class Says:
    """An engine that scores: the logits of each token id by a table, moved by a plan."""

    can, facts = Capabilities("says"), Told(anatomy(), SimpleNamespace(pad_token_id=0))

    def row(self, token: int, steered: bool) -> list[float]:
        return [0.1 * token, 1.0 if steered and token % 2 else 0.0, -0.3 * token, 0.2]

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        longest = max(batch.read) + 1
        rows = [([0] * longest + list(row))[-longest:] for row in batch.rows]
        return torch.tensor([[self.row(t, bool(plan.plan)) for t in row] for row in rows]).log_softmax(-1)

    def run(self, *_: Any) -> Any:
        raise AssertionError("asked to run")


@pytest.fixture
def model() -> Any:
    return load("says", engine=Says())


row = Says().row


def softmax(row: list[float]) -> list[float]:
    e = [math.exp(x) for x in row]
    return [x / sum(e) for x in e]


def test_how_far_a_plan_moves(model: Any) -> None:
    """Prompts 1 2 3, 2 1 and 1; answers 2 1, none and 1 2 1. KL and NLL by plain Python, position by position."""
    prompts, answers = [[1, 2, 3], [2, 1], [1]], [[2, 1], [], [1, 2, 1]]
    meter = Meter(100, None)
    bare, moved = divergence(model, prompts, answers, [Plan(), Plan.off("L1E0")], 1000, meter)
    assert bare.kl_first_nats == [0, 0, 0]
    assert meter.done == 2 * (5 + 2 + 4)
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        kl, nll = [], []
        for at in range(len(answer) + 1):
            token = [*prompt, *answer][len(prompt) - 1 + at]
            p, q = (softmax(row(token, steered)) for steered in (False, True))
            kl.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            if at < len(answer):
                nll.append(-math.log(q[answer[at]]))
        assert moved.kl_first_nats[i] == pytest.approx(kl[0], abs=1e-6)
        assert moved.n_tokens[i] == len(answer)
        if answer:
            assert moved.kl_nats[i] == pytest.approx(sum(kl[:-1]) / len(answer), abs=1e-6)
            assert moved.nll_nats[i] == pytest.approx(sum(nll) / len(answer), abs=1e-6)
        else:
            assert math.isnan(moved.kl_nats[i])
            assert math.isnan(moved.nll_nats[i])


def test_perplexity_of_given_text(model: Any) -> None:
    given = [GivenText("a", (1,), (2, 1)), GivenText("b", (2, 1), (1,))]
    asked = Asked(model, PromptSet(()), [], [], 1, 1000, Meter(0, None))
    found = asked.perplexity(given, Plan.off("L1E0"))
    for name, steered in (("base", False), ("steered", True)):
        nll = [-math.log(softmax(row(b, steered))[t]) for b, t in ((1, 2), (2, 1), (1, 1))]
        assert found[name] == pytest.approx(math.exp(sum(nll) / 3), abs=1e-5)
    assert found["n_tokens"] == 3
    assert asked.perplexity([], Plan()) == {}
