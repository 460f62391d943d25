"""The protocol by which an MoE outside transformers' experts interface takes part, and the families that use it.

Transformers' interface is a router that returns (logits, weights, index) and an experts module that is called with (hidden,
index, weights); families that keep to it need nothing. For any other `nn.Module`, yours included, an adapter says in a few
lines where the blocks are, how one routes and what one expert computes:

    class ChainedExperts:
        def blocks(self, model):                      # decoder layer -> module that is called with hidden states
            return dict(enumerate(model.steps))
        def route(self, block, hidden):               # hidden [tokens, hidden] -> logits, weights, index
            logits = block.gate(hidden)
            weights, index = logits.softmax(-1).topk(2, dim=-1)
            return logits, weights, index
        def expert(self, block, number, hidden):      # one expert's own output for the rows it is given
            return block.experts[number](hidden)
        def combine(self, block, hidden, routed):     # the block's output, from the weighted sum of its experts
            return hidden + routed

    model = load(module, tokenizer, adapter=ChainedExperts())

`load` runs it beside the model's own forward and refuses it unless both give the same outputs. While something is recorded or
steered, the block's output comes from the adapter; otherwise the adapter never runs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workbench.model.placement import brought

Routed = tuple[Tensor, Tensor, Tensor]
Neurons = tuple[Tensor, Callable[[Tensor], Tensor]]


class MoEAdapter(Protocol):
    """See the module's docstring. Four more attributes are optional.

    weights_on_input  True: an expert gets `weight * hidden`, and its output counts as it is (llama4)
    shared            function of a block to the names of its shared experts, which `combine` calls
    weights           function of a block and an expert's number to its weight matrices by name, for what reads weights; not
                      needed where the block has one list with a module for each expert
    neurons           function of a block, an expert's number and its rows [rows, hidden] to its neurons [rows, neurons], and
                      to what it makes of neurons: for keep={"inner"}
    """

    def blocks(self, model: Any) -> Mapping[int, nn.Module]:
        """Layer number -> the module whose output `combine` gives; called with hidden states first, by position or name."""
        ...

    def route(self, block: Any, hidden: Tensor) -> Routed:
        """Hidden [tokens, hidden] to logits [tokens, experts], weights and index [tokens, k] (int64)."""
        ...

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        """One expert's output [rows, hidden] for its rows [rows, hidden], before the routing weight."""
        ...

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        """The block's output from its input and the weighted sum of the experts, both [tokens, hidden]."""
        ...


class ByClass:
    """Blocks of an adapter for a family: every module of one class, at the layer number in its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def blocks(self, model: Any) -> dict[int, nn.Module]:
        """Blocks by layer, in the model's order."""
        found = [(n, m) for n, m in model.named_modules() if type(m).__name__ == self.name]
        return {next(int(part) for part in n.split(".") if part.isdigit()): m for n, m in found}


class Llama4(ByClass):
    """Sigmoid of the top-k logits, which multiplies the expert's input; every expert runs on every token in the original."""

    weights_on_input = True

    def shared(self, block: Any) -> tuple[str, ...]:
        """One shared expert."""
        return ("shared_expert",)

    def route(self, block: Any, hidden: Tensor) -> Routed:
        """`Llama4Router` returns the weights spread over all experts, 0 where not selected."""
        scores, logits = block.router(hidden)
        index = logits.topk(block.top_k, dim=-1).indices
        return logits, scores.gather(1, index), index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        """Gate and up in one transposed weight."""
        inner, down = self.neurons(block, number, hidden)
        return down(inner)

    def neurons(self, block: Any, number: int, hidden: Tensor) -> Neurons:
        """Up times the activation of the gate."""
        gate, up = (hidden @ block.experts.gate_up_proj[number]).chunk(2, dim=-1)
        return up * block.experts.act_fn(gate), lambda inner: inner @ block.experts.down_proj[number]

    def weights(self, block: Any, number: int) -> dict[str, Tensor]:
        """Gate and up in one, and down."""
        return {name: getattr(block.experts, name)[number] for name in ("gate_up_proj", "down_proj")}

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        """The shared expert beside."""
        return block.shared_expert(hidden) + routed


class Dbrx(ByClass):
    """Softmax, top-k, divided by a p-norm; experts are slices of flat two-dimensional weights."""

    def route(self, block: Any, hidden: Tensor) -> Routed:
        """The block's own function selects."""
        logits = block.router(hidden)
        weights, index = block.route_tokens_to_experts(logits)
        return logits, weights, index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        """w1, v1 and w2 of this expert."""
        return block.experts.mlp(hidden, *self.weights(block, number).values())

    def neurons(self, block: Any, number: int, hidden: Tensor) -> Neurons:
        """The activation of w1 times v1."""
        w1, v1, w2 = self.weights(block, number).values()
        return block.experts.mlp.activation_fn(hidden @ w1.T) * (hidden @ v1.T), lambda inner: inner @ w2

    def weights(self, block: Any, number: int) -> dict[str, Tensor]:
        """Slices of w1, v1 and w2."""
        mlp, shape = block.experts.mlp, (-1, block.experts.ffn_hidden_size, block.experts.hidden_size)
        return {name: getattr(mlp, name).view(shape)[number] for name in ("w1", "v1", "w2")}

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        """Nothing beside."""
        return routed


class JetMoE(ByClass):
    """Top-k of the logits, softmax over them; the block adds a bias. The router of the attention heads is left alone."""

    def route(self, block: Any, hidden: Tensor) -> Routed:
        """The router's own answer is sorted by expert; its logits come last."""
        logits = block.router(hidden)[-1]
        best, index = logits.topk(block.router.top_k, dim=-1)
        return logits, best.softmax(-1).type_as(hidden), index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        """Two weights per expert."""
        inner, down = self.neurons(block, number, hidden)
        return down(inner)

    def neurons(self, block: Any, number: int, hidden: Tensor) -> Neurons:
        """The activation of the gate times up."""
        gate, up = (hidden @ block.input_linear.weight[number].T).chunk(2, dim=-1)
        return block.activation(gate) * up, lambda inner: inner @ block.output_linear.weight[number].T

    def weights(self, block: Any, number: int) -> dict[str, Tensor]:
        """Gate and up in one, and down."""
        return {name: getattr(block, name).weight[number] for name in ("input_linear", "output_linear")}

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        """The block's bias."""
        return routed + block.bias


ADAPTERS: dict[str, MoEAdapter] = {a.name: a for a in (Llama4("Llama4TextMoe"), Dbrx("DbrxFFN"), JetMoE("JetMoeMoE"))}

# classes of blocks that cannot take part, and why
REFUSED = {
    "DogeCDMoE": (
        "its product-key router mixes the logits of different tokens (`view(2, tokens, keys)` on a [tokens, 2 keys] tensor), so "
        "that a token's experts depend on later tokens and on the batch, and no routing belongs to a token"
    ),
    "SwitchTransformersSparseMLP": (
        "it is an encoder-decoder whose experts drop tokens over their capacity; stores, roles and generation here are those of "
        "decoder-only models"
    ),
    "NllbMoeSparseMLP": (
        "it is an encoder-decoder whose experts drop tokens over their capacity; stores, roles and generation here are those of "
        "decoder-only models"
    ),
}

# blocks that transformers declares where the router lies deeper: its path within them, and the experts'
WITHIN = {"Ernie4_5_VLMoeMoeBlock": ("text_moe.gate", "text_moe.experts")}


class AdaptedRouter(nn.Module):
    """An adapter's routing as a module that hooks can be put on. It holds the block without owning its parameters."""

    def __init__(self, adapter: MoEAdapter, block: nn.Module) -> None:
        super().__init__()
        self.adapter, self.held = adapter, (block,)

    def forward(self, hidden: Tensor) -> Routed:
        """Hidden [tokens, hidden] to logits, weights, index."""
        return self.adapter.route(self.held[0], hidden)


class AdaptedExperts(nn.Module):
    """An adapter's experts as a module called like transformers' own: (hidden, index, weights)."""

    def __init__(self, adapter: MoEAdapter, block: nn.Module) -> None:
        super().__init__()
        self.adapter, self.held = adapter, (block,)
        self.on_input = bool(getattr(adapter, "weights_on_input", False))

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of the selected experts' outputs, [tokens, hidden]."""
        out = torch.zeros_like(hidden)
        for number in index.unique().tolist():
            tokens, slots = torch.where(index == number)
            share = weights[tokens, slots, None]
            if self.on_input:
                rows = self._on_input(number, hidden[tokens], share)
            else:
                rows = self.adapter.expert(self.held[0], number, hidden[tokens]) * share
            out.index_add_(0, tokens, rows.to(out.dtype))
        return out

    def _on_input(self, number: int, hidden: Tensor, share: Tensor) -> Tensor:
        rows = self.adapter.expert(self.held[0], number, hidden * share.as_subclass(Tensor))
        sink = getattr(share, "sink", None)
        if sink is not None:  # somebody records: the weight is already in the output
            sink(rows, share.slots.reshape(-1))  # pyright: ignore[reportAttributeAccessIssue]
        return rows


def rerun(adapter: MoEAdapter, block: nn.Module, router: nn.Module, experts: nn.Module, hidden: Tensor) -> Tensor:
    """What the block should output for `hidden` [..., hidden], computed through the adapter, in the shape of `hidden`."""
    rows = hidden.reshape(-1, hidden.shape[-1])
    with brought(block):
        _, weights, index = router(rows)
        return adapter.combine(block, rows, experts(rows, index, weights)).reshape(hidden.shape)
