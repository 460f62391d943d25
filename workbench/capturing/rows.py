"""A captured batch as Arrow batches of the store's tables: vectorised, one Arrow batch per layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.prompts import ROLES
from workbench.records import Chunk, not_finite
from workbench.shards import conform, stored_schema

_VECTORS = {"outputs": "output", "inner": "neurons"}
_NORMS = ("output_l2", "output_max_abs", "output_argmax")


@dataclass
class BatchRows:
    """One batch on its way to disk; the methods run on the writer's threads, one per table.

    prompt, sample: [sequences of the batch] number of the prompt within `prompt_ids`, and the sample.
    shares, seed: of how many tokens outputs, router_input and inner are kept, all of a token's or none (absent: of all), and
    what draws them.
    """

    chunk: Chunk
    prompt_ids: pa.StringArray
    prompt: np.ndarray
    sample: np.ndarray
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    seed: int = 0

    def slots(self) -> Iterator[pa.RecordBatch]:
        """Who went where, with weights and sizes: routed slots first, then shared experts."""
        self.chunk.ready()
        for layer, record in self.chunk.layers.items():
            n_rows, top_k = record.index.shape
            n_shared = len(record.shared)
            columns = self._slot_keys(top_k, n_shared) | {
                "layer": np.full(n_rows * (top_k + n_shared), layer, np.int32)
            }
            shared = [np.full(n_rows, -1 - s, np.int32) for s in range(n_shared)]
            columns["expert"] = _flat(record.index.numpy(), shared)
            columns["weight"] = _flat(record.weight.numpy(), [one.weight.numpy() for one in record.shared])
            if record.size is not None:
                sizes = [one.size for one in record.shared if one.size is not None]
                for name, routed, *others in zip(_NORMS, record.size, *sizes, strict=True):
                    columns[name] = _flat(routed.numpy(), [other.numpy() for other in others])
            yield conform("slots", columns, len(columns["expert"]))

    def residual(self) -> Iterator[pa.RecordBatch]:
        """The residual stream at every layer's output."""
        self.chunk.ready()
        n = len(self.chunk.position)
        for layer, record in self.chunk.residual.items():
            columns = {name: tensor.numpy() for name, tensor in record._asdict().items() if tensor is not None}
            yield conform("residual", {**self._keys, "layer": np.full(n, layer, np.int32), **columns}, n)

    def logits(self) -> Iterator[pa.RecordBatch]:
        """Router logits."""
        self.chunk.ready()
        n = len(self.chunk.position)
        for layer, record in self.chunk.layers.items():
            if record.logits is not None:
                columns = {"layer": np.full(n, layer, np.int32), "router_logits": _lists(record.logits.numpy())}
                yield conform("logits", {**self._keys, **columns}, n)

    def outputs(self) -> Iterator[pa.RecordBatch]:
        """Output vectors of the chosen experts."""
        self.chunk.ready()
        rows = np.arange(len(self.chunk.position))
        for layer, record in self.chunk.layers.items():
            if record.outputs is not None:
                slots, experts, vectors = (tensor.numpy() for tensor in record.outputs)
                rows_of_slot, slot = np.divmod(slots, record.index.shape[1])
                yield self._vectors("outputs", layer, rows_of_slot, slot, experts, vectors)
            for s, shared in enumerate(record.shared):
                if shared.vectors is not None:
                    number = np.full(len(rows), -1 - s, np.int32)
                    yield self._vectors("outputs", layer, rows, number, number, shared.vectors.numpy())

    def inner(self) -> Iterator[pa.RecordBatch]:
        """Neurons of the chosen experts."""
        self.chunk.ready()
        for layer, record in self.chunk.layers.items():
            if record.inner is not None:
                slots, experts, vectors = (tensor.numpy() for tensor in record.inner)
                yield self._vectors("inner", layer, *np.divmod(slots, record.index.shape[1]), experts, vectors)

    def router_inputs(self) -> Iterator[pa.RecordBatch]:
        """What each router was given."""
        self.chunk.ready()
        rows = np.flatnonzero(self._drawn("router_input"))
        keys = {name: column.take(pa.array(rows)) for name, column in self._keys.items()}
        for layer, record in self.chunk.layers.items():
            if record.router_input is not None:
                columns = {"layer": np.full(len(rows), layer, np.int32)}
                columns["router_input"] = _lists(record.router_input.numpy()[rows])
                yield conform("router_inputs", {**keys, **columns}, len(rows))

    def nonfinite(self, *more: pd.DataFrame) -> Iterator[pa.RecordBatch]:
        """Where values were not finite, with what else was found (`workbench.records.finite.COLUMNS`): mostly nothing."""
        self.chunk.ready()
        found = [frame for frame in (not_finite(self.chunk), *more) if len(frame)]
        if not found:
            return
        for layer, rows in pd.concat(found).groupby("layer", sort=True):
            keys = self._key_columns(rows["sequence"].to_numpy(), rows["first_position"].to_numpy(np.int32))
            columns = {name: keys[name] for name in ("prompt_id", "sample")} | {"first_position": keys["position"]}
            columns["layer"] = np.full(len(rows), layer, np.int32)
            columns |= {name: pa.array(rows[name], from_pandas=True) for name in ("what", "n_tokens", "n_own")}
            columns["expert"] = pa.array(rows["expert"], pa.int32(), from_pandas=True)
            yield conform("nonfinite", columns, len(rows))

    def _vectors(
        self, name: str, layer: int, rows: np.ndarray, slot: np.ndarray, expert: np.ndarray, vectors: np.ndarray
    ) -> pa.RecordBatch:
        kept = self._drawn(name)[rows]
        rows, slot, expert, vectors = rows[kept], slot[kept], expert[kept], vectors[kept]
        keys = {name: column.take(pa.array(rows)) for name, column in self._keys.items()}
        columns = {"layer": np.full(len(rows), layer, np.int32), "slot": slot, "expert": expert}
        return conform(name, {**keys, **columns, _VECTORS[name]: _lists(vectors)}, len(rows))

    def _drawn(self, name: str) -> np.ndarray:
        """Bool [rows]: the tokens whose vectors are kept; those of a smaller share are among those of a larger."""
        share = self.shares.get(name, 1.0)
        return np.ones(len(self.chunk.position), bool) if share >= 1 else self._draws < share

    @cached_property
    def _draws(self) -> np.ndarray:
        names = np.array([crc32(name.as_py().encode()) for name in self.prompt_ids], np.uint64)
        sequence = self.chunk.sequence
        return drawn(names[self.prompt[sequence]], self.sample[sequence], self.chunk.position, self.seed)

    @cached_property
    def _keys(self) -> dict[str, Any]:
        return self._key_columns(self.chunk.sequence, self.chunk.position.astype(np.int32))

    def _key_columns(self, sequence: np.ndarray, position: np.ndarray) -> dict[str, Any]:
        codes = pa.array(self.prompt[sequence].astype(np.int32))
        return {
            "prompt_id": pa.DictionaryArray.from_arrays(codes, self.prompt_ids),
            "sample": pa.array(self.sample[sequence].astype(np.int32)),
            "position": pa.array(position),
        }

    def _slot_keys(self, top_k: int, n_shared: int) -> dict[str, Any]:
        """Key columns and slot numbers, the same for every layer of this shape."""
        made = self._slot_key_cache.get((top_k, n_shared))
        if made is None:
            sequence, position = self.chunk.sequence, self.chunk.position.astype(np.int32)
            slot = np.tile(np.arange(top_k, dtype=np.int32), len(position))
            made = self._key_columns(_repeated(sequence, top_k, n_shared), _repeated(position, top_k, n_shared))
            shared = [np.full(len(position), -1 - s, np.int32) for s in range(n_shared)]
            made["slot"] = pa.array(np.concatenate([slot, *shared]))
            self._slot_key_cache[top_k, n_shared] = made
        return dict(made)

    @cached_property
    def _slot_key_cache(self) -> dict[tuple[int, int], dict[str, Any]]:
        return {}


def drawn(prompt: np.ndarray, sample: np.ndarray, position: np.ndarray, seed: int) -> np.ndarray:
    """[tokens] a number in [0, 1) for each token, whatever the batch that it is in: splitmix64 of its key and the seed."""
    out = np.full(len(prompt), seed, np.uint64)
    with np.errstate(over="ignore"):
        for part in (prompt, sample, position):
            out = (out ^ part.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            out = out ^ (out >> np.uint64(31))
    return (out >> np.uint64(11)) * 2.0**-53


def token_rows(
    prompt_ids: pa.StringArray,
    prompt: np.ndarray,
    sample: np.ndarray,
    position: np.ndarray,
    ids: np.ndarray | None,
    texts: pa.StringArray | None,
    roles: np.ndarray,
    generated: np.ndarray,
    logprob: np.ndarray,
) -> pa.RecordBatch:
    """The tokens table of a batch, all arrays [tokens]; `roles` are codes of `ROLES`, `logprob` NaN becomes null."""
    columns = {
        "prompt_id": pa.DictionaryArray.from_arrays(pa.array(prompt.astype(np.int32)), prompt_ids),
        "sample": sample.astype(np.int32),
        "position": position.astype(np.int32),
        "token_id": None if ids is None else ids.astype(np.int32),
        "token": texts,
        "role": pa.DictionaryArray.from_arrays(pa.array(roles.astype(np.int32)), pa.array(ROLES)),
        "generated": generated,
        "logprob": pa.array(logprob.astype(np.float32), from_pandas=True),
    }
    return conform("tokens", columns, len(position))


def _flat(routed: np.ndarray, shared: list[np.ndarray]) -> np.ndarray:
    flat = np.ascontiguousarray(routed).reshape(-1)
    return np.concatenate([flat, *shared]) if shared else flat


def _repeated(values: np.ndarray, top_k: int, n_shared: int) -> np.ndarray:
    """Each value once per routed slot, then the whole once per shared expert."""
    return np.concatenate([np.repeat(values, top_k), *[values] * n_shared])


def _lists(values: np.ndarray) -> pa.ListArray:
    """[rows, n] as a column of lists, without copying."""
    n_rows, n = values.shape
    offsets = np.arange(0, (n_rows + 1) * n, n, dtype=np.int32) if n else np.zeros(n_rows + 1, np.int32)
    kind = stored_schema("logits").field("router_logits").type
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values).reshape(-1)), type=kind)
