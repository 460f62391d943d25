"""The largest absolute output value of every expert over a store, shared experts included."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

_NAMES = ("score", "n", "received")


class _Layer(NamedTuple):
    largest: (
        np.ndarray
    )  # [shared + routed], NaN where never selected; shared expert s (-1 - s in the store) lies at n_shared - 1 - s
    n: np.ndarray  # [shared + routed] tokens received with a finite value
    received: np.ndarray  # [shared + routed] tokens received


def extremes(store: "Store", *, first_row: bool = False) -> pd.DataFrame:
    """Layer, expert, is_shared, score (max |output|, null without a value), n (tokens it is the maximum of), received.

    One row per expert. Values that are not finite count in `received` alone: `n` is smaller there.
    first_row: of each sequence only the first token that the expert received counts for the score.
    Raises `WorkbenchError` when the store kept no norms.
    """
    frames: list[pd.DataFrame] = []
    for layer in store.layers:
        anatomy = store.anatomy.layer(layer)
        found = _first_rows(store, layer) if first_row else _all_rows(store, layer)
        for is_shared, numbers in ((True, range(anatomy.n_shared)), (False, range(anatomy.n_experts))):
            code = [anatomy.n_shared + (-1 - e if is_shared else e) for e in numbers]
            columns = {"layer": layer, "expert": list(numbers), "is_shared": is_shared}
            frames.append(
                pd.DataFrame({**columns, **{name: values[code] for name, values in zip(_NAMES, found, strict=True)}})
            )
    return pd.concat(frames, ignore_index=True)


def _all_rows(store: "Store", layer: int) -> _Layer:
    anatomy = store.anatomy.layer(layer)
    size = anatomy.n_shared + anatomy.n_experts
    largest, n, received = np.full(size, -np.inf), np.zeros(size, np.int64), np.zeros(size, np.int64)
    for batch in store.scan("slots", ["expert", "output_max_abs"], [layer]):
        _check_kept(store, batch.column("output_max_abs").null_count)
        code = batch.column("expert").to_numpy(zero_copy_only=False) + anatomy.n_shared
        value = batch.column("output_max_abs").to_numpy(zero_copy_only=False)
        received += np.bincount(code, minlength=size)
        finite = np.isfinite(value)
        np.maximum.at(largest, code[finite], value[finite])
        n += np.bincount(code[finite], minlength=size)
    return _Layer(np.where(n == 0, np.nan, largest), n, received)


def _first_rows(store: "Store", layer: int) -> _Layer:
    anatomy = store.anatomy.layer(layer)
    columns = ["prompt_id", "sample", "position", "expert", "output_max_abs"]
    rows: Any = store.table("slots", columns, [layer])
    _check_kept(store, sum(b.column(0).null_count for b in store.scan("slots", ["output_max_abs"], [layer])))
    everyone = pd.RangeIndex(-anatomy.n_shared, anatomy.n_experts)
    received = rows.groupby("expert").size().reindex(everyone, fill_value=0)
    rows = rows.assign(is_finite=np.isfinite(rows["output_max_abs"]))
    first = rows.sort_values("position", kind="stable").drop_duplicates(["prompt_id", "sample", "expert"])
    largest = first[first["is_finite"]].groupby("expert")["output_max_abs"].max().reindex(everyone)
    n = rows[rows["is_finite"]].groupby("expert").size().reindex(everyone, fill_value=0)
    return _Layer(largest.to_numpy(np.float64), n.to_numpy(np.int64), received.to_numpy(np.int64))


def _check_kept(store: "Store", n_null: int) -> None:
    if n_null:
        raise WorkbenchError(
            f"The store '{store.path}' kept no output norms, which super experts are found by; capture it again with "
            f"keep={{'norms', 'residual'}}."
        )
