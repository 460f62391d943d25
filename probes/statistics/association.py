"""Whether an association with markers is more than chance: markers shift around, or labels exchange."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probes.reading import Counted, Places, classes, sequence_of_row
from probes.statistics.adjust import Adjust
from probes.statistics.difference import Sample, class_members, relabelling_test
from probes.statistics.exchange import exchange
from probes.statistics.inference import Tested, permutation_test
from probes.statistics.shift import Circle, circles, shifted_sums

if TYPE_CHECKING:
    from workbench.store import Store


class Given(NamedTuple):
    """What the words that are read give by themselves: sums of their rates."""

    at: np.ndarray
    """[markers, units, experts] at the marker."""
    whole: np.ndarray
    """[units, experts] at all tokens read."""
    rates: Callable[[int], Callable[[np.ndarray], np.ndarray]]
    """Of a layer: from rows of store.tokens [n] to the rates of their words [n, experts]."""


def association_test(
    store: "Store",
    read: np.ndarray,
    places: Places,
    counted: Counted,
    score: np.ndarray,
    where: str | None,
    n_draws: int,
    adjust: Adjust,
    seed: int,
    given: Given | None = None,
) -> tuple[Tested, tuple[str, ...]]:
    """The p-values of sum over markers of sign * (k / M - K / T); NaN where `score` is, with the reason.

    given: what words give by themselves is taken away from every selection first.
    """
    nothing = np.full(len(score), np.nan)
    if n_draws < 1:
        return Tested(nothing, nothing), ("no p-value: none was asked for",)
    if places.of_class is not None:
        return _label_test(store, counted, places.of_class, where, n_draws, adjust, seed, given)
    weight = places.sign / counted.m.sum(axis=1)
    value = weight @ (places.at & read)
    around = circles(sequence_of_row(store), read, value)
    null = shifted_sums(store, around, n_draws, np.random.default_rng([seed, 0]), given and given.rates)
    k = counted.k if given is None else counted.k - given.at
    observed = np.tensordot(weight, k.sum(axis=1), axes=1)
    observed = np.where(np.isnan(score), np.nan, observed)
    longest = max(len(circle.rows) for circle in around)
    note = f"markers shifted around {len(around)} sequences of up to {longest} tokens"
    return permutation_test(
        observed, _mean_of_shifts(counted, around, store, given), lambda b: null[:, b], n_draws, adjust
    ), (note,)


def _mean_of_shifts(counted: Counted, around: list[Circle], store: "Store", given: Given | None) -> np.ndarray:
    """[experts]: what a marker meets on average over all its shifts: the sequence's own rate of selection."""
    sequence = sequence_of_row(store)
    unit = np.searchsorted(counted.sequence, [sequence[circle.rows[0]] for circle in around])
    total = np.array([circle.value.sum() for circle in around])
    selected = counted.total if given is None else counted.total - given.whole
    return (total / counted.t[unit]) @ selected[unit]


def _label_test(
    store: "Store",
    counted: Counted,
    label: str,
    where: str | None,
    n_draws: int,
    adjust: Adjust,
    seed: int,
    given: Given | None,
) -> tuple[Tested, tuple[str, ...]]:
    """Tests k / M - (K - k) / (T - M), the same as k / M - K / T up to a factor, with labels exchanged between responses."""
    of_unit = classes(store, label, None, where=where).of_sequence[counted.sequence]
    kept = of_unit >= 0
    found = exchange(store, counted.sequence[kept], of_unit[kept])
    sample = Sample(
        (counted.total if given is None else counted.total - given.whole)[kept].astype(np.float64),
        counted.t[kept].astype(np.float64),
        class_members(of_unit[kept], 2),
        np.array([1.0, -1.0]),
    )
    tested, why = relabelling_test(sample, found, n_draws, seed, adjust)
    return tested, (found.notes[0], *why)
