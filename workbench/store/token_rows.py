"""Where a token stands among a store's rows, and which of them were routed: each is read once a store."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from workbench.errors import WorkbenchError
from workbench.store.tables import Tables


class TokenIndex(NamedTuple):
    """From (prompt, sample, position) to the row of `store.tokens`."""

    prompt_codes: dict[str, int]
    n_samples: int
    base: np.ndarray
    """[prompts * samples]: where the sequence starts in `row_of`."""
    row_of: np.ndarray
    """Row of `store.tokens` at base + position, or -1."""
    prompt: np.ndarray
    """[rows] prompt number of each token."""
    n_rows: int

    def rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """The token rows that the rows of a batch (prompt_id, position, and sample when several) belong to."""
        column = batch.column("prompt_id")
        first = codes_of(column, self.prompt_codes) * self.n_samples
        at = self.base[first][column.indices.to_numpy(zero_copy_only=False)]
        if self.n_samples > 1:
            prompt = first[column.indices.to_numpy(zero_copy_only=False)]
            at = self.base[prompt + numpy_column(batch, "sample")]
        return self.row_of[at + numpy_column(batch, "position")]


@dataclass(frozen=True, eq=False, repr=False)
class TokenRows(Tables):
    """The tables of a store, and what is known of each row of its `tokens`."""

    @cached_property
    def token_index(self) -> TokenIndex:
        """From (prompt, sample, position) to the row of `tokens`."""
        frame = self.table("tokens", ["prompt_id", "sample", "position"])
        prompt = frame["prompt_id"].cat.codes.to_numpy().astype(np.int64)
        sequence = prompt * self.n_samples + frame["sample"].to_numpy()
        position = frame["position"].to_numpy()
        length = np.zeros(self.n_prompts * self.n_samples, np.int64)
        np.maximum.at(length, sequence, position + 1)
        base = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
        row_of = np.full(int(length.sum()), -1, np.int32)
        row_of[base[sequence] + position] = np.arange(len(frame), dtype=np.int32)
        codes = {name: i for i, name in enumerate(self.prompt_ids)}
        return TokenIndex(codes, self.n_samples, base, row_of, prompt, len(frame))

    @cached_property
    def routed_tokens(self) -> np.ndarray:
        """Bool [rows of `tokens`]: whether the token went through the experts (read from one layer)."""
        found = np.zeros(self.token_index.n_rows, bool)
        for batch in self.scan("slots", self.key_columns, self.layers[:1]):
            rows = self.token_index.rows(batch)
            found[rows[rows >= 0]] = True
        return found

    @cached_property
    def finite_weights(self) -> np.ndarray:
        """Bool [rows of `tokens`]: False where a routing weight of the token, in any layer, is not finite."""
        found = np.ones(self.token_index.n_rows + 1, bool)  # the last entry: slots without a token (row -1)
        is_sound = self.counts_finite and "weight" not in set(self.nonfinite["what"])
        for batch in () if is_sound else self.scan("slots", [*self.key_columns, "weight"]):
            weight = batch.column("weight")
            bad = ~np.isfinite(numpy_column(batch, "weight")) & weight.is_valid().to_numpy(zero_copy_only=False)
            found[self.token_index.rows(batch)[bad]] = False
        return found[:-1]

    @property
    def key_columns(self) -> list[str]:
        """The columns that `TokenIndex.rows` reads."""
        return ["prompt_id", *(["sample"] if self.n_samples > 1 else []), "position"]


def token_index(store: TokenRows) -> TokenIndex:
    """The store's token index."""
    return store.token_index


def codes_of(column: pa.DictionaryArray, codes: dict[str, int]) -> np.ndarray:
    """The number of each word in the column's dictionary. Raises `WorkbenchError` for a word without one."""
    try:
        return np.array([codes[name] for name in column.dictionary.to_pylist()], np.int64)
    except KeyError as error:
        raise WorkbenchError(
            f"A table of the store names the prompt {error}, which its prompts do not have; run `workbench store check`."
        ) from error


def numpy_column(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """A column of a batch as numpy."""
    return batch.column(name).to_numpy(zero_copy_only=False)
