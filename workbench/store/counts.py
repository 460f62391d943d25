"""Counting selections without DuckDB: one pass over a layer's rows with `numpy.bincount`, layers in parallel.

Every array here follows the store's canonical token order (`store.tokens`), so a mask is a boolean array over those
rows and groups are an integer array over them.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from workbench.errors import WorkbenchError
from workbench.shards import Part
from workbench.store.same_keys import SameKeys
from workbench.store.token_rows import TokenIndex, TokenRows, codes_of, numpy_column


class Counts(NamedTuple):
    """Selections per group, layer and routed expert."""

    n: np.ndarray
    """[groups, layers, experts] int64 selections, or float64 summed weights; 0 beyond a layer's last expert."""
    tokens: np.ndarray
    """[groups] int64: tokens of the group that were routed (the last generated token of a response never is)."""
    layers: tuple[int, ...]
    """The decoder layers along axis 1."""


class Routing(NamedTuple):
    """One layer's selections, a row per token in canonical order."""

    expert: np.ndarray
    """[tokens, slots] int32 expert per slot, as many slots as the fullest token has (top-k); -1 in a slot that is empty."""
    weight: np.ndarray
    """[tokens, slots] float32 routing weight; 0 in a slot that is empty, NaN where the store lacks weights."""


def counts(
    store: TokenRows,
    tokens: np.ndarray | None = None,
    by: Literal["prompt"] | np.ndarray = "prompt",
    value: Literal["count", "weight"] = "count",
    layers: Iterable[int] | None = None,
) -> Counts:
    """Counts selections of routed experts per group of tokens.

    tokens: bool [rows of store.tokens], which tokens count (`token_mask` makes one); None for all.
    by: "prompt" (groups are prompts in the order of `store.prompts`, samples together), or an integer array over the
        rows of `store.tokens` with group numbers from 0; a negative number leaves the token out.
    value: "count", or "weight" for the sum of routing weights.
    layers: which of `store.layers`; None for all.

    Raises `WorkbenchError` for weights of a store that has none (routing that a serving engine returned), and for a store from
    which requests were dropped.
    """
    chosen = store.layers if layers is None else tuple(layers)
    n = selections(store, tokens, by, value, chosen)
    return Counts(n.transpose(1, 0, 2), routed_per_group(store, tokens, by), chosen)


def selections(
    store: TokenRows,
    tokens: np.ndarray | None,
    by: Literal["prompt"] | np.ndarray,
    value: Literal["count", "weight"],
    layers: tuple[int, ...],
    share: tuple[int, int] = (0, 1),
) -> np.ndarray:
    """`Counts.n` as [layers, groups, experts], of all slots or of one share of several: (number, how many).

    Shares are of neighbouring shards, so one holds few of many groups; all of them together are the whole. Raises as `counts`.
    """
    store.check_complete()
    if value == "weight" and "weight" in store.lacks:
        raise WorkbenchError(
            f"The store '{store.path}' holds expert ids without their routing weights, as a serving engine returned them; count "
            f"selections (value='count') or capture the model itself."
        )
    grouping = _grouping(store, tokens, by)
    columns = ["expert", *(["weight"] if value == "weight" else [])]
    n_experts = max((store.anatomy.layer(layer).n_experts for layer in layers), default=0)
    kind = np.float64 if value == "weight" else np.int64
    n = np.zeros((len(layers), grouping.n_groups, n_experts), kind)
    keys = ["prompt_id"] if grouping.of_prompt is not None else store.key_columns
    groups = SameKeys(store, keys, lambda batch: _groups(batch, grouping, n_experts))

    lock = Lock()

    def add(part: Part) -> None:
        here, (shared, rows) = n[layers.index(part.layer or 0)], groups.beside(part, columns)
        at = 0
        for found in shared:
            size = len(found.code)
            block = _counted(rows.slice(at, size), found, n_experts)
            at += size
            with lock:
                here[found.group] += block.astype(kind, copy=False)

    parts, (number, of) = store.parts("slots", [*keys, *columns], layers), share
    _parallel(add, parts[number * len(parts) // of : (number + 1) * len(parts) // of])
    return n


def routed_per_group(store: TokenRows, tokens: np.ndarray | None, by: Literal["prompt"] | np.ndarray) -> np.ndarray:
    """`Counts.tokens`."""
    grouping = _grouping(store, tokens, by)
    groups = grouping.tokens.prompt if grouping.of_token is None else grouping.of_token[:-1]
    kept = store.routed_tokens & (groups >= 0)
    return np.bincount(groups[kept], minlength=grouping.n_groups)


def routing(store: TokenRows, layer: int) -> Routing:
    """One layer's selected experts and weights as [tokens, slots], in canonical token order; routed experts only.

    How many slots there are is read from the rows, not from the anatomy: k may have been changed after the model was loaded.
    """
    store.check_complete()
    columns, index = ["prompt_id", "sample", "position", "slot", "expert", "weight"], store.token_index
    expert, weight = np.full((index.n_rows, 1), -1, np.int32), np.zeros((index.n_rows, 1), np.float32)
    for batch in store.scan("slots", columns, [layer]):
        slot = numpy_column(batch, "slot")
        rows = index.rows(batch)
        kept = (slot >= 0) & (rows >= 0)
        more = int(slot[kept].max(initial=0)) + 1 - expert.shape[1]
        if more > 0:
            expert, weight = _wider(expert, more, -1), _wider(weight, more, 0)
        expert[rows[kept], slot[kept]] = numpy_column(batch, "expert")[kept]
        weight[rows[kept], slot[kept]] = numpy_column(batch, "weight")[kept]
    return Routing(expert, weight)


def _wider(array: np.ndarray, more: int, fill: int) -> np.ndarray:
    return np.pad(array, ((0, 0), (0, more)), constant_values=fill)


class _Grouping(NamedTuple):
    n_groups: int
    of_prompt: dict[str, int] | None  # group of a prompt, when whole prompts are counted
    of_token: np.ndarray | None  # group of a token row, else
    tokens: TokenIndex


def _grouping(store: TokenRows, tokens: np.ndarray | None, by: Literal["prompt"] | np.ndarray) -> _Grouping:
    index = store.token_index
    if isinstance(by, str):
        if by != "prompt":
            raise WorkbenchError(f"counts(by='{by}') is not known; use 'prompt' or an array of group numbers.")
        if tokens is None:
            return _Grouping(store.n_prompts, index.prompt_codes, None, index)
        groups, n_groups = index.prompt, store.n_prompts
    else:
        groups = _over_tokens(by, index, "by").astype(np.int64)
        n_groups = int(groups.max(initial=-1)) + 1
    if tokens is not None:
        groups = np.where(_over_tokens(tokens, index, "tokens").astype(bool), groups, -1)
    return _Grouping(n_groups, None, np.append(groups, -1), index)


def _over_tokens(values: Any, index: TokenIndex, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != (index.n_rows,):
        raise WorkbenchError(
            f"counts({what}=...) has shape {list(array.shape)}; it needs one value for each of the {index.n_rows} rows "
            f"of store.tokens."
        )
    return array


class _Groups(NamedTuple):
    """The rows of a row group by group of tokens, numbered within it."""

    code: np.ndarray
    """[rows] int64: number of the row's group within `group`, times experts; the number behind the last: counted nowhere."""
    group: np.ndarray
    """Which group each number is; none twice."""


def _groups(batch: pa.RecordBatch, grouping: _Grouping, n_experts: int) -> _Groups:
    if grouping.of_prompt is not None:
        column = batch.column("prompt_id")
        number = column.indices.to_numpy(zero_copy_only=False)
        first, last = (
            int(number.min()),
            int(number.max()),
        )  # of a shard's prompts a row group has a few that follow each other
        return _Groups(_codes(number - first, n_experts), codes_of(column, grouping.of_prompt)[first : last + 1])
    assert grouping.of_token is not None
    group = grouping.of_token[grouping.tokens.rows(batch)]  # a slot without a token (row -1) finds the -1 at the end
    # numbered through a table of all groups: sorting the rows (np.unique) took half of the whole count
    is_present = np.zeros(grouping.n_groups + 1, bool)
    is_present[group] = True  # -1 is the last entry
    present = np.flatnonzero(is_present[:-1])
    number = np.full(grouping.n_groups + 1, len(present), np.int64)
    number[present] = np.arange(len(present))
    return _Groups(_codes(number[group], n_experts), present)


def _codes(number: np.ndarray, n_experts: int) -> np.ndarray:
    return np.multiply(number, n_experts, dtype=np.int64)


def _counted(rows: pa.Table, found: _Groups, n_experts: int) -> np.ndarray:
    """[groups of the row group, experts] selections or summed weights."""
    expert, code = rows.column("expert").to_numpy(), found.code
    weight = rows.column("weight").to_numpy() if "weight" in rows.schema.names else None
    if expert.min(initial=0) < 0:  # shared experts have negative numbers
        kept = expert >= 0
        expert, code = expert[kept], code[kept]
        weight = None if weight is None else weight[kept]
    size = len(found.group) * n_experts
    counted = np.bincount(code + expert, weight, minlength=size)
    return counted[:size].reshape(len(found.group), n_experts)


def _parallel(work: Callable[[Part], None], items: list[Part]) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for _ in pool.map(work, items):
            pass
