"""Requests of a server as rows of a store's tables: routing and positions, and without text nothing that tells what was said."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from workbench.capturing.rows import BatchRows, token_rows
from workbench.model import Facts
from workbench.prompts import ROLES
from workbench.records import Chunk, LayerRecord
from workbench.serving.server import Captured
from workbench.shards import Build, conform_frame
from workbench.thinking import token_texts

LIVE_TABLES = ("prompts", "labels", "tokens", "slots", "nonfinite")


class LiveRows:
    """Requests as rows of the store's tables."""

    def __init__(self, requests: Sequence[Captured], facts: Facts, *, text: bool) -> None:
        self.requests, self.facts, self.text = requests, facts, text
        self.names = pa.array([one.name for one in requests], pa.string())
        self.pieces = [one.rows for one in requests if one.rows is not None]

    def builds(self) -> dict[str, Build]:
        """What makes each of `LIVE_TABLES`, for a shard's writer."""
        n = len(self.requests)
        sequence = np.repeat(np.arange(n), [len(piece.positions) for piece in self.pieces])
        position = self._joined([piece.positions for piece in self.pieces])
        layers = {number: self._layer(number) for number in self.facts.anatomy.moe_layers}
        chunk = Chunk(sequence, position, layers, {}, lambda: None)
        batch = BatchRows(chunk, self.names, np.arange(n), np.zeros(n, np.int64))
        small = {"prompts": self._prompts(), "labels": self._labels()}
        builds: dict[str, Build] = {name: partial(_one, conform_frame(name, frame)) for name, frame in small.items()}
        return builds | {
            "tokens": partial(self._tokens, sequence, position),
            "slots": batch.slots,
            "nonfinite": batch.nonfinite,
        }

    def _layer(self, number: int) -> LayerRecord:
        k = self.facts.anatomy.layer(number).top_k
        index, weight = (
            torch.from_numpy(self._joined([p.arrays[f"{name} {number}"] for p in self.pieces], (0, k), kind))
            for name, kind in (("index", np.int32), ("weight", np.float32))
        )
        return LayerRecord(index, weight)

    def _joined(self, arrays: Sequence[np.ndarray], empty: tuple[int, ...] = (0,), kind: Any = np.int64) -> np.ndarray:
        return np.concatenate(arrays) if arrays else np.zeros(empty, kind)

    def _tokens(self, sequence: np.ndarray, position: np.ndarray) -> Iterator[pa.RecordBatch]:
        ids = self._joined([piece.arrays["ids"] for piece in self.pieces]) if self.text else None
        prompt = np.array([one.prompt for one in self.requests], np.int64)
        texts = None if ids is None else pa.array(token_texts(self.facts.tokenizer, ids), pa.string())
        yield token_rows(
            self.names,
            sequence,
            np.zeros(len(sequence), np.int64),
            position,
            ids,
            texts,
            np.full(len(sequence), ROLES.index("unknown")),
            position >= prompt[sequence],
            np.full(len(sequence), np.nan, np.float32),
        )

    def _prompts(self) -> pd.DataFrame:
        rows = [(one.name, None, None, None, one.call, one.prompt) for one in self.requests]
        return pd.DataFrame(rows, columns=["prompt_id", "text", "pair", "split", "cluster", "n_tokens"])

    def _labels(self) -> pd.DataFrame:
        rows = [(one.name, None, "expert_plan", one.plan or "none", "given") for one in self.requests]
        return pd.DataFrame(rows, columns=["prompt_id", "sample", "name", "value", "source"])


def _one(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield batch
