"""How much of the traffic between layers crosses devices under a placement, and how much less than under another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.statistics import ratio_interval
from probes.structure.assignment import Devices, staying
from probes.structure.steps import Step, consecutive, selected

if TYPE_CHECKING:
    from workbench.store import Store

DRAWS = 20
"""Placements at random beside the one that is asked for."""


def pairs_of(counted: Sequence[Step]) -> int:
    """Pairs of experts that follow each other, summed over tokens and layers."""
    return sum(int(step.both.sum()) for step in counted)


def crossing(counted: Sequence[Step], devices: Devices) -> float:
    """The share of these pairs that are on two devices."""
    return 1 - staying(counted, devices) / pairs_of(counted)


def at_random(counted: Sequence[Step], devices: Devices, draws: int, seed: int) -> np.ndarray:
    """[draws] the shares that cross when the devices of each layer's experts are shuffled."""
    rng = np.random.default_rng([seed, 2])
    return np.array([crossing(counted, {x: rng.permutation(d) for x, d in devices.items()}) for _ in range(draws)])


def stays(counted: Sequence[Step], devices: Devices, layer: int) -> np.ndarray:
    """[experts] of a layer: the share of an expert's pairs with both neighbouring layers that stay on its device."""
    own, all_of = np.zeros(len(devices[layer])), np.zeros(len(devices[layer]))
    for step in counted:
        same = np.where(devices[step.layer][:, None] == devices[step.other], step.both, 0)
        if layer in (step.layer, step.other):
            axis = int(step.layer == layer)  # sum over the neighbour's experts
            own, all_of = own + same.sum(axis=axis), all_of + step.both.sum(axis=axis)
    return np.divide(own, all_of, out=np.full(len(own), np.nan), where=all_of > 0)


def saved(
    store: "Store", read: np.ndarray, cluster: np.ndarray, placed: Devices, beside: Devices, n_draws: int, seed: int
) -> tuple[float, float, str]:
    """95 % interval of the share of crossings that `placed` saves against `beside`, and why there is none.

    cluster: [tokens read] number from 0.
    """
    n = int(cluster.max()) + 1
    crossed = np.zeros((2, n))
    for layer, other in consecutive(store):
        before, after = (selected(store, x, read).astype(np.float32) for x in (layer, other))
        for count, devices in zip(crossed, (placed, beside), strict=True):
            n_devices = 1 + max(int(devices[x].max()) for x in (layer, other))
            a, b = (
                one @ np.eye(n_devices, dtype=np.float32)[devices[x]] for one, x in ((before, layer), (after, other))
            )
            count += np.bincount(cluster, a.sum(axis=1) * b.sum(axis=1) - (a * b).sum(axis=1), minlength=n)
    size = np.bincount(cluster, minlength=n).astype(np.float64)
    low, high, why = ratio_interval(crossed[:1].T, crossed[1:].T, size, n_draws, seed)
    return 1 - float(high[0]), 1 - float(low[0]), "".join(why)


def said_of(
    counted: list[Step], placed: Devices, beside: Devices, interval: tuple[float, float, str], seed: int
) -> tuple[str, ...]:
    """How much crosses, beside the round-robin and placements at random, in words."""
    mine, robin, drawn = crossing(counted, placed), crossing(counted, beside), at_random(counted, beside, DRAWS, seed)
    low, high, why = interval
    sure = f" ({100 * low:.1f} to {100 * high:.1f})" if low == low else ""
    gain = f"{100 * (1 - mine / robin):.1f} %{sure} saved" if robin else "there is nothing to save"
    cross = f"{100 * mine:.1f} % of {pairs_of(counted):,} pairs of experts that follow each other cross"
    random = f"at random {100 * drawn.mean():.1f} % ({100 * drawn.min():.1f} to {100 * drawn.max():.1f}, {DRAWS} draws)"
    return (f"{cross}; round-robin {100 * robin:.1f} %: {gain}; {random}", *([why] if why else []))


def busiest(frame: pd.DataFrame) -> str:
    """How unevenly the devices of the sets are used, in words."""
    share: Any = frame.groupby("set")["n"].sum()
    return f"the busiest device takes {share.max() / share.mean():.2f} times the mean of selections"
