"""Where a layer keeps its router and its experts: fused weights, layers to number, and what is no layout."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.workbench.survey.test_routers import EMPTY
from workbench.errors import WorkbenchError
from workbench.model import Layout, find_layout, fused_weights
from workbench.model.layout import is_expert, rows_of, wrapping


class Experts(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.up, self.down, self.bias = (nn.Parameter(torch.zeros(s)) for s in ((n, 4, 2), (n, 2, 4), (n, 2)))


class TestLayout:
    def test_fused_weights(self) -> None:
        experts, around = Experts(3), nn.Module()
        around.base_layer = experts
        assert [p.shape for p in fused_weights(around)] == [(3, 4, 2), (3, 2, 4)]
        assert (rows_of(experts), rows_of(around), rows_of(nn.Linear(2, 2))) == (3, 3, 0)
        assert wrapping("a.router.base_layer.base_layer") == "a.router"
        two = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        assert is_expert(two)
        assert not is_expert(nn.Linear(4, 4))
        assert not is_expert(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), experts))

    def test_layers_to_number(self) -> None:
        layers = (nn.Identity(), nn.Identity())
        assert Layout(nn.Identity(), layers, {0: EMPTY}).n_layers == 2
        assert Layout(nn.Identity(), (), {0: EMPTY, 5: EMPTY}).n_layers == 6

    def test_what_is_no_layout(self) -> None:
        dense = nn.Sequential(nn.Linear(2, 2))
        dense.config = SimpleNamespace()  # type: ignore[assignment]
        with pytest.raises(
            WorkbenchError, match=r"^Sequential has no router that transformers declares, so there are no experts"
        ):
            find_layout(dense)
        dense.config = SimpleNamespace(is_encoder_decoder=True)  # type: ignore[assignment]
        with pytest.raises(
            WorkbenchError, match=r"^Sequential is an encoder-decoder, and stores, roles and generation"
        ):
            find_layout(dense)
        block = type("DogeCDMoE", (nn.Module,), {})()
        with pytest.raises(WorkbenchError, match=r"^Sequential \('0'\) is not supported: its product-key router mixes"):
            find_layout(nn.Sequential(block))
