"""Where a block keeps its parts and what a layer is called; on modules made here."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from workbench.anatomy import LayerAnatomy
from workbench.errors import WorkbenchError
from workbench.model import Layout, MoEBlock, RouterFacts
from workbench.model.layout import block_of, decoder_layers, places
from workbench.survey import Seen
from workbench.survey.forward import describe


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
    found = block_of(model, 1, "layers.1.mlp.gate", mlp.gate, "layers.1")
    assert found == MoEBlock(
        1, mlp, mlp.gate, mlp.experts, (mlp.shared,), mlp.shared_gate, "layers.1.mlp.gate", "layers.1.mlp.experts",
        ("layers.1.mlp.shared",),
    )  # fmt: skip
    beside = model.layers[1]
    beside.router, beside.experts = nn.Linear(4, 3), Experts(3)
    del beside.mlp
    found = block_of(model, 1, "layers.1.router", beside.router, "layers.1")
    assert (found.block, found.shared, found.shared_gate) == (beside, (), None)
    assert decoder_layers(model, "layers.1.router") == ("layers", tuple(model.layers))
    with pytest.raises(WorkbenchError, match=r"^The router 'router' of Module lies in no list of layers\.$"):
        decoder_layers(model, "router")
    del beside.experts
    with pytest.raises(
        WorkbenchError, match=r"^Layer 1 of Module has no module of fused expert weights beside its router"
    ):
        places(model, 1, "layers.1.router", beside.router)


def test_a_layer_is_described() -> None:
    hf = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=4)))
    model = decoder()
    mlp = model.layers[1].mlp
    block = block_of(model, 1, "layers.1.mlp.gate", mlp.gate, "layers.1")
    layout, facts = (
        Layout(model, tuple(model.layers), {1: block}),
        RouterFacts(3, 2, None, {"off": "why"}, ("note",), True),
    )
    seen = Seen(routed=torch.zeros(2, 24, 4), layer=torch.zeros(2, 24, 4))
    names = ("layers.1.mlp.gate", "layers.1.mlp.experts", ("layers.1.mlp.shared",))
    assert describe(hf, layout, block, seen, facts, 1.0) == LayerAnatomy(
        1, 3, 2, 1, *names, None, {"off": "why"}, ("note",), 0, True
    )
    narrow = Seen(routed=torch.zeros(48, 6), layer=torch.zeros(1))
    adapted = block._replace(adapter=SimpleNamespace(weights_on_input=True))  # type: ignore[arg-type]
    found = describe(hf, layout, adapted, narrow, facts, None)
    reason = "the layer's output is (1,), not one stream of [batch, tokens, 4]"
    assert found.refused == {
        "off": "why",
        "residual": reason,
        "routed_change": reason,
        "replace": "the routing weight multiplies the expert's input, so its output has no weight to keep",
    }
    assert (found.notes, found.output_size) == (("note", "experts work in a space of 6 channels"), 6)
    lone = describe(hf, layout, block, seen, facts, None).refused["routed_change"]
    assert lone == "the layer is no sum of the residual stream before its MoE norm and the experts"
