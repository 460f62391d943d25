"""How far a plan moves next-token distributions and perplexity, by hand."""

import math
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from workbench import Plan
from workbench.comparison import distributions as divergence
from workbench.comparison.comparison import _perplexity
from workbench.progress import Meter


class Says:
    """Logits of each token id by a table, moved by a plan; what is padding, and its positions, it must be told."""

    def __init__(self) -> None:
        self.steered, self.asked = False, list[Any]()

    def row(self, token: int, steered: bool) -> list[float]:
        return [0.1 * token, 1.0 if steered and token % 2 else 0.0, -0.3 * token, 0.2]

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, use_cache: bool, logits_to_keep: int
    ) -> Any:
        self.asked.append((attention_mask.tolist(), position_ids.tolist(), use_cache))
        rows = [[self.row(int(t), self.steered) for t in ids] for ids in input_ids[:, -logits_to_keep:]]
        return SimpleNamespace(logits=torch.tensor(rows))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    hf = Says()

    @contextmanager
    def steered(model: Any, plan: Plan, dose: Any = None) -> Any:
        hf.steered = bool(plan)
        yield
        hf.steered = False

    monkeypatch.setattr(divergence, "steered", steered)
    return SimpleNamespace(hf=hf, tokenizer=SimpleNamespace(pad_token_id=0), device="cpu")


def softmax(row: list[float]) -> list[float]:
    e = [math.exp(x) for x in row]
    return [x / sum(e) for x in e]


def test_how_far_a_plan_moves(model: Any) -> None:
    """Prompts 1 2 3, 2 1 and 1; answers 2 1, none and 1 2 1. KL and NLL by plain Python, position by position."""
    prompts, answers = [[1, 2, 3], [2, 1], [1]], [[2, 1], [], [1, 2, 1]]
    meter = Meter(100, None)
    bare, moved = divergence.divergence(model, prompts, answers, [Plan(), Plan.off("L1E0")], 1000, meter)
    assert bare.kl_first_nats == [0, 0, 0]
    assert meter.done == 2 * (5 + 2 + 4)
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        kl, nll = [], []
        for at in range(len(answer) + 1):
            token = [*prompt, *answer][len(prompt) - 1 + at]
            p, q = (softmax(model.hf.row(token, steered)) for steered in (False, True))
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
    mask, positions, cached = model.hf.asked[0]
    assert (mask, cached) == ([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1]], False)  # the longest first
    assert positions == [[0, 1, 2, 3, 4], [0, 0, 1, 2, 3], [0, 0, 0, 0, 1]]


def test_perplexity_of_given_text(model: Any) -> None:
    given: Any = [((1,), (2, 1)), ((2, 1), (1,))]
    found = _perplexity(model, given, Plan.off("L1E0"), 1000, Meter(0, None))
    for name, steered in (("base", False), ("steered", True)):
        nll = [-math.log(softmax(model.hf.row(b, steered))[t]) for b, t in ((1, 2), (2, 1), (1, 1))]
        assert found[name] == pytest.approx(math.exp(sum(nll) / 3), abs=1e-5)
    assert found["n_tokens"] == 3
    assert _perplexity(model, [], Plan(), 1000, Meter(0, None)) == {}
