"""What the weights of each expert add up to, matrix by matrix: read from the store, which has them of the model."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.reading import Axis, expert_axis

if TYPE_CHECKING:
    from workbench.store import Store


class OwnWeights(NamedTuple):
    """By expert that has weights, in order of layer and number."""

    axis: Axis
    n: np.ndarray
    """[experts] numbers in its matrices."""
    sum_abs: np.ndarray
    sum_squares: np.ndarray
    notes: tuple[str, ...]


def own_weights(store: "Store") -> OwnWeights:
    """Sums over every matrix (gate, up, down) of each expert; identity experts, which have none, are left out.

    Raises `WorkbenchError` where the store kept no matrices.
    """
    frame: Any = store.table("matrices", ["layer", "expert", "n_values", "sum_abs", "sum_squares"])
    axis = expert_axis(store, tuple(sorted({int(layer) for layer in frame["layer"]})))
    places = pd.MultiIndex.from_arrays([axis.layer, axis.expert])
    at = places.get_indexer(pd.MultiIndex.from_frame(frame[["layer", "expert"]]))
    n, sizes, squares = (
        np.bincount(at, frame[name].to_numpy(np.float64), len(places))
        for name in ("n_values", "sum_abs", "sum_squares")
    )
    kept = n > 0
    there = Axis(axis.layer[kept], axis.expert[kept], axis.place[kept])
    left_out = f"{int((~kept).sum())} experts have no weights of their own (identity experts) and are left out"
    notes = () if kept.all() else (left_out,)
    return OwnWeights(there, n[kept].astype(np.int64), sizes[kept], squares[kept], notes)
