"""The routing of one text: a prompt with its answer out of a store, or a typed prompt that the model has just read."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from workbench import MoEModel, Plan, Store, WorkbenchError, read_prompts
from workbench.answering import encode_all
from workbench.backends import Batch, Keep, arm_of, check_keep
from workbench.prompts import ROLES, encode
from workbench.records import Harvest, LayerRecord
from workbench.routing import Dose, DoseCounts, slots_per_token
from workbench.thinking import token_texts

MOST_TOKENS = 4096
"""Of a typed prompt: one reading of so many tokens is a moment, and others wait for their turn at the model."""


class LayerTrace(NamedTuple):
    """One layer: expert [tokens, k] (-1: not routed), weight, and where kept the sizes of outputs (NaN: not kept)."""

    expert: np.ndarray
    weight: np.ndarray
    l2: np.ndarray
    max_abs: np.ndarray


class Trace(NamedTuple):
    """A text and its routing; `n_prompt` tokens were put in, the others are the answer."""

    tokens: tuple[str, ...]
    roles: tuple[str, ...]
    n_prompt: int
    layers: Mapping[int, LayerTrace]
    dose: DoseCounts | None = None

    def at(self, layer: int, position: int) -> list[tuple[int, float, float, float]]:
        """(expert, weight, l2, max_abs) of one token in one layer, the largest weight first; empty where not routed."""
        found = self.layers[layer]
        rows = zip(*(part[position].tolist() for part in found), strict=True)
        return sorted((row for row in rows if row[0] >= 0), key=lambda row: -row[1])


def stored_trace(store: Store, prompt: str, sample: int) -> Trace:
    """One response of a store."""
    tokens: Any = store.tokens
    tokens = tokens[(tokens["prompt_id"] == prompt) & (tokens["sample"] == sample)]
    if tokens.empty:
        raise WorkbenchError(f"This store has no sample {sample} of the prompt '{prompt:.60}'; choose another.")
    texts = [t if isinstance(t, str) else f"#{i} " for t, i in zip(tokens["token"], tokens["token_id"], strict=True)]
    n_prompt = int(store.prompts.set_index("prompt_id").loc[prompt, "n_tokens"])  # pyright: ignore[reportArgumentType]
    slots: Any = store.slots_of(prompt, sample).groupby("layer")
    layers = {layer: _layer(rows, len(texts)) for layer, rows in slots}
    return Trace(tuple(texts), tuple(map(str, tokens["role"])), n_prompt, layers)  # pyright: ignore[reportArgumentType]


def _layer(rows: pd.DataFrame, n_tokens: int) -> LayerTrace:
    shape = (n_tokens, int(rows["slot"].to_numpy().max()) + 1)
    at = rows["position"].to_numpy(), rows["slot"].to_numpy()
    filled = {"expert": np.full(shape, -1), "weight": np.zeros(shape)}
    filled |= {name: np.full(shape, np.nan) for name in ("output_l2", "output_max_abs")}
    for name, values in filled.items():
        values[at] = rows[name]
    return LayerTrace(*filled.values())


def typed_trace(model: MoEModel, text: str, *, as_chat: bool, plan: Plan | None = None) -> Trace:
    """A prompt that is read once, under `plan` if one is given. Hold the model's turn meanwhile.

    Raises `WorkbenchError` for a prompt that is empty or does not fit, and an impossible plan.
    """
    prompts = read_prompts([{"prompt" if as_chat else "text": text}])
    ids = encode_all(model, prompts, 0)[0]
    if len(ids) > MOST_TOKENS:
        raise WorkbenchError(
            f"The prompt has {len(ids):,} tokens, and this page reads {MOST_TOKENS:,} at most; shorten it."
        )
    roles = tuple(ROLES[code] for code in encode(model.tokenizer, prompts)[0].roles)
    dose = Dose() if plan else None
    found = read_tokens(model, ids, plan, dose)
    texts = tuple(token_texts(model.tokenizer, np.asarray(ids)))
    return Trace(texts, roles, len(ids), found, dose.counts() if dose else None)


def read_tokens(model: MoEModel, ids: Sequence[int], plan: Plan | None, dose: Dose | None) -> dict[int, LayerTrace]:
    (backend, compiled), harvest = arm_of(model, plan), Harvest()
    keep = Keep(frozenset({"norms"}) & (backend.can.keep or frozenset()))
    check_keep(backend, keep.what)
    if dose is not None:
        dose.slots_per_token = slots_per_token(model.anatomy)
    with closing(backend.run(Batch([ids]), compiled, keep=keep, dose=dose)) as portions:
        for portion in portions:
            assert portion.record is not None
            harvest.add(portion.record, portion.where)
    found = harvest.finish()
    found.ready()
    return {layer: recorded_layer(record) for layer, record in found.layers.items()}


def recorded_layer(record: LayerRecord) -> LayerTrace:
    nothing = torch.full_like(record.weight, float("nan"))  # an engine need not tell sizes
    parts = (record.weight, record.output_l2, record.output_max_abs)
    numbers = ((nothing if part is None else part).float().numpy() for part in parts)
    return LayerTrace(record.index.long().numpy(), *numbers)
