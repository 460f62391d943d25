"""What the tokens read have received of each expert: slots of one layer, batch by batch, and what they add up to."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probes.reading.axis import Axis, expert_axis
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


class Received(NamedTuple):
    """Slots of routed experts that tokens read have received, in one layer."""

    row: np.ndarray
    """[slots] row of store.tokens."""
    expert: np.ndarray
    weight: np.ndarray
    """[slots] the weight that the expert's output was multiplied with; ones where it was not asked for."""
    norm: np.ndarray
    """[slots] L2 norm of the expert's own output, before the weight; ones where it was not asked for."""


class Sums(NamedTuple):
    """By group of tokens (a cluster, a response) and expert."""

    total: np.ndarray
    """[groups, experts] float64."""
    n: np.ndarray
    """[groups, experts] slots that were added: those whose value is finite."""
    axis: Axis


def slot_sums(
    store: "Store", of_row: np.ndarray, columns: tuple[str, ...], value: Callable[[int, Received], np.ndarray]
) -> Sums:
    """Adds up `value(layer, slots)` of every slot of a routed expert that a token read received.

    of_row   [rows of store.tokens] number of the group, -1 where the token is not read
    columns  out of "weight" and "output_l2", what `value` needs of the slots
    Memory: 16 bytes a group and expert, whatever the number of slots, and one batch of them.
    Raises `WorkbenchError` where the store has no weights or no norms and they are asked for.
    """
    axis = expert_axis(store, store.layers)
    n_clusters = int(of_row.max(initial=-1)) + 1
    total, n = np.zeros((n_clusters, len(axis.layer))), np.zeros((n_clusters, len(axis.layer)), np.int64)
    ends = np.cumsum([store.anatomy.layer(layer).n_experts for layer in store.layers])
    for layer, end in zip(store.layers, ends, strict=True):
        here = slice(end - store.anatomy.layer(layer).n_experts, end)
        for slots in received(store, layer, of_row >= 0, columns):
            found = np.asarray(value(layer, slots), np.float64)
            finite = np.isfinite(found)
            _add(total[:, here], n[:, here], of_row[slots.row[finite]], slots.expert[finite], found[finite])
    return Sums(total, n, axis)


def received(store: "Store", layer: int, read: np.ndarray, columns: tuple[str, ...]) -> Iterator[Received]:
    """The slots of one layer, batch by batch; `read` is bool [rows of store.tokens]."""
    if "weight" in columns and "weight" in store.lacks:
        raise WorkbenchError(
            f"The store '{store.path}' holds expert ids without their routing weights, as a serving engine returned them; "
            f"rank by what needs none, such as usage, or capture the model itself."
        )
    store.check_complete()
    for batch in store.scan("slots", [*store.key_columns, "expert", *columns], [layer]):
        if "output_l2" in columns and batch.column("output_l2").null_count:
            raise WorkbenchError(
                f"The store '{store.path}' kept no norms of what its experts write; capture it again with keep={{'norms'}}."
            )
        row, expert = store.token_index.rows(batch), batch.column("expert").to_numpy(zero_copy_only=False)
        kept = (expert >= 0) & (row >= 0)
        kept[kept] = read[row[kept]]
        asked = {name: batch.column(name).to_numpy(zero_copy_only=False)[kept].astype(np.float64) for name in columns}
        ones = np.ones(int(kept.sum()))
        yield Received(row[kept], expert[kept], asked.get("weight", ones), asked.get("output_l2", ones))


def _add(total: np.ndarray, n: np.ndarray, cluster: np.ndarray, expert: np.ndarray, value: np.ndarray) -> None:
    """Adds values to total [clusters, experts] and counts them in n, over the clusters that occur alone."""
    if not len(cluster):
        return
    first, last, width = int(cluster.min()), int(cluster.max()), total.shape[1]
    code, size = (cluster - first) * width + expert, (last - first + 1) * width
    total[first : last + 1] += np.bincount(code, value, size).reshape(-1, width)
    n[first : last + 1] += np.bincount(code, minlength=size).reshape(-1, width)
