"""What the tokens read add up to, expert by expert and cluster by cluster (the sums: `probes.reading.slot_sums`)."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probes.reading import (
    Received,
    Sums,
    Tokens,
    prompt_of_row,
    received,
    routed_units,
    slot_sums,
    template_notes,
    used_prompts,
)
from probes.statistics import resampled

if TYPE_CHECKING:
    from workbench.store import Store

__all__ = ["Reading", "Received", "Sums", "reading", "received", "slot_sums"]


class Reading(NamedTuple):
    """Which tokens are read, and what of them is resampled together."""

    of_row: np.ndarray
    """[rows of store.tokens] number of the cluster, -1 where the token is not read."""
    tokens: np.ndarray
    """[clusters] tokens read."""
    notes: tuple[str, ...]


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
