"""Adapters: the sum over experts, the layout they make, and blocks found by class."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.tensors import draw
from workbench.errors import WorkbenchError
from workbench.model import find_layout, rerun
from workbench.model.adapters import ADAPTERS, AdaptedExperts, AdaptedRouter, ByClass


class Chained:
    """Expert n adds n to its input."""

    weights_on_input = False

    def blocks(self, model: Any) -> dict[int, nn.Module]:
        return {2: model[1].inner, 0: model[0].inner}

    def shared(self, block: Any) -> tuple[str, ...]:
        return ("beside",)

    def route(self, block: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index = torch.arange(len(hidden) * 2).reshape(-1, 2) % 3
        return hidden, 1.0 + index.double() / 4, index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        return hidden * hidden + number

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        return 10 * hidden + routed


class TestAdapters:
    @pytest.mark.parametrize("on_input", [False, True])
    def test_the_sum_over_experts(self, on_input: bool) -> None:
        adapter, block, hidden = Chained(), nn.Identity(), draw(5, 4)
        adapter.weights_on_input = on_input
        router, experts = AdaptedRouter(adapter, block), AdaptedExperts(adapter, block)
        _, weights, index = router(hidden)
        expected = torch.zeros(5, 4, dtype=torch.float64)
        for t in range(5):
            for w, e in zip(weights[t], index[t], strict=True):
                x = hidden[t] * w if on_input else hidden[t]
                expected[t] += (x * x + e) * (1 if on_input else w)
        torch.testing.assert_close(experts(hidden, index, weights), expected)
        whole = rerun(adapter, block, router, experts, hidden.reshape(1, 5, 4))
        torch.testing.assert_close(whole, (10 * hidden + expected).reshape(1, 5, 4))
        assert list(experts.parameters()) == []

    def model(self, names: tuple[str, str]) -> Any:
        def part() -> nn.Module:
            inner = nn.Module()
            inner.beside = nn.Linear(2, 2)
            return inner

        steps = nn.ModuleDict({name: nn.ModuleDict({"inner": part()}) for name in names})
        holder = nn.Module()
        holder.steps = steps
        return holder

    def test_the_layout_of_an_adapter(self) -> None:
        model = self.model(("0", "2"))
        adapter: Any = Chained()
        adapter.blocks = lambda m: {2: m.steps["2"]["inner"], 0: m.steps["0"]["inner"]}
        layout = find_layout(model, adapter)
        assert list(layout.blocks) == [0, 2]
        assert layout.layers == tuple(model.steps.children())
        assert layout.base is model
        block = layout.blocks[2]
        assert (block.layer, block.router_name, block.experts_name) == (
            2,
            "steps.2.inner (router)",
            "steps.2.inner (experts)",
        )
        assert (block.shared, block.shared_names) == ((model.steps["2"]["inner"].beside,), ("steps.2.inner.beside",))
        assert (block.block, block.adapter, block.shared_gate) == (model.steps["2"]["inner"], adapter, None)
        adapter.blocks = lambda m: {1: m.steps["2"]["inner"], 0: m.steps["0"]["inner"]}
        assert find_layout(model, adapter).layers == ()
        adapter.blocks = lambda m: {}
        with pytest.raises(WorkbenchError, match=r"^The adapter Chained found no block in Module"):
            find_layout(model, adapter)

    def test_blocks_by_class(self) -> None:
        model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2))), nn.Linear(2, 2))
        assert ByClass("Linear").blocks(model) == {0: model[0][1][0], 1: model[1]}
        assert {name: a.name for name, a in ADAPTERS.items()} == {  # type: ignore[attr-defined]
            "Llama4TextMoe": "Llama4TextMoe", "DbrxFFN": "DbrxFFN", "JetMoeMoE": "JetMoeMoE",
        }  # fmt: skip
