"""What the compared responses selected at the tokens read: the counts that every difference between classes starts from."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probes.reading.axis import Axis, expert_axis
from probes.reading.classes import Classes
from probes.reading.tokens import sequence_of_row
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


class Read(NamedTuple):
    """What the chosen tokens of the compared responses selected."""

    a: np.ndarray
    """[units, experts] selections or summed weights."""
    tokens: np.ndarray
    """[units] tokens read."""
    selected: np.ndarray
    """[experts] selections over all units."""
    sequence: np.ndarray
    """[units] sequence number."""
    label: np.ndarray
    """[units] class number."""
    axis: Axis
    n_empty: int
    """Responses of a class without any token to read."""


def used_rows(store: "Store", chosen: Classes) -> tuple[np.ndarray, np.ndarray]:
    """Bool [prompts] with a response that is compared, and bool [rows of store.tokens] of those responses."""
    compared = chosen.of_sequence >= 0
    return np.asarray(compared.reshape(-1, store.n_samples).any(axis=1)), compared[sequence_of_row(store)]


def read_units(store: "Store", chosen: Classes, mask: np.ndarray, *, weighted: bool = False) -> Read:
    """Counts the selections of every compared response over the tokens of `mask`; responses without a token are left out.

    weighted: sums routing weights, and leaves out tokens with one that is not finite.
    """
    mask = mask & store.finite_weights if weighted else mask
    row, compared = sequence_of_row(store), chosen.of_sequence >= 0
    number = np.where(compared, np.cumsum(compared) - 1, -1)
    counted = store.counts(mask, number[row])
    axis = expert_axis(store, counted.layers)
    n = axis.of(counted.n).astype(np.float64)
    a = axis.of(store.counts(mask, number[row], "weight").n) if weighted else n
    sequence = np.flatnonzero(compared)[: len(a)]
    kept = counted.tokens > 0
    label = chosen.of_sequence[sequence]
    read = Read(
        a[kept], counted.tokens[kept], n[kept].sum(axis=0).astype(np.int64), sequence[kept], label[kept], axis,
        int((~kept).sum()),
    )  # fmt: skip
    _check_classes(store, chosen, read)
    return read


def class_notes(chosen: Classes, read: Read) -> tuple[str, ...]:
    """How many responses each class has and how many tokens of each were read: length is a confounder."""
    said: list[str] = []
    for c, name in enumerate(chosen.names):
        tokens = read.tokens[read.label == c]
        said.append(f"{name}: {len(tokens)} responses, {tokens.mean():.1f} tokens read on average")
    empty = [f"{read.n_empty} responses had no token to read and were left out"] if read.n_empty else []
    return (*said, *empty)


def _check_classes(store: "Store", chosen: Classes, read: Read) -> None:
    sizes = [int((read.label == c).sum()) for c in range(len(chosen.names))]
    if not all(sizes):
        counted = ", ".join(f"{n} of '{name}'" for n, name in zip(sizes, chosen.names, strict=True))
        raise WorkbenchError(
            f"Of the responses of '{store.path}' that have tokens to read there are {counted}, and each class needs one or "
            f"more; read other tokens."
        )
