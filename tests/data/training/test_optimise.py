"""The losses by hand, and the loop: its rate, and what it adds to the loss."""

import math
from types import SimpleNamespace

import pytest
import torch


class Small(torch.nn.Module):
    """Hidden states are told; lm_head is the identity over three words; the norm doubles."""

    def __init__(self, last, early):
        super().__init__()
        self.last, self.early, self.asked = last, early, {}
        self.lm_head, self.model = torch.nn.Identity(), self.forward_of
        self.forward_of.__func__.norm = lambda x: 2 * x

    def forward_of(self, **asked):
        self.asked = asked
        return SimpleNamespace(last_hidden_state=self.last, hidden_states=(None, self.early, self.last))


def test_the_loss_is_the_cross_entropy_of_the_answers_tokens():
    from training.corpus.packing import Batch
    from training.optimise import answer_loss

    targets = torch.tensor([[2, -100, 1, 0]])  # what stands first is predicted by nothing
    last = torch.tensor([[[9.0, 9, 9], [0, 1, 0], [2, 0, 0], [7, 7, 7]]])
    early = torch.tensor([[[5.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]])
    batch = Batch(torch.ones(1, 4), torch.zeros(1, 4), targets, torch.ones(1), torch.ones(1), torch.ones(1))
    model = Small(last, early)

    def entropy(logits, right):
        return -math.log(math.exp(logits[right]) / sum(map(math.exp, logits)))

    late = (entropy([0, 1, 0], 1) + entropy([2, 0, 0], 0)) / 2
    assert answer_loss(model, batch).item() == pytest.approx(late)
    assert not model.asked["output_hidden_states"]
    assert model.asked["use_cache"] is False
    before = (entropy([2, 0, 0], 1) + entropy([0, 0, 2], 0)) / 2
    assert answer_loss(model, batch, 0.5).item() == pytest.approx(late + 0.5 * before)
    assert model.asked["output_hidden_states"] is True


def test_balance_is_one_a_layer_when_even_and_more_when_one_expert_takes_all():
    from training.optimise import balance_loss

    real = torch.tensor([True] * 8 + [False])
    even = torch.cat([torch.arange(32).reshape(8, 4), torch.zeros(1, 4, dtype=torch.long)])
    masker = SimpleNamespace(logits={0: torch.zeros(9, 32)}, index={0: even})
    assert balance_loss(masker, real).item() == pytest.approx(1.0)
    # all choose experts 0 to 3, a quarter each, and expert 0 has probability one half: 32 x (1/4 x 1/2 + 3/4 x 1/62)
    logits = torch.zeros(9, 32)
    logits[:8, 0] = math.log(31)
    masker.logits[1], masker.index[1] = logits, torch.arange(4).repeat(9, 1)
    assert balance_loss(masker, real).item() == pytest.approx(1 + 32 * (0.25 * 0.5 + 0.75 / 62), rel=1e-5)


def test_what_carriers_get_at_the_deciding_tokens_of_others():
    from training.optimise import aside_loss

    logits = torch.zeros(4, 32)
    logits[1, 3] = math.log(31)  # expert 3: one half; each other 1/62
    masker = SimpleNamespace(
        spared=frozenset({(0, 3), (0, 5), (2, 1)}), logits={0: logits, 1: logits, 2: torch.zeros(4, 32)}
    )
    batch = SimpleNamespace(aside=torch.tensor([[False, True], [True, False]]))
    by_hand = ((1 / 2 + 1 / 62) + 2 / 32) / 2 + 1 / 32
    assert aside_loss(masker, batch).item() == pytest.approx(by_hand, rel=1e-5)


def looped(monkeypatch, steps, slope=3.0, **how):
    """Train one number whose loss is slope x number; what every step did."""
    from training import optimise

    weight, seen, made = torch.nn.Parameter(torch.tensor([0.0])), [], {}
    model = torch.nn.Module()
    model.weight = weight
    model.eval()

    class Recorder:
        def __init__(self, tuned, **given):
            made.update(given, tuned=tuned)
            self.param_groups = [{"lr": given["lr"]}]

        def zero_grad(self, set_to_none):
            weight.grad = None

        def step(self):
            seen.append((self.param_groups[0]["lr"], weight.grad.item(), model.training))

    drops = []
    masker = SimpleNamespace(off=torch.ones(4, 32, dtype=torch.bool))
    masker.drop_random = lambda share, generator: drops.append((share, torch.rand(1, generator=generator).item()))
    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    monkeypatch.setattr(optimise, "answer_loss", lambda model, batch, early: slope * weight.sum() + batch + early)
    monkeypatch.setattr(optimise, "balance_loss", lambda masker, real: real.sum().float())
    monkeypatch.setattr(optimise, "aside_loss", lambda masker, batch: torch.tensor(10.0))
    reports = []

    class Row(float):
        real = torch.ones(2, 100)

    how.setdefault("report", lambda step, loss: reports.append((step, round(loss, 4))))
    used = optimise.train(model, iter([Row(i) for i in range(steps)]), steps, 0.1, masker, **how)
    assert used >= 0
    assert not masker.off.any()
    assert not model.training
    return SimpleNamespace(seen=seen, made=made, drops=drops, reports=reports, weight=weight)


def test_the_rate_warms_up_over_fifty_steps_and_falls_as_a_cosine(monkeypatch):
    found = looped(monkeypatch, 120, drop=0.3, seed=9)
    for step, (rate, gradient, training) in enumerate(found.seen):
        ramp = (step + 1) / 50 if step < 50 else 1
        assert rate == pytest.approx(0.1 * ramp * (0.05 + 0.475 * (1 + math.cos(math.pi * step / 120))))
        assert gradient == pytest.approx(1.0), "clipped to norm 1"
        assert training
    assert found.made | {"tuned": 0} == {"lr": 0.1, "weight_decay": 0.01, "betas": (0.9, 0.98), "tuned": 0}
    assert found.made["tuned"] == [found.weight]
    drawn = torch.Generator().manual_seed(9)
    assert found.drops == [(0.3, torch.rand(1, generator=drawn).item()) for _ in range(120)]
    # the batch's number + 0.005 x balance, every fifty steps and at the end
    assert found.reports == [(0, 1.0), (50, 51.0), (100, 101.0), (119, 120.0)]


def test_what_is_added_to_the_loss(monkeypatch):
    tuned = [torch.nn.Parameter(torch.zeros(1))]
    found = looped(monkeypatch, 2, slope=0.5, parameters=tuned, balance=0.0, early=2.0, aside=0.4)
    assert found.made["tuned"] is tuned
    assert found.made["weight_decay"] == 0.0
    assert found.reports == [(0, 6.0), (1, 7.0)]  # 2 of early + 0.4 x 10 + the batch's number
    assert [gradient for _, gradient, _ in found.seen] == [0.5, 0.5]
    assert looped(monkeypatch, 1, balance=0.1).reports == [(0, 20.0)]
    assert [share for share, _ in looped(monkeypatch, 1, report=None).drops] == [0.0]
