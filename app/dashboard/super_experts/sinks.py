"""How much attention the first token gets, layer by layer, with and without some experts muted.

Attention sinks rest on massive activations, which super experts write: muting those should let the sinks decay
(arXiv 2507.23279). The weights exist only under eager attention, so the model is switched to it for the measurement.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from workbench import Plan, Store, WorkbenchError, steered
from workbench.routing import Dose, DoseCounts

if TYPE_CHECKING:
    from workbench import MoEModel

LONGEST = 128  # tokens of a prompt: eager attention keeps layers x heads x tokens x tokens


class Sinks(NamedTuple):
    """Share of attention on the first token, mean over prompts, heads and the tokens after the first; one per layer."""

    layers: tuple[str, ...]
    base: np.ndarray
    muted: np.ndarray
    dose: DoseCounts
    plan: str


def prompt_ids(store: Store, n: int) -> list[list[int]]:
    """The first n prompts of the store as token ids, cut to `LONGEST`."""
    tokens: Any = store.tokens
    if tokens["token_id"].isna().all():
        raise WorkbenchError("This store was captured without text, so its prompts are unknown; choose another store.")
    chosen, length = store.prompt_ids[:n], dict(zip(store.prompts["prompt_id"], store.prompts["n_tokens"], strict=True))
    first = tokens[tokens["prompt_id"].isin(chosen) & (tokens["sample"] == 0)]
    found = {name: rows["token_id"].astype(int).tolist() for name, rows in first.groupby("prompt_id", observed=True)}
    return [ids for name in chosen if len(ids := found.get(name, [])[: min(length[name], LONGEST)]) > 1]


def measure(model: "MoEModel", prompts: Sequence[Sequence[int]], plan: Plan, step: Callable[[float], None]) -> Sinks:
    """Runs each prompt twice. The caller holds the model's turn. `step` hears the share done, and may raise to stop.

    Raises `WorkbenchError` when the model has no attention weights to give.
    """
    if not prompts:
        raise WorkbenchError("No prompt of this store has two tokens or more; choose another store.")
    dose, base, muted = Dose(), [], []
    with _eager(model):
        for i, ids in enumerate(prompts):
            step(i / len(prompts))
            base.append(_shares(model, ids))
            with steered(model, plan, dose=dose):
                muted.append(_shares(model, ids))
    names = _names(model, len(base[0]))
    return Sinks(names, np.mean(base, axis=0), np.mean(muted, axis=0), dose.counts(), str(plan))


@contextmanager
def _eager(model: "MoEModel") -> "Iterator[None]":
    """Eager attention inside, what it was before outside; for models of several parts, each part's own."""
    config, before = model.hf.config, _implementations(model.hf.config)
    try:
        model.hf.set_attn_implementation("eager")
        yield
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise WorkbenchError(f"{_NONE.format(model.anatomy.model)} ({type(error).__name__}).") from error
    finally:
        if _implementations(config) != before:
            model.hf.set_attn_implementation(before)


_NONE = "The attention weights of {} cannot be had, so its attention sinks cannot be measured"


def _implementations(config: Any) -> dict[str, str]:
    """The attention of the model ("") and of each part that has its own config."""
    parts = {name: getattr(config, name, None) for name in getattr(config, "sub_configs", {})}
    found = {"": config} | {name: part for name, part in parts.items() if part is not None}
    return {name: part._attn_implementation for name, part in found.items()}


@torch.no_grad()
def _shares(model: "MoEModel", ids: Sequence[int]) -> np.ndarray:
    """[attention layers] mean weight on the first token, over heads and the queries after it."""
    given = torch.tensor([list(ids)], device=model.device)
    weights = model.hf(input_ids=given, output_attentions=True, use_cache=False).attentions
    found = [w for w in weights or () if w is not None and w.dim() == 4]
    if not found:
        raise WorkbenchError(f"{_NONE.format(model.anatomy.model)} (it returned none).")
    return np.array([float(w[..., 1:, 0].float().mean()) for w in found])


def _names(model: "MoEModel", n: int) -> tuple[str, ...]:
    """Which layers the weights belong to: all of them, or where linear attention is mixed in those with weights."""
    config = model.hf.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or []
    full = [i for i, kind in enumerate(kinds) if "linear" not in kind and "conv" not in kind and "mamba" not in kind]
    if n == len(model.anatomy.layers):
        return tuple(map(str, range(n)))
    return tuple(map(str, full)) if len(full) == n else tuple(f"attention {i}" for i in range(n))
