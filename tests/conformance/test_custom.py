"""Your own MoE takes part through an adapter: chained experts (Chain-of-Experts), product-key experts (Monet)."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support import families
from workbench import Plan, WorkbenchError, capture, load, read_prompts, steered
from workbench.hooks import recording
from workbench.loading import tiny_tokenizer

WIDTH, VOCAB = 16, 384


def mlp(inner: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, inner), nn.SiLU(), nn.Linear(inner, WIDTH))


class Causal(nn.Module):
    """A mean over what came before: the least that makes positions matter."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[None, :, None]


class ChainStep(nn.Module):
    """One step of a chain: its own router, the block's experts, and the residual kept within the step."""

    def __init__(self, experts: nn.ModuleList, k: int = 2) -> None:
        super().__init__()
        self.gate, self.experts, self.k = nn.Linear(WIDTH, len(experts), bias=False), experts, k

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, WIDTH)
        weights, index = self.gate(rows).softmax(-1).topk(self.k, dim=-1)
        out = rows.clone()
        for t in range(len(rows)):
            for w, e in zip(weights[t], index[t], strict=True):
                out[t] += w * self.experts[e](rows[t])
        return out.reshape(x.shape)


class ChainOfExperts(nn.Module):
    """Wang et al. 2025 (arXiv 2506.18945): tokens pass the same experts twice, chosen anew by a router of each step."""

    def __init__(self, blocks: int = 2, steps: int = 2, experts: int = 6) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(VOCAB, WIDTH), Causal(), nn.Linear(WIDTH, VOCAB)
        pools = [nn.ModuleList(mlp() for _ in range(experts)) for _ in range(blocks)]
        self.steps = nn.ModuleList(ChainStep(pool) for pool in pools for _ in range(steps))

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        for n, step in enumerate(self.steps):
            x = step(x + self.mix(x) if n % 2 == 0 else x)
        return self.head(x)


class ChainedExperts:
    """At most 15 lines: what a user writes for `ChainOfExperts`."""

    def blocks(self, model: Any) -> dict[int, Any]:
        return dict(enumerate(model.module.steps))

    def route(self, block: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = block.gate(hidden)
        weights, index = logits.softmax(-1).topk(block.k, dim=-1)
        return logits, weights, index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        return block.experts[number](hidden)

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        return hidden + routed


class ProductKeys(nn.Module):
    """Experts (i, j): the first half of expert i and the second half of expert j, as Monet composes them (arXiv 2412.04139).

    n * n experts from 2 n halves; the logit of (i, j) is the sum of two keys' scores.
    """

    def __init__(self, n: int = 4, k: int = 3, inner: int = 8) -> None:
        super().__init__()
        self.n, self.k = n, k
        self.left, self.right = (nn.Linear(WIDTH, n, bias=False) for _ in range(2))
        self.down = nn.Parameter(torch.randn(n, WIDTH, inner) / 4)
        self.up = nn.Parameter(torch.randn(n, inner, WIDTH) / 3)

    def scores(self, rows: Tensor) -> Tensor:
        return (self.left(rows)[:, :, None] + self.right(rows)[:, None, :]).reshape(len(rows), -1)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, WIDTH)
        best, index = self.scores(rows).topk(self.k, dim=-1)
        weights = best.softmax(-1)
        inner = torch.einsum("tw,nwf->tnf", rows, self.down).relu().square()
        i, j = index // self.n, index % self.n
        chosen = torch.einsum(
            "tkf,tkfw->tkw", inner.gather(1, i[..., None].expand(-1, -1, inner.shape[-1])), self.up[j]
        )
        return (weights[..., None] * chosen).sum(1).reshape(x.shape)


class ProductKeyLM(nn.Module):
    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.mix, self.layers = Causal(), nn.ModuleList(ProductKeys() for _ in range(layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        x = self.embed(input_ids)
        for layer in self.layers:
            x = x + self.mix(x)
            x = x + layer(x)
        return SimpleNamespace(logits=self.head(x))


class Monet:
    """What a user writes for `ProductKeyLM`."""

    def blocks(self, model: Any) -> dict[int, Any]:
        return dict(enumerate(model.module.layers))

    def route(self, block: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = block.scores(hidden)
        best, index = logits.topk(block.k, dim=-1)
        return logits, best.softmax(-1), index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        return (hidden @ block.down[number // block.n]).relu().square() @ block.up[number % block.n]

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        return routed


CUSTOM = {"chain of experts": (ChainOfExperts, ChainedExperts), "product keys": (ProductKeyLM, Monet)}


@pytest.fixture(params=CUSTOM)
def custom(request: pytest.FixtureRequest) -> Any:
    made, adapter = CUSTOM[request.param]
    torch.manual_seed(0)
    module = made().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return load(module, tiny_tokenizer(), adapter=adapter())


@pytest.mark.parametrize("name", CUSTOM)
def test_an_adapter_is_at_most_fifteen_lines(name: str) -> None:
    source = inspect.getsource(CUSTOM[name][1]).splitlines()[1:]
    assert sum(bool(line.strip()) and '"""' not in line for line in source) <= 15


def test_capture_writes_what_the_module_did(custom: Any, tmp_path: Any) -> None:
    store = capture(
        custom, read_prompts([{"id": "a", "text": "hello there"}]), tmp_path / "s", keep={"norms", "logits"}
    )
    layer = custom.anatomy.moe_layers[-1]
    seen: list[Tensor] = []
    block = custom.runtime.layout.blocks[layer].block
    handle = block.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    ids = torch.tensor([store.table("tokens").sort_values("position").token_id.tolist()])
    with torch.no_grad():
        custom.hf(ids)
    handle.remove()
    logits = block.gate(seen[0][0]) if hasattr(block, "gate") else block.scores(seen[0][0])
    slots = store.table("slots").query("layer == @layer")
    for position in range(ids.shape[1]):
        mine = set(slots.query("position == @position").expert)
        assert mine == set(logits[position].topk(block.k).indices.tolist())


@torch.no_grad()
def test_edits_do_what_deleting_or_choosing_by_hand_does(custom: Any) -> None:
    ids = families.ids(custom, batch=2, length=8)
    layer = custom.anatomy.moe_layers[0]
    with recording(custom, keep={"norms"}) as recorder:
        base = custom.hf(ids).logits
        index = recorder.take().layers[layer].index
    busy = int(torch.bincount(index.reshape(-1)).argmax())
    with steered(custom, Plan.off([(layer, busy)])), recording(custom, keep=()) as recorder:
        off = custom.hf(ids).logits
        assert busy not in recorder.take().layers[layer].index
    block = custom.runtime.layout.blocks[layer].block
    if hasattr(block, "gate"):  # a logit of minus infinity by hand: the same gate with the expert's score out of reach
        by_hand = block.gate.register_forward_hook(lambda m, a, out: out.index_fill(-1, torch.tensor([busy]), -1e9))
        assert (custom.hf(ids).logits - off).abs().max() < 1e-5 * off.abs().max()
        by_hand.remove()
    with steered(custom, Plan.mute([(layer, e) for e in range(custom.anatomy.layer(layer).n_experts)])):
        empty = custom.hf(ids).logits
    assert not torch.equal(off, base)
    assert not torch.equal(empty, base)
    assert torch.equal(custom.hf(ids).logits, base)


def test_an_adapter_that_computes_something_else_is_refused() -> None:
    class Wrong(ChainedExperts):
        def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
            return block.experts[0](hidden)

    with pytest.raises(WorkbenchError, match="does not compute what layer 0"):
        load(ChainOfExperts().eval(), tiny_tokenizer(), adapter=Wrong())


def test_what_a_module_without_cache_cannot_do_is_said(custom: Any, tmp_path: Any) -> None:
    with pytest.raises(WorkbenchError, match="has no cache"):
        capture(custom, read_prompts([{"id": "a", "text": "hi"}]), tmp_path / "s", generate=2)
