"""A dense model's neurons in groups, as a store: what each group adds to the residual stream. No part of the product makes it.

A group is what a routed expert that is always on would be. Behind Gemma's MLP stands a norm; what a group adds is then its
output times the scale that the norm gave the whole, which sums to what the layer really added.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.store import Store, write_store


def dealt(neurons: int, groups: int, seed: int) -> Tensor:
    """Neuron numbers, [groups, neurons in a group]."""
    return torch.randperm(neurons, generator=torch.Generator().manual_seed(seed)).reshape(groups, -1)


def added(layer: Any, inner: Tensor, members: Tensor) -> Tensor:
    """What each group adds to the residual stream: [groups, tokens, hidden]. inner: the MLP's neurons [tokens, neurons]."""
    down = layer.mlp.down_proj.weight
    parts = torch.stack([inner[:, m] @ down[:, m].T for m in members])
    norm = getattr(layer, "post_feedforward_layernorm", None)
    if norm is None:
        return parts
    whole = parts.sum(0)
    return parts * torch.rsqrt(whole.square().mean(-1, keepdim=True) + norm.eps) * (1 + norm.weight)


def groups_store(path: Path, model: Any, texts: Sequence[Tensor], members: Sequence[Tensor]) -> Store:
    """A store of `texts` (ids [1, tokens]) with a group for an expert; members: by layer."""
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in ("prompts", "tokens", "slots", "residual")}
    for number, ids in enumerate(texts):
        n, name = ids.shape[1], f"p{number}"
        key = {"prompt_id": name, "sample": 0, "position": range(n)}
        tables["prompts"].append(pd.DataFrame([{"prompt_id": name, "text": "", "n_tokens": n}]))
        tables["tokens"].append(
            pd.DataFrame({**key, "token_id": ids[0], "token": "", "role": "user", "generated": False})
        )
        inner, states = _watched(model, ids)
        for i, state in enumerate(states, -1):
            size = state.abs()
            more = {"l2": state.norm(dim=-1), "max_abs": size.amax(-1), "median_abs": size.median(-1).values}
            tables["residual"].append(pd.DataFrame({**key, "layer": i, **more, "argmax": size.argmax(-1)}))
        for i, layer in enumerate(model.model.layers):
            for group, part in enumerate(added(layer, inner[i], members[i])):
                more = {"slot": group, "expert": group, "weight": 1.0, "output_max_abs": part.abs().amax(-1)}
                norms = {"output_l2": part.norm(dim=-1), "output_argmax": part.abs().argmax(-1)}
                tables["slots"].append(pd.DataFrame({**key, "layer": i, **more, **norms}))
    layers = tuple(LayerAnatomy(i, len(m), len(m), 0) for i, m in enumerate(members))
    anatomy = Anatomy("dense", "groups", model.config.hidden_size, model.config.vocab_size, "w", layers)
    return write_store(path, anatomy, {name: pd.concat(parts) for name, parts in tables.items()})


@torch.no_grad()
def _watched(model: Any, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The MLPs' neurons by layer, [tokens, neurons]; the residual stream after the embedding and each layer."""
    inner: list[Tensor] = []
    states: list[Tensor] = []
    layers = model.model.layers
    first = layers[0].register_forward_pre_hook(lambda m, given: states.append(given[0][0].clone()))
    hooks = [x.register_forward_hook(lambda m, given, out: states.append(_tensor(out)[0].clone())) for x in layers]
    hooks += [x.mlp.down_proj.register_forward_pre_hook(lambda m, given: inner.append(given[0][0])) for x in layers]
    model(ids)
    for hook in (first, *hooks):
        hook.remove()
    return inner, states


def _tensor(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


@contextmanager
def muted(model: Any, members: Sequence[Tensor], groups: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Without what (layer, group) adds; what the other groups add stays as it was, norm or no norm."""
    hooks = [
        _muted(model.model.layers[i], members[i][[g for x, g in groups if x == i]]) for i in {x for x, _ in groups}
    ]
    try:
        yield
    finally:
        for hook in [h for pair in hooks for h in pair]:
            hook.remove()


def _muted(layer: Any, members: Tensor) -> tuple[Any, Any]:
    seen: list[Tensor] = []
    everyone = torch.arange(layer.mlp.down_proj.weight.shape[1])
    rest = everyone[~torch.isin(everyone, members)]
    both = [members.reshape(-1), rest]

    def after(module: Any, given: Any, out: Tensor) -> Tensor:
        inner = seen.pop()
        return out - torch.stack([added(layer, row, both)[0] for row in inner])

    norm = getattr(layer, "post_feedforward_layernorm", layer.mlp)
    watch: Callable[..., None] = lambda module, given: seen.append(given[0])  # noqa: E731
    return layer.mlp.down_proj.register_forward_pre_hook(watch), norm.register_forward_hook(after)


@torch.no_grad()
def writers(model: Any, ids: Tensor) -> dict[tuple[int, int], float]:
    """What every neuron writes at the first token into the channel that is largest there: (layer, neuron) to |value|.

    Neuron by neuron, from the weights; those below 1 are left out.
    """
    inner, states = _watched(model, ids)
    found: dict[tuple[int, int], float] = {}
    for i, layer in enumerate(model.model.layers):
        channel, down, first = int(states[i + 1][0].abs().argmax()), layer.mlp.down_proj.weight, inner[i][0]
        wrote, whole = first * down[channel], first @ down.T
        norm = getattr(layer, "post_feedforward_layernorm", None)
        if norm is not None:
            wrote = wrote * (1 + norm.weight[channel]) / (whole.square().mean() + norm.eps).sqrt()
        found |= {(i, int(n)): float(wrote[n].abs()) for n in (wrote.abs() > 1).nonzero()[:, 0]}
    return found
