"""What switching single experts off does to the loss on text: a row for every expert and document, kept as it is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from workbench import ExpertRef, Plan, steered
from workbench.model import MoEModel

BANDS, LEVELS, DRAWN = 10, 5, 2
"""Strata: bands of layers by depth, levels of load within a band, and experts of each: 100 in all."""
_BATCH = 8


def drawn(load: np.ndarray, seed: int = 0) -> list[ExpertRef]:
    """DRAWN experts of every stratum, by depth; load [layers, experts] is each expert's share of its layer's selections."""
    drawing, found = np.random.default_rng(seed), list[ExpertRef]()
    for layers in np.array_split(np.arange(len(load)), min(BANDS, len(load))):
        by_load = np.argsort(load[layers], axis=None, kind="stable")
        for level in np.array_split(by_load, LEVELS):
            at = np.unravel_index(drawing.choice(level, DRAWN, replace=False), load[layers].shape)
            found += [ExpertRef(int(layers[layer]), int(expert)) for layer, expert in zip(*at, strict=True)]
    return sorted(found)


def effects(model: MoEModel, experts: list[ExpertRef], rows: Mapping[str, Tensor], kept: Path) -> pd.DataFrame:
    """layer, expert, kind, document, nats: what the loss on a document rises by with the expert off, in nats a token.

    kept  the same as a Parquet file, written after every expert; those that it holds are not measured again
    """
    found = pd.read_parquet(kept) if kept.exists() else pd.DataFrame({"layer": [], "expert": []})
    done = set(zip(found["layer"].astype(int), found["expert"].astype(int), strict=True))
    todo = [ref for ref in experts if (ref.layer, ref.expert) not in done]
    before = {kind: Read(model, ids) for kind, ids in rows.items()} if todo else {}
    for ref in tqdm(todo, desc="experts off", unit="expert"):
        with steered(model, Plan.off([ref])):
            own = [pd.DataFrame(row) for row in _rises(ref, before)]
        found = pd.concat([found, *own] if len(found) else own, ignore_index=True)
        found.to_parquet(kept, compression="zstd")
    return found


def _rises(ref: ExpertRef, before: Mapping[str, Read]) -> Iterator[dict[str, object]]:
    for kind, read in before.items():
        rise = (read.nats(ref.layer) - read.bare).astype(np.float32)
        yield {"layer": ref.layer, "expert": ref.expert, "kind": kind, "document": range(len(rise)), "nats": rise}


class Read:
    """Rows of text read once by the bare model, and from a layer on again: what lies below an edit stays as it was."""

    def __init__(self, model: MoEModel, ids: Tensor) -> None:
        """ids: [rows, length]."""
        self.hf: Any = model.hf
        self.ids = ids
        self.into: list[list[Tensor]] = []
        """What goes into each layer, by batch [batch, length, hidden]."""
        with torch.no_grad():
            for part in ids.split(_BATCH):
                self.into.append(list(self.hf(part, use_cache=False, output_hidden_states=True).hidden_states))
        self.bare = self.nats(0)

    @torch.no_grad()
    def nats(self, layer: int) -> np.ndarray:
        """Nats a predicted token of each row [rows], with decoder layers from this one on forwarded as they are now."""
        decoder, whole = self.hf.model, self.hf.model.layers
        decoder.layers = whole[layer:]
        try:
            parts = zip(self.into, self.ids.split(_BATCH), strict=True)
            return torch.cat([self._of_batch(into[layer], ids) for into, ids in parts]).numpy()
        finally:
            decoder.layers = whole

    def _of_batch(self, into: Tensor, ids: Tensor) -> Tensor:
        logits = self.hf(inputs_embeds=into, use_cache=False).logits[:, :-1].float()
        return cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").double().mean(1)
