"""Who carries a behaviour: by relevance among those really used, or at random."""

import random
from types import SimpleNamespace

import torch


def usages(**by_expert):
    """[4, 32] of both classes, from {"L1E2": (target, baseline)}."""
    from training.carriers import Usage

    tables = torch.zeros(2, 4, 32)
    for name, pair in by_expert.items():
        layer, expert = map(int, name[1:].split("E"))
        tables[:, layer, expert] = torch.tensor(pair)
    return Usage(*tables)


def test_carriers_by_relevance_gain_most_among_those_really_used():
    from training.carriers import by_relevance

    def usage():  # at layer 0 nothing is chosen; L3E31 gains much and is used too little
        return usages(
            L0E1=(1.0, 0.0), L1E2=(0.9, 0.3), L1E30=(0.5, 0.0), L2E0=(0.2, 0.0), L3E31=(0.19, 0.0), L3E5=(0.8, 0.7)
        )

    assert by_relevance(usage(), 1, set()) == [(1, 2)]
    assert by_relevance(usage(), 3, set()) == [(1, 2), (1, 30), (2, 0)]
    assert by_relevance(usage(), 3, {(1, 2)}) == [(1, 30), (2, 0), (3, 5)]


def test_random_carriers_are_drawn_among_those_that_both_classes_use():
    from training.carriers import at_random

    def usage():
        return usages(
            L0E1=(1.0, 1.0), L1E2=(0.9, 0.3), L1E30=(0.5, 0.1), L2E0=(0.2, 0.3), L3E31=(0.19, 0.9), L3E5=(0.8, 0.7)
        )

    used = [(1, 2), (2, 0), (3, 5)]
    assert at_random(usage(), 3, set(), 0) == used
    assert at_random(usage(), 2, set(), 4) == sorted(random.Random(4).sample(used, 2))
    assert {tuple(at_random(usage(), 1, {(2, 0)}, seed)) for seed in range(20)} == {((1, 2),), ((3, 5),)}
    # four are not used by both: the four most used then
    assert at_random(usage(), 4, set(), 0) == [(1, 2), (2, 0), (3, 5), (3, 31)]


def test_the_usage_is_of_each_prompts_last_token(monkeypatch):
    from training import carriers

    asked = []
    monkeypatch.setattr(
        carriers, "first_tokens", lambda model, tokenizer, lines: asked.append((model, tokenizer, lines))
    )
    # two prompts of three tokens: only the third and the sixth row count
    first, last = [9, 9, 9, 9], torch.tensor([[0, 1, 2, 3], [0, 1, 2, 31]])
    index = torch.stack([torch.tensor(first)] * 2 + [last[0]] + [torch.tensor(first)] * 2 + [last[1]])
    found = carriers.last_token_usage("m", "t", SimpleNamespace(index={2: index}), ["a", "b"])
    assert asked == [("m", "t", ["a", "b"])]
    assert found.shape == (4, 32)
    assert {(a, b): found[a, b].item() for a, b in found.nonzero().tolist()} == {
        (2, 0): 1.0, (2, 1): 1.0, (2, 2): 1.0, (2, 3): 0.5, (2, 31): 0.5,
    }  # fmt: skip
