"""Where a block keeps its parts, what a layer is called, and how far a plan moves distributions: on modules made here."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.stores import anatomy
from workbench import Plan, PromptSet, load
from workbench.anatomy import LayerAnatomy
from workbench.backends import Batch, Capabilities
from workbench.comparison import divergence
from workbench.comparison.comparison import _Asked
from workbench.comparison.distributions import GivenText
from workbench.errors import WorkbenchError
from workbench.loading import tiny_model
from workbench.model import Layout, MoEBlock, RouterFacts, Told
from workbench.model.layout import _block, _decoder_layers, _places
from workbench.progress import Meter
from workbench.routing import CompiledPlan
from workbench.survey import Seen
from workbench.survey.forward import _describe


class Experts(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(n, 4, 2))


def decoder() -> Any:
    """layers.1.mlp: a router, experts, a shared expert and its gate, a norm and something without weights."""
    mlp, layer, model = nn.Module(), nn.Module(), nn.Module()
    mlp.gate, mlp.experts = nn.Linear(4, 3), Experts(3)
    mlp.shared = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
    mlp.shared_gate, mlp.norm, mlp.act = nn.Linear(4, 1), nn.LayerNorm(4), nn.ReLU()
    layer.mlp, layer.attention = mlp, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model.layers = nn.ModuleList([nn.Module(), layer])
    return model


def test_the_parts_of_a_block() -> None:
    model = decoder()
    mlp = model.layers[1].mlp
    found = _block(model, 1, "layers.1.mlp.gate", mlp.gate, "layers.1")
    assert found == MoEBlock(
        1, mlp, mlp.gate, mlp.experts, (mlp.shared,), mlp.shared_gate, "layers.1.mlp.gate", "layers.1.mlp.experts",
        ("layers.1.mlp.shared",),
    )  # fmt: skip
    beside = model.layers[1]
    beside.router, beside.experts = nn.Linear(4, 3), Experts(3)
    del beside.mlp
    found = _block(model, 1, "layers.1.router", beside.router, "layers.1")
    assert (found.block, found.shared, found.shared_gate) == (beside, (), None)
    assert _decoder_layers(model, "layers.1.router") == ("layers", tuple(model.layers))
    with pytest.raises(WorkbenchError, match=r"^The router 'router' of Module lies in no list of layers\.$"):
        _decoder_layers(model, "router")
    del beside.experts
    with pytest.raises(
        WorkbenchError, match=r"^Layer 1 of Module has no module of fused expert weights beside its router"
    ):
        _places(model, 1, "layers.1.router", beside.router)


def test_a_layer_is_described() -> None:
    hf = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=4)))
    model = decoder()
    mlp = model.layers[1].mlp
    block = _block(model, 1, "layers.1.mlp.gate", mlp.gate, "layers.1")
    layout, facts = (
        Layout(model, tuple(model.layers), {1: block}),
        RouterFacts(3, 2, None, {"off": "why"}, ("note",), True),
    )
    seen = Seen(routed=torch.zeros(2, 24, 4), layer=torch.zeros(2, 24, 4))
    names = ("layers.1.mlp.gate", "layers.1.mlp.experts", ("layers.1.mlp.shared",))
    assert _describe(hf, layout, block, seen, facts, 1.0) == LayerAnatomy(
        1, 3, 2, 1, *names, None, {"off": "why"}, ("note",), 0, True
    )
    narrow = Seen(routed=torch.zeros(48, 6), layer=torch.zeros(1))
    adapted = block._replace(adapter=SimpleNamespace(weights_on_input=True))  # type: ignore[arg-type]
    found = _describe(hf, layout, adapted, narrow, facts, None)
    reason = "the layer's output is (1,), not one stream of [batch, tokens, 4]"
    assert found.refused == {
        "off": "why",
        "residual": reason,
        "routed_change": reason,
        "replace": "the routing weight multiplies the expert's input, so its output has no weight to keep",
    }
    assert (found.notes, found.output_size) == (("note", "experts work in a space of 6 channels"), 6)
    lone = _describe(hf, layout, block, seen, facts, None).refused["routed_change"]
    assert lone == "the layer is no sum of the residual stream before its MoE norm and the experts"


def test_there_is_no_such_tiny_model() -> None:
    with pytest.raises(
        WorkbenchError, match=r"^There is no tiny model 'mixtrl'; did you mean 'mixtral'\? out of 79 families; `work"
    ):
        tiny_model("mixtrl")


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
    asked = _Asked(model, PromptSet(()), [], [], 1, 1000, Meter(0, None))
    found = asked.perplexity(given, Plan.off("L1E0"))
    for name, steered in (("base", False), ("steered", True)):
        nll = [-math.log(softmax(row(b, steered))[t]) for b, t in ((1, 2), (2, 1), (1, 1))]
        assert found[name] == pytest.approx(math.exp(sum(nll) / 3), abs=1e-5)
    assert found["n_tokens"] == 3
    assert asked.perplexity([], Plan()) == {}
