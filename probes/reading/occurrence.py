"""Occurrences of markers, and the experts selected at them: what association scores are counted from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probes.reading.axis import Axis, expert_axis
from probes.reading.classes import classes
from probes.reading.content import TEMPLATE, WHOLE
from probes.reading.markers import find_marker
from probes.reading.masks import token_mask
from probes.reading.tokens import select, sequence_of_row
from workbench.errors import WorkbenchError
from workbench.thinking import MARKERS

if TYPE_CHECKING:
    from workbench.store import Store


class Places(NamedTuple):
    """Where the markers stand."""

    names: tuple[str, ...]
    sign: np.ndarray
    """[markers]"""
    at: np.ndarray
    """Bool [markers, rows of store.tokens]."""
    of_class: str | None
    """The class of responses, when tokens are chosen by one."""


class Counted(NamedTuple):
    """Counts by response (unit)."""

    k: np.ndarray
    """[markers, units, experts] occurrences that selected the expert."""
    m: np.ndarray
    """[markers, units] occurrences."""
    total: np.ndarray
    """[units, experts] tokens that selected the expert."""
    t: np.ndarray
    """[units] tokens read."""
    sequence: np.ndarray
    """[units] sequence number."""
    axis: Axis


def places_of(store: "Store", question: dict[str, object], read: np.ndarray, where: str | None) -> Places:
    """Occurrences among the rows `read` of what is asked: {"markers": ...} or token, role, target."""
    (kind, value), *_ = question.items()
    if kind == "role":
        at = read & select(store, "all", str(value)) if read.any() else read
        return Places((f"role {value}",), np.ones(1), _some(store, at, f"role {value}")[None], None)
    if kind == "target":
        chosen = classes(store, str(value), None, where=where)
        at = read & (chosen.of_sequence[sequence_of_row(store)] == 0)
        return Places((str(value),), np.ones(1), _some(store, at, str(value))[None], str(value))
    signs: Mapping[Any, float] = value if isinstance(value, Mapping) else {value: 1}
    at = np.stack([find_marker(store, marker, read, mentioned=kind == "token") for marker in signs])
    return Places(tuple(map(str, signs)), np.array(list(signs.values()), float), at, None)


def _some(store: "Store", at: np.ndarray, what: str) -> np.ndarray:
    if not at.any():
        raise WorkbenchError(f"None of the tokens read of '{store.path}' has {what}; read other tokens.")
    return at


def count_occurrences(store: "Store", read: np.ndarray, places: Places) -> Counted:
    """Counts tokens and occurrences per response, and which experts they selected."""
    sequence, number = np.unique(sequence_of_row(store)[read], return_inverse=True)
    group = np.full(len(read), -1, np.int64)
    group[read] = number
    counted = store.counts(None, group)
    axis = expert_axis(store, counted.layers)
    n_units = len(sequence)
    k = [_padded(axis.of(store.counts(at, group).n), n_units) for at in places.at]
    m = [np.bincount(group[at & read], minlength=n_units) for at in places.at]
    return Counted(np.stack(k), np.stack(m), axis.of(counted.n), counted.tokens, sequence, axis)


def _padded(counted: np.ndarray, n_units: int) -> np.ndarray:
    return np.concatenate([counted, np.zeros((n_units - len(counted), counted.shape[1]), counted.dtype)])


def asked_of_template(store: "Store", tokens: Any, question: Mapping[str, object]) -> np.ndarray:
    """Bool [rows of store.tokens]: the template's own tokens that a question over content is about all the same.

    A thought may be opened by the template; a role may be the template's. Any other word that the template says over and
    over is not looked for.
    """
    nothing = np.zeros(len(store.tokens), bool)
    if not isinstance(tokens, str) or tokens not in WHOLE:
        return nothing
    inside = select(store, WHOLE[tokens])  # pyright: ignore[reportArgumentType]
    if question.get("role") in TEMPLATE:
        return inside & token_mask(store, roles=str(question["role"]))
    asked: Any = question.get("markers") or [question.get("token")]
    for marker in (m for m in asked if m in MARKERS):
        try:
            nothing |= find_marker(store, marker, inside, mentioned="token" in question)
        except WorkbenchError:  # the question is refused where it is asked
            continue
    return nothing
