"""Two shared experts in one block: an edit of the second is not one of the first."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workbench import Plan, load, steered
from workbench.anatomy import ExpertRef
from workbench.hooks.shared import edit_shared
from workbench.loading import tiny_tokenizer
from workbench.plan import Edit
from workbench.routing import Dose, DoseCounts, LayerEdits

WIDTH = 8


class Block(nn.Module):
    """Four routed experts, top-2, and two shared ones beside."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 4, bias=False)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.one, self.other = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, WIDTH)
        best, index = self.gate(rows).topk(2, dim=-1)
        weights = best.softmax(-1)
        out = self.one(rows) + self.other(rows)
        for t in range(len(rows)):
            for w, e in zip(weights[t], index[t], strict=True):
                out[t] += w * self.experts[e](rows[t])
        return out.reshape(x.shape)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(384, WIDTH), nn.Linear(WIDTH, 384)
        self.blocks = nn.ModuleList(Block() for _ in range(2))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = x + block(x)
        return SimpleNamespace(logits=self.head(x))


class Adapter:
    def blocks(self, model: Any) -> dict[int, Any]:
        return dict(enumerate(model.module.blocks))

    def shared(self, block: Any) -> tuple[str, ...]:
        return ("one", "other")

    def route(self, block: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = block.gate(hidden)
        best, index = logits.topk(2, dim=-1)
        return logits, best.softmax(-1), index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        """Only nearly the block's own, as another order of summing would make it."""
        return block.experts[number](hidden) * 1.00002

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        return block.one(hidden) + block.other(hidden) + routed


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return load(Model().eval(), tiny_tokenizer(), adapter=Adapter())


PLANS = {
    "mute the second": (Plan.mute("L1S1"), 1.0, 0.0),
    "scale the second": (Plan.scale("L1S1", 3.0), 1.0, 3.0),
    "mute the first": (Plan.mute("L1S0"), 0.0, 1.0),
    "one each": (Plan.mute("L1S0") | Plan.scale("L1S1", 0.5), 0.0, 0.5),
    "beside a routed one": (Plan.scale("L1S1", 2.0) | Plan.scale("L1E0", 1.0), 1.0, 2.0),
}


@pytest.mark.parametrize("name", PLANS)
@torch.no_grad()
def test_each_shared_expert_is_edited_by_its_number(model: Any, name: str) -> None:
    plan, of_one, of_other = PLANS[name]
    block, seen = model.runtime.layout.blocks[1].block, list[tuple[Tensor, Tensor]]()
    ids = torch.randint(3, 259, (2, 5), generator=torch.Generator().manual_seed(0))
    with steered(model, plan, dose=(dose := Dose())):
        hook = block.register_forward_hook(lambda m, a, out: seen.append((a[0], out)))
        model.hf(ids)
        hook.remove()
    (hidden, out), own = seen[0], block(seen[0][0])
    expected = own + (of_one - 1) * block.one(hidden) + (of_other - 1) * block.other(hidden)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    edited = (of_one != 1) + (of_other != 1)
    assert dose.counts() == DoseCounts(10, 10, 10 * 2 * 4, 10 * edited, 0)


ROUTED = {
    "off": Plan.off("L1E0"),
    "mute": Plan.mute("L1E0"),
    "drop": Plan.drop("L1E0"),
    "scale": Plan.scale("L1E0", 2.0),
    "replace": Plan.replace("L1E0", [1.0] * WIDTH),
    "with a shared one": Plan.mute("L1E0") | Plan.scale("L1S1", 2.0),
    "off at some positions": Plan.off("L1E0", positions="0-2"),
}


@pytest.mark.parametrize("name", ROUTED)
@torch.no_grad()
def test_a_token_that_no_edit_touches_keeps_the_blocks_own_output(model: Any, name: str) -> None:
    """The block's output comes from its adapter where a routed expert is edited, and only there."""
    block, seen = model.runtime.layout.blocks[1].block, list[tuple[Tensor, Tensor]]()
    ids = torch.randint(3, 259, (2, 20), generator=torch.Generator().manual_seed(1))
    with steered(model, ROUTED[name]):
        hook = block.register_forward_hook(lambda m, a, out: seen.append((a[0], out)))
        model.hf(ids)
        hook.remove()
    (hidden, out), own = seen[0], block(seen[0][0])
    own = own + block.other(hidden) if "shared" in name else own
    selects = (block.gate(hidden).topk(2, dim=-1).indices == 0).any(-1)
    touched = selects & (torch.arange(20) < 3) if "positions" in name else selects
    assert 0 < touched.sum() < 40
    assert ((out - own).abs()[touched].amax(-1) > 1e-3).all()
    if "shared" not in name:
        assert torch.equal(out[~touched], own[~touched])
    torch.testing.assert_close(out[~touched], own[~touched], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_numbers_by_hand(number: int) -> None:
    """A mute, a scale by 3 and a scoped scale, each on expert `number` of its own list of edits."""
    ref, rows = ExpertRef(0, number, True), torch.tensor([[1.0, -2.0], [0.5, 4.0]])

    def edited(*edits: Edit) -> list[list[float]]:
        return edit_shared(LayerEdits(edits, number + 1, {}), number, rows, None).tolist()

    assert edited(Edit("mute", ref)) == [[0.0, 0.0], [0.0, 0.0]]
    assert edited(Edit("scale", ref, 3.0)) == [[3.0, -6.0], [1.5, 12.0]]
    assert edited(Edit("replace", ref, (7.0, 8.0)), Edit("scale", ref, 0.5)) == [[3.5, 4.0], [3.5, 4.0]]
