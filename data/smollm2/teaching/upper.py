"""The layers from the first carrier on, and what comes into them: nothing before a carrier changes, so it is computed once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..precision import quicker
from .carried import Carried

Expert = tuple[int, int]
"""Layer and number."""
_NEVER = -1e9
"""A bias with which no router selects an expert."""


class Upper:
    """A frozen model, in place, some of whose experts may change; `start` is the first layer with one of them."""

    def __init__(self, model: Any, carriers: Iterable[Expert]) -> None:
        self.model, self.carriers = model, sorted(carriers)
        self.start = self.carriers[0][0] if self.carriers else len(model.model.layers)
        for i, layer in enumerate(model.model.layers):
            frozen = getattr(layer.mlp.experts, "frozen", layer.mlp.experts)  # of another `Upper`, whose changes go
            layer.mlp.experts = Carried(frozen, [e for at, e in self.carriers if at == i])

    @property
    def parts(self) -> dict[str, nn.Parameter]:
        """What learns: of each layer with carriers `N.gate_up` and `N.down`."""
        own = {i: self.model.model.layers[i].mlp.experts for i in sorted({layer for layer, _ in self.carriers})}
        return {f"{i}.{name}": getattr(experts, name) for i, experts in own.items() for name in ("gate_up", "down")}

    @torch.no_grad()
    def lower(self, ids: Tensor) -> Tensor:
        """Ids [rows, length], padded on the right, to what comes into the first carrier's layer [rows, length, hidden]."""
        return self._run(self.model.model.embed_tokens(ids), self.model.model.layers[: self.start])

    def said(self, states: Tensor) -> Tensor:
        """From there to what the head reads."""
        return self.model.model.norm(self._run(states, self.model.model.layers[self.start :]))

    def _run(self, states: Tensor, layers: Any) -> Tensor:
        at = torch.arange(states.shape[1])[None]
        turned = self.model.model.rotary_emb(states, at)
        for layer in layers:
            states = layer(states, position_embeddings=turned, attention_mask=None, position_ids=at)
        return states

    @contextmanager
    def without(self, experts: Sequence[Expert]) -> Iterator[None]:
        """While open no router selects these; the next best comes in their place, as `Plan.off` has it."""
        gates = [(self.model.model.layers[i].mlp.gate.e_score_correction_bias, e) for i, e in experts]
        before = [bias[e].clone() for bias, e in gates]
        try:
            for bias, e in gates:
                bias[e] = _NEVER
            yield
        finally:
            for (bias, e), old in zip(gates, before, strict=True):
                bias[e] = old


def opened(base: str) -> tuple[Any, Any]:
    """The model, frozen, and its tokenizer, out of an HF folder or by the name of a bundled checkpoint."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.checkpoints import checkpoint_named, prepared

    folder = base if Path(base).is_dir() else prepared(checkpoint_named(base))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=quicker())
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder)
