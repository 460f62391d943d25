"""What the tokens read add up to, expert by expert and cluster by cluster: one pass over the slots, sums alone are kept."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probes.reading import Axis, Tokens, expert_axis, prompt_of_row, routed_units, template_notes, used_prompts
from probes.statistics import resampled
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


class Reading(NamedTuple):
    """Which tokens are read, and what of them is resampled together."""

    of_row: np.ndarray
    """[rows of store.tokens] number of the cluster, -1 where the token is not read."""
    tokens: np.ndarray
    """[clusters] tokens read."""
    notes: tuple[str, ...]


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
    """By cluster and expert."""

    total: np.ndarray
    """[clusters, experts] float64."""
    n: np.ndarray
    """[clusters, experts] slots that were added: those whose value is finite."""
    axis: Axis


def reading(
    store: "Store",
    tokens: Tokens | np.ndarray,
    roles: Any,
    where: str | None,
    cluster: str,
    *,
    weighted: bool,
    draws: int,
) -> Reading:
    """The tokens read as clusters to resample; as one where no resamples are asked for, so that memory stays small.

    weighted: leaves out tokens with a routing weight that is not finite.
    """
    group, sequence = routed_units(store, tokens, roles, where, weighted=weighted)
    found = resampled(store, sequence, cluster)
    of_unit = found.of_unit if draws > 0 else np.zeros(len(sequence), np.int64)
    of_row = np.where(group >= 0, of_unit[group], -1)
    read = np.bincount(of_row[of_row >= 0])
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    said = f"{int(read.sum())} tokens of {len(sequence)} responses read"
    return Reading(of_row, read, (said, *apart, *([found.note] if draws > 0 else [])))


def slot_sums(
    store: "Store", of_row: np.ndarray, columns: tuple[str, ...], value: Callable[[int, Received], np.ndarray]
) -> Sums:
    """Adds up `value(layer, slots)` of every slot of a routed expert that a token read received.

    columns  out of "weight" and "output_l2", what `value` needs of the slots
    Memory: 16 bytes a cluster and expert, whatever the number of slots, and one batch of them.
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
