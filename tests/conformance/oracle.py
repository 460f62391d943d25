"""What a model should do, told without workbench: modules found by name, own hooks, a float64 loop over experts.

`Oracle(hf)` runs the bare model with hooks of its own and says for each MoE layer what entered the experts, what each expert
says about each token (the family's own experts module in float64, one expert at a time with weight 1), and what the router
should answer under edits (`tests.conformance.rules`). `injected` runs the model with that answer put in place by hand.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from tests.conformance.rules import ALL_RULES, CORRECTIONS, size
from tests.support.agreement import ROUNDED
from tests.support.reference import Edits
from tests.support.routing_rules import Choice, Token

_NOT_TEXT = re.compile(r"vision|visual|audio|sam_|encoder|mtp")


def family_of(hf: Any) -> str:
    return hf.config.name_or_path.removeprefix("tiny/")


def decoder_layers(hf: Any) -> nn.ModuleList:
    """The text decoder's layers: the list whose name says nothing of images and whose length the config states."""
    n = hf.config.get_text_config().num_hidden_layers
    lists = [(k, m) for k, m in hf.named_modules() if isinstance(m, nn.ModuleList) and not _NOT_TEXT.search(k)]
    if family_of(hf) == "longcat_flash":
        n //= 2  # it counts its two attentions as two layers
    return next(m for k, m in lists if k.split(".")[-1] in ("layers", "blocks") and len(m) == n)


def block_in(layer: nn.Module) -> Any:
    """The module with a router and experts in a decoder layer, or None."""
    for name, module in layer.named_modules():
        if type(module).__name__ == "JetMoeMoE":
            return module
        if hasattr(module, "experts") and any(hasattr(module, n) for n in ("gate", "router")) and "vision" not in name:
            return module
    return None


class Layer:
    """One MoE layer seen from outside."""

    def __init__(self, hf: Any, number: int, decoder: nn.Module, block: Any) -> None:
        self.hf, self.number, self.decoder, self.block = hf, number, decoder, block
        self.family, self.config = family_of(hf), hf.config.get_text_config()
        self.router = block.gate if hasattr(block, "gate") else block.router
        self.outer = next((m for m in decoder.modules() if getattr(m, "text_moe", None) is block), block)
        self.block_input = self.expert_input = self.routed = self.index = self.weights = self.logits = torch.zeros(0)

    @property
    def is_adapted(self) -> bool:
        """Whether the experts module is not called with (hidden, index, weights)."""
        return self.family in ("llama4", "llama4_text", "dbrx", "jetmoe")

    @property
    def has_rule(self) -> bool:
        """Whether logits alone decide: not inkling's, nor a table of token ids."""
        return self.family in ALL_RULES and "Hash" not in type(self.router).__name__

    @property
    def k(self) -> int:
        names = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
        held = self.config if self.family != "dbrx" else None
        return (
            self.hf.config.ffn_config.moe_top_k
            if held is None
            else next(v for v in (getattr(held, n, None) for n in names) if v)
        )

    @property
    def n_experts(self) -> int:
        """By the config."""
        names = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
        held = self.config if self.family != "dbrx" else self.hf.config.ffn_config
        n = next(v for v in (getattr(held, x, None) for x in names) if v)
        return n + (getattr(held, "zero_expert_num", 0) or 0)

    @property
    def correction(self) -> list[float] | None:
        """The correction bias as numbers."""
        found: Any = self.block
        for part in CORRECTIONS.get(self.family, "gate.e_score_correction_bias").split("."):
            found = getattr(found, part, None)
        return None if found is None else found.detach().double().reshape(-1).tolist()

    # ---- experts, in float64

    @cached_property
    def _double(self) -> Any:
        experts = copy.deepcopy(self.block if self.is_adapted else self.block.experts).double()
        for module in experts.modules():  # whatever watches the model does not watch its copy
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
        config = getattr(experts, "config", None)
        if config is not None:
            config._experts_implementation = "eager"
        return experts

    @torch.no_grad()
    def expert(self, e: int, x: Tensor) -> Tensor:
        """Expert e's own output on every row of x [rows, width], float64."""
        experts, x = self._double, x.double()
        if self.family in ("llama4", "llama4_text"):
            both = torch.einsum("th,hf->tf", x, experts.experts.gate_up_proj[e])
            gate, up = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]
            return (gate * gate.sigmoid() * up) @ experts.experts.down_proj[e]
        if self.family == "dbrx":
            width = self.hf.config.ffn_config.ffn_hidden_size
            w1, v1, w2 = (getattr(experts.experts.mlp, n)[e * width : (e + 1) * width] for n in ("w1", "v1", "w2"))
            gate = x @ w1.T
            return (gate * gate.sigmoid() * (x @ v1.T)) @ w2
        if self.family == "jetmoe":
            both = x @ experts.input_linear.weight[e].T
            gate, up = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]
            return (gate * gate.sigmoid() * up) @ experts.output_linear.weight[e].T
        # a second slot of weight 0: longcat's own loop cannot do with one
        index = torch.tensor([[e, (e + 1) % self.n_experts]]).expand(len(x), 2)
        return experts(x, index, torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(x), 2))

    @cached_property
    def expert_outputs(self) -> Tensor:
        """[tokens, experts, width] in float64. For llama4 of the input times its weight, by which experts see it."""
        weights, scaled = self.received(), self.family.startswith("llama4")
        rows = [
            self.expert(e, self.expert_input * weights[:, e : e + 1] if scaled else self.expert_input)
            for e in range(self.n_experts)
        ]
        return torch.stack(rows, 1)

    def by_expert(self, index: Tensor, weights: Tensor) -> Tensor:
        """[tokens, experts] float64, 0 where not selected."""
        out = torch.zeros(len(index), self.n_experts, dtype=torch.float64)
        return out.scatter_add_(1, index, weights.double())

    def received(self) -> Tensor:
        """Weights by expert that the model's own experts got; by the rule where no module is called with them."""
        if self.is_adapted and self.family != "dbrx":
            return self.answer(Edits())[0]
        return self.by_expert(self.index, self.weights)

    # ---- the router, one token at a time

    def choice(self, logits: list[float], edits: Edits) -> Choice:
        """What the router should answer for one token, with drop and scale applied."""
        biased = [x + edits.bias.get(e, 0.0) for e, x in enumerate(logits)]
        token = Token(biased, edits.off, edits.force)
        weights, gap = ALL_RULES[self.family](token, self.k, self.config, self.correction)
        if self.family in ("gemma4", "gemma4_text"):
            scale = self.block.router.per_expert_scale.detach().double()
            weights = {e: w * scale[e].item() for e, w in weights.items()}
        weights = {e: w for e, w in weights.items() if e < self.n_experts}  # the class that skips is no expert
        total, gone = sum(weights.values()), edits.drop & set(weights)
        if gone:
            left = sum(w for e, w in weights.items() if e not in gone)
            weights = {e: 0.0 if e in gone or not left else w * total / left for e, w in weights.items()}
        return Choice({e: w * edits.scale.get(e, 1.0) for e, w in weights.items()}, gap)

    def answer(self, edits: Edits) -> tuple[Tensor, Tensor]:
        """Weights by expert [tokens, experts] and margins [tokens], from the logits seen last."""
        out, gaps = torch.zeros(len(self.logits), self.n_experts, dtype=torch.float64), []
        for t, row in enumerate(self.logits.double().tolist()):
            found = self.choice(row, edits)
            gaps.append(found.margin)
            for e, w in found.weights.items():
                out[t, e] = w
        return out, torch.tensor(gaps)

    def gap(self, logits: list[float], edits: Edits, dtype: str) -> float:
        """By how much one token's selection is decided, in units of what rounding can close: 1 is no tie."""
        token = Token(logits, edits.off, edits.force)
        return self.choice(logits, edits).margin / (ROUNDED[dtype] * size(self.family, token))

    def clear(self, edits: Edits, dtype: str) -> Tensor:
        """Tokens whose selection no rounding can change, bool [tokens], from the logits seen last; at least half of them."""
        found = torch.tensor([self.gap(row, edits, dtype) > 1 for row in self.logits.double().tolist()])
        assert found.double().mean() >= 0.5, f"layer {self.number}: {int(found.sum())} of {len(found)} tokens are clear"
        return found

    def routed_under(self, edits: Edits) -> Tensor:
        """The routed experts' sum [tokens, width] in float64 under edits of every kind."""
        weights, _ = self.answer(edits)
        total = torch.zeros(weights.shape[0], self.expert_input.shape[-1], dtype=torch.float64)
        on_input = self.family.startswith("llama4")
        for e in (weights != 0).any(0).nonzero()[:, 0].tolist():
            if e in edits.mute:
                continue
            share = weights[:, e : e + 1]
            if e in edits.replace:
                total += share * edits.replace[e].double()
            elif on_input:
                total += self.expert(e, self.expert_input.double() * share)
            else:
                total += share * self.expert(e, self.expert_input)
        return total


class Oracle:
    """The MoE layers of a model, and the model run with hooks of one's own."""

    def __init__(self, hf: Any) -> None:
        self.hf, self.family = hf, family_of(hf)
        self.decoders = list(decoder_layers(hf))
        found = {n: block_in(d) for n, d in enumerate(self.decoders)}
        self.layers = {n: Layer(hf, n, self.decoders[n], b) for n, b in found.items() if b is not None}

    @torch.no_grad()
    def run(self, ids: Tensor, **options: Any) -> Tensor:
        """The bare model's logits; each layer remembers what entered and left its router and experts."""
        with ExitStack() as stack:
            for layer in self.layers.values():
                self._watch(stack, layer)
            return self.hf(ids, use_cache=False, **options).logits

    def _watch(self, stack: ExitStack, layer: Layer) -> None:
        for name in ("expert_outputs",):
            layer.__dict__.pop(name, None)

        def on_router(module: Any, args: Any, out: Any) -> None:
            first = out[1] if layer.family.startswith("llama4") else out[-1] if layer.family == "jetmoe" else out
            first = first[0] if isinstance(first, tuple) else first
            layer.logits = (first.log() if layer.family.startswith("gemma4") else first).detach().float()
            if layer.family in ("dbrx", "jetmoe") or layer.family.startswith("llama4"):
                layer.expert_input = layer.block_input = args[0].detach().reshape(-1, args[0].shape[-1])

        def on_experts(module: Any, args: Any, kwargs: Any) -> None:
            hidden, layer.index, layer.weights = [*args, *kwargs.values()][:3]
            layer.expert_input = hidden.detach().reshape(-1, hidden.shape[-1])

        def on_routed(module: Any, args: Any, out: Any) -> None:
            layer.routed = out.detach()

        stack.callback(layer.router.register_forward_hook(on_router).remove)
        if not layer.is_adapted or layer.family == "dbrx":
            stack.callback(layer.block.experts.register_forward_pre_hook(on_experts, with_kwargs=True).remove)
            stack.callback(layer.block.experts.register_forward_hook(on_routed).remove)

    def watched(self, stack: ExitStack) -> dict[int, Tensor]:
        """Watches all layers until `stack` closes; of those without a rule what the router itself answers, [rows, experts]."""
        own = dict[int, Tensor]()
        for n, layer in self.layers.items():
            self._watch(stack, layer)
            if not layer.has_rule:
                hook = layer.router.register_forward_hook(
                    lambda m, a, out, n=n, layer=layer: own.__setitem__(n, layer.by_expert(out[2], out[1]))
                )
                stack.callback(hook.remove)
        return own

    @contextmanager
    def injected(self, number: int, edits: Edits) -> Iterator[None]:
        """The model with the oracle's own routed sum in place of the layer's, for any edits."""
        layer = self.layers[number]

        def put(module: Any, args: Any, out: Any) -> Any:
            new = layer.routed_under(edits)
            if layer.is_adapted and layer.family != "dbrx":
                return self._around(layer, args, out, new)
            return new.to(out.dtype).reshape(out.shape)

        with ExitStack() as stack:
            self._watch(stack, layer)
            place = layer.block if layer.is_adapted and layer.family != "dbrx" else layer.block.experts
            stack.callback(place.register_forward_hook(put).remove)
            yield

    def _around(self, layer: Layer, args: Any, out: Any, routed: Tensor) -> Any:
        block, own = layer._double, out[0] if isinstance(out, tuple) else out
        beside = block.bias if layer.family == "jetmoe" else block.shared_expert(layer.expert_input.double())
        new = routed + beside
        new = new.to(own.dtype).reshape(own.shape)
        return (new, *out[1:]) if isinstance(out, tuple) else new
