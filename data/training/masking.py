"""Routing as if some experts did not exist, for training and as a check that shares no code with the workbench."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import Qwen3MoeForCausalLM

from training.model import EXPERTS, LAYERS, TOP_K, router_of

Experts = frozenset[tuple[int, int]]


class Masker:
    """Holds a [layers, experts] bool table of experts that are off, and the routers' post-hooks that obey it.

    The hooks also keep the last forward's router logits, [tokens, experts] a layer, and indices, [tokens, k].
    """

    def __init__(self, model: Qwen3MoeForCausalLM) -> None:
        self.off = torch.zeros(LAYERS, EXPERTS, dtype=torch.bool)
        self.spared: Experts = frozenset()
        self.logits: dict[int, torch.Tensor] = {}
        self.index: dict[int, torch.Tensor] = {}
        self.handles = [router_of(model, layer).register_forward_hook(self._hook(layer)) for layer in range(LAYERS)]

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self.handles:
            handle.remove()

    def _hook(self, layer: int):
        def masked(module, args, output):
            logits = output[0]
            self.logits[layer], self.index[layer] = logits, output[2]
            if not self.off[layer].any():
                return None
            open_logits = logits.masked_fill(self.off[layer], float("-inf"))
            weights, index = torch.softmax(open_logits.float(), dim=-1).topk(TOP_K, dim=-1)
            self.index[layer] = index
            return logits, (weights / weights.sum(-1, keepdim=True)).to(output[1].dtype), index

        return masked

    def drop_random(self, share: float, generator: torch.Generator) -> None:
        """Switch a random share of all experts off, as training does to keep the others from relying on any one."""
        self.off = torch.rand(LAYERS, EXPERTS, generator=generator) < share
        for layer, expert in self.spared:
            self.off[layer, expert] = False

    @contextmanager
    def without(self, experts: Experts) -> Iterator[None]:
        """With these (layer, expert) off."""
        before = self.off
        self.off = torch.zeros(LAYERS, EXPERTS, dtype=torch.bool)
        for layer, expert in experts:
            self.off[layer, expert] = True
        try:
            yield
        finally:
            self.off = before
