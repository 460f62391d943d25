"""The router's own numbers for the tokens read, layer by layer: before softmax, selection bias and edits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


def layers_with_logits(store: "Store") -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The layers whose router logits were kept, and a note on the others: that nothing was kept of them is no zero.

    Raises `WorkbenchError` where the store kept no logits.
    """
    _check(store)
    kept = {part.layer for part in store.parts("logits", ["layer"])}
    left = [str(layer) for layer in store.layers if layer not in kept]
    said = f"layers {', '.join(left)} kept no router logits, and their experts are left out"
    return tuple(layer for layer in store.layers if layer in kept), (said,) if left else ()


def _check(store: "Store") -> None:
    if not store.has("logits"):
        raise WorkbenchError(
            f"The store '{store.path}' kept no router logits; capture it again with keep={{'norms', 'residual', 'logits'}}."
        )


def router_logits(store: "Store", layer: int, read: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of a layer: rows of store.tokens [n] and their logits [n, classes]; tokens with one that is NaN are left out.

    classes  the experts; where the router has a class that skips, it comes last

    read  bool [rows of store.tokens]. One batch is held, whatever the number of tokens.
    Raises `WorkbenchError` where the store kept no logits.
    """
    _check(store)
    for batch in store.scan("logits", [*store.key_columns, "router_logits"], [layer]):
        if not batch.num_rows:
            continue
        row = store.token_index.rows(batch)
        logits = batch.column("router_logits").flatten().to_numpy().reshape(batch.num_rows, -1)
        kept = (row >= 0) & ~np.isnan(logits).any(axis=1)
        kept[kept] = read[row[kept]]
        yield row[kept], logits[kept].astype(np.float64)


def add_rows(total: np.ndarray, cluster: np.ndarray, values: np.ndarray) -> None:
    """Adds each row of values [n, experts] to the row of total [clusters, experts] that `cluster` [n] names."""
    if not len(cluster):
        return
    order = np.argsort(cluster, kind="stable")  # np.add.at takes ten times as long
    clusters, first = np.unique(cluster[order], return_index=True)
    total[clusters] += np.add.reduceat(values[order], first, axis=0)
