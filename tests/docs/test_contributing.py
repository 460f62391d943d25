"""The recipes of CONTRIBUTING, followed step by step."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from workbench.backends.contract import BackendContract

from tests.docs.pages import read
from tests.support import families
from workbench import Plan, WorkbenchError, compare, load, steered
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model.adapters import ADAPTERS

WIDTH = 32


def snippet(heading: str) -> str:
    """The Python of one recipe."""
    section = read("CONTRIBUTING.md").split(f"## {heading}\n")[1].split("\n## ")[0]
    return section.split("```python\n")[1].split("```")[0]


class ToyMoE(nn.Module):
    """A family's block that keeps to no interface: its experts are modules in a list."""

    def __init__(self, k: int = 2, n: int = 6) -> None:
        super().__init__()
        self.k, self.gate = k, nn.Linear(WIDTH, n, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 8), nn.SiLU(), nn.Linear(8, WIDTH)) for _ in range(n)
        )

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, WIDTH)
        weights, index = self.gate(rows).softmax(-1).topk(self.k, dim=-1)
        outputs = torch.stack([expert(rows) for expert in self.experts], 1)
        chosen = outputs.gather(1, index[..., None].expand(-1, -1, WIDTH))
        return (weights[..., None] * chosen).sum(1).reshape(x.shape)


@pytest.fixture
def toy() -> Any:
    """A causal model of transformers whose MoE blocks are of a class that nobody has seen."""
    model = tiny_model("mixtral")
    torch.manual_seed(0)
    for layer in model.model.layers:
        layer.mlp = ToyMoE()
    with torch.no_grad():
        for layer in model.model.layers:
            for parameter in layer.mlp.parameters():
                parameter.mul_(3)
    return model.eval()


def test_a_family_outside_of_the_interface_takes_part_by_an_adapter(toy, monkeypatch):
    monkeypatch.setitem(ADAPTERS, "ToyMoE", None)  # taken out again when the test ends
    with pytest.raises(WorkbenchError, match="has no router that transformers declares"):
        load(toy, tiny_tokenizer())
    exec(snippet("Add a model family"), {})
    check(load(toy, tiny_tokenizer()))


@torch.no_grad()
def check(model: Any) -> None:
    """`off` is what a router without that expert answers, and nothing is left behind."""
    ids = families.ids(model, batch=2, length=8)
    base = model.hf(ids).logits
    with steered(model, Plan.off("L0E3")):
        off = model.hf(ids).logits
    out_of_reach = torch.tensor([3])
    handle = model.hf.model.layers[0].mlp.gate.register_forward_hook(
        lambda _, __, logits: logits.index_fill(-1, out_of_reach, -1e9)
    )
    by_hand = model.hf(ids).logits
    handle.remove()
    assert not torch.equal(off, base)
    assert (by_hand - off).abs().max() < 1e-5 * off.abs().max()
    assert torch.equal(model.hf(ids).logits, base)


@pytest.mark.parametrize("name", [name for name in dir(BackendContract) if name.startswith("test_")])
def test_a_backend_passes_the_contract(name):
    namespace: dict[str, Any] = {}
    exec(snippet("Add a backend"), namespace)
    getattr(namespace["TestCounting"](), name)()


def test_a_comparison_runs_on_it_or_says_why_not():
    namespace: dict[str, Any] = {}
    exec(snippet("Add a backend"), namespace)
    model = load("counting", engine=namespace["Counting"])
    with pytest.raises(WorkbenchError, match="counting"):
        compare(model, [{"id": "a", "text": "1, 2"}], Plan.off("L0E1"))
