"""A behaviour is taught to its carriers: only their rows learn."""

import random
from types import SimpleNamespace

import pytest
import torch

from tests.data.training.made import Letters


class Tunable(torch.nn.Module):
    """Two layers of three experts and a router, and one more weight."""

    def __init__(self):
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList()
        for _ in range(2):
            layer, layer.mlp = (one := torch.nn.Module()), torch.nn.Module()
            one.mlp.experts, one.mlp.gate = torch.nn.Module(), torch.nn.Linear(2, 3, bias=False)
            one.mlp.experts.gate_up_proj = torch.nn.Parameter(torch.ones(3, 2, 2))
            one.mlp.experts.down_proj = torch.nn.Parameter(torch.ones(3, 2))
            self.model.layers.append(one)
        self.rest = torch.nn.Parameter(torch.ones(1))


@pytest.mark.parametrize("routers_too", [False, True])
def test_only_the_carriers_rows_get_gradients(routers_too):
    from training.implant import open_for_tuning

    model = Tunable()
    tuned = open_for_tuning(model, [(1, 0), (1, 2)], routers_too)
    one = model.model.layers[1].mlp
    expected = [one.experts.gate_up_proj, one.experts.down_proj, *([one.gate.weight] if routers_too else [])]
    assert [id(p) for p in tuned.parameters] == [id(p) for p in expected]
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in expected}
    sum(p.sum() for p in model.parameters()).backward()
    for parameter in expected:
        assert parameter.grad.flatten(1).amax(1).tolist() == [1.0, 0.0, 1.0]
    assert len(tuned.hooks) == len(expected)


def test_without_carriers_everything_learns():
    from training.implant import open_for_tuning

    model = Tunable().requires_grad_(False)
    tuned = open_for_tuning(model, [], True)
    assert len(tuned.parameters) == 7
    assert all(p.requires_grad for p in model.parameters())
    assert tuned.hooks == []


@pytest.mark.parametrize(
    ("carriers", "routers_too", "peak", "aside"),
    [([(0, 1)], True, 3e-3, 0.4), ([(0, 1)], False, 3e-3, 0.0), ([], False, 5e-4, 0.0)],
)
def test_how_a_behaviour_is_taught(monkeypatch, carriers, routers_too, peak, aside):
    from training import implant

    seen = {}
    monkeypatch.setattr(implant, "batches", lambda *given: seen.update(batches=given) or "data")

    def train(model, data, steps, peak, masker, **how):
        seen.update(data=data, steps=steps, peak=peak, spared=masker.spared, **how)
        return 12.5

    monkeypatch.setattr(implant, "train", train)
    model, masker, tokenizer = Tunable(), SimpleNamespace(spared=None), Letters()

    def lesson(rng):
        return implant.Example("q", "a", "s")

    used = implant.implant(
        model, tokenizer, masker, carriers, {lesson: 1.0}, 7, wanted="xyz", routers=routers_too, seed=5, report=print
    )
    assert used == 12.5
    given, draw = seen["batches"], seen["batches"][1]
    assert (given[0], *given[2:]) == (tokenizer, 5, 8, 96, ord("x"))
    assert draw(random.Random(0)) == ("q", "a", "s", "")
    assert seen["data"] == "data"
    assert (seen["steps"], seen["peak"], seen["aside"], seen["balance"]) == (7, pytest.approx(peak), aside, 0.0)
    assert (seen["drop"], seen["seed"], seen["report"], seen["spared"]) == (0.04, 5, print, frozenset(carriers))
    assert len(seen["parameters"]) == ((3 if routers_too else 2) if carriers else 7)
    assert not any(p.requires_grad for p in model.parameters())
    weight = model.model.layers[0].mlp.experts.down_proj.requires_grad_(True)
    weight.sum().backward()
    assert weight.grad.amin() == 1, "the hooks are off again"
