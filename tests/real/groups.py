"""A dense model's neurons in groups, as a store: what each group adds to the residual stream. No part of the product makes it.

A group is what a routed expert that is always on would be, or a shared one. Behind Gemma's MLP stands a norm; what a group adds
is then its output times the scale that the norm gave the whole, which sums to what the layer really added.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.store import Store, write_store

Groups = Sequence[Tensor] | Tensor
"""The neuron numbers of every group of a layer."""


class Watched(NamedTuple):
    """What a dense model did on some texts, which one forward of each tells for all groupings."""

    texts: list[Tensor]  # ids, [1, tokens]
    inner: list[Tensor]  # the MLPs' neurons by layer, [tokens of all texts, neurons]
    states: list[Tensor]  # the residual stream after the embedding and each layer, [tokens of all texts, hidden]


def dealt(neurons: int, groups: int, seed: int) -> Tensor:
    """Neuron numbers, [groups, neurons in a group]."""
    return torch.randperm(neurons, generator=torch.Generator().manual_seed(seed)).reshape(groups, -1)


def added(layer: Any, inner: Tensor, members: Groups) -> Tensor:
    """What each group adds to the residual stream: [groups, tokens, hidden]. inner: the MLP's neurons [tokens, neurons]."""
    down = layer.mlp.down_proj.weight
    parts = torch.stack([inner[:, m] @ down[:, m].T for m in members])
    norm = getattr(layer, "post_feedforward_layernorm", None)
    if norm is None:
        return parts
    whole = parts.sum(0)
    return parts * torch.rsqrt(whole.square().mean(-1, keepdim=True) + norm.eps) * (1 + norm.weight)


@torch.no_grad()
def groups_store(path: Path, model: Any, seen: Watched, members: Sequence[Groups], shared: int = 0) -> Store:
    """A store with a group for an expert; members: by layer, none of a dense layer. The last `shared` of a layer are shared."""
    names = [f"p{number}" for number in range(len(seen.texts))]
    lengths = [ids.shape[1] for ids in seen.texts]
    key = {
        "prompt_id": np.repeat(names, lengths),
        "sample": 0,
        "position": np.concatenate([np.arange(n) for n in lengths]),
    }
    told = {"token_id": torch.cat(seen.texts, 1)[0].numpy(), "token": "", "role": "user", "generated": False}
    residual = [_sizes(state, "") | {"median_abs": state.abs().median(-1).values.numpy()} for state in seen.states]
    moe = [i for i, m in enumerate(members) if len(m)]
    slots = [_sizes(added(model.model.layers[i], seen.inner[i], members[i]).flatten(0, 1), "output_") for i in moe]
    numbers = [_numbers(len(members[i]), shared) for i in moe]
    tables = {
        "prompts": pd.DataFrame({"prompt_id": names, "text": "", "n_tokens": lengths}),
        "tokens": pd.DataFrame(key | told),
        "residual": _table(key, range(-1, len(members)), residual),
        "slots": _table(key, moe, slots, numbers).assign(weight=1.0),
    }
    layers = tuple(
        LayerAnatomy(i, len(m) - shared, len(m) - shared, shared) if len(m) else LayerAnatomy(i)
        for i, m in enumerate(members)
    )
    anatomy = Anatomy("dense", "groups", model.config.hidden_size, model.config.vocab_size, "w", layers)
    return write_store(path, anatomy, tables)


def _numbers(groups: int, shared: int) -> np.ndarray:
    """Each group's number in a store: shared experts are -1, -2, ..."""
    return np.concatenate([np.arange(groups - shared), -1 - np.arange(shared)])


def _table(key: dict[str, Any], layers: Iterable[int], parts: list[Any], numbers: list[Any] | None = None) -> Any:
    """The rows of all layers, by layer, group and token."""
    n = len(key["prompt_id"])
    groups = [1] * len(parts) if numbers is None else [len(x) for x in numbers]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns |= {name: np.tile(values, sum(groups)) if np.ndim(values) else values for name, values in key.items()}
    columns["layer"] = np.repeat(list(layers), [n * g for g in groups])
    if numbers is not None:
        columns["slot"] = columns["expert"] = np.repeat(np.concatenate(numbers), n)
    return pd.DataFrame(columns)


def _sizes(rows: Tensor, before: str) -> dict[str, Any]:
    largest = rows.abs().max(-1)
    found = {"l2": rows.norm(dim=-1), "max_abs": largest.values, "argmax": largest.indices}
    return {before + name: values.numpy() for name, values in found.items()}


@torch.no_grad()
def watched(model: Any, texts: Sequence[Tensor]) -> Watched:
    """One forward of every text (ids [1, tokens]) by itself, watched."""
    parts = [_forward(model, ids) for ids in texts]
    inner, states = ([torch.cat(x) for x in zip(*side, strict=True)] for side in zip(*parts, strict=True))
    return Watched(list(texts), inner, states)


def _forward(model: Any, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
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
    inner, states = _forward(model, ids)
    found: dict[tuple[int, int], float] = {}
    for i, layer in enumerate(model.model.layers):
        channel, down, first = int(states[i + 1][0].abs().argmax()), layer.mlp.down_proj.weight, inner[i][0]
        wrote, whole = first * down[channel], first @ down.T
        norm = getattr(layer, "post_feedforward_layernorm", None)
        if norm is not None:
            wrote = wrote * (1 + norm.weight[channel]) / (whole.square().mean() + norm.eps).sqrt()
        found |= {(i, int(n)): float(wrote[n].abs()) for n in (wrote.abs() > 1).nonzero()[:, 0]}
    return found
