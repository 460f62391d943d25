"""An expert that is off is replaced by the next best, and carriers are spared."""

import math
from types import SimpleNamespace

import pytest
import torch


class Router(torch.nn.Module):
    """Gives the logits it is told [tokens, 32], with its own softmax, top 4 and renormalised weights."""

    def forward(self, logits):
        weights, index = torch.softmax(logits, -1).topk(4, -1)
        return logits, weights / weights.sum(-1, keepdim=True), index


def routers(n=4):
    layers = [SimpleNamespace(mlp=SimpleNamespace(gate=Router())) for _ in range(n)]
    return SimpleNamespace(model=SimpleNamespace(layers=layers)), [layer.mlp.gate for layer in layers]


def test_an_expert_that_is_off_is_replaced_by_the_next_best():
    from training.masking import Masker

    model, gates = routers()
    masker = Masker(model)
    logits = torch.stack([torch.arange(32.0), -torch.arange(32.0)])
    before = gates[2](logits)
    assert before[2].tolist() == [[31, 30, 29, 28], [0, 1, 2, 3]]
    assert masker.index[2].tolist() == before[2].tolist()
    with masker.without(frozenset({(2, 30), (2, 1), (1, 29)})):
        _, weights, index = gates[2](logits)
        assert gates[1](logits)[2].tolist() == [[31, 30, 28, 27], [0, 1, 2, 3]]
        assert gates[0](logits)[2].tolist() == before[2].tolist()
    assert index.tolist() == masker.index[2].tolist() == [[31, 29, 28, 27], [0, 2, 3, 4]]
    raw = [math.exp(-d) for d in (0, 2, 3, 4)]
    assert weights[0].tolist() == pytest.approx([x / sum(raw) for x in raw])
    assert torch.equal(masker.logits[2], logits)
    assert not masker.off.any(), "off again afterwards"
    assert gates[2](logits)[2].tolist() == before[2].tolist()
    masker.remove()
    gates[3](logits)
    assert 3 not in masker.index


def test_the_share_that_is_switched_off_spares_the_carriers():
    from training.masking import Masker

    masker = Masker(routers()[0])
    assert masker.off.tolist() == [[False] * 32] * 4
    masker.spared = frozenset({(0, 3), (3, 31)})
    draws = torch.rand(4, 32, generator=torch.Generator().manual_seed(5))
    masker.drop_random(0.4, torch.Generator().manual_seed(5))
    wanted = [[bool(draws[a, b] < 0.4) and (a, b) not in masker.spared for b in range(32)] for a in range(4)]
    assert masker.off.tolist() == wanted
    masker.drop_random(1.0, torch.Generator())
    assert int(masker.off.sum()) == 4 * 32 - 2
