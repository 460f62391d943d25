"""The smallest set of items that holds a share of several wholes at once: a linear program over whole numbers."""

from importlib import import_module
from typing import NamedTuple

import numpy as np

from workbench.errors import WorkbenchError

_SCALE = 1e4  # the solver's own tolerance of 1e-6 is 1e-10 of a share
_SLACK = 1e-9


class Cover(NamedTuple):
    """A set that holds its share of every whole."""

    members: np.ndarray
    """[items] bool."""
    proven: bool
    """Whether no smaller one exists; False where the time was over."""


def smallest_cover(share: np.ndarray, p: float, seconds: float) -> Cover:
    """The fewest items that together hold p of every whole; share: [wholes, items], each row sums to 1.

    Of several such sets one whose mean share no exchange of a single member makes larger. Raises `WorkbenchError` without scipy.
    """
    try:
        optimize = import_module("scipy.optimize")
    except ImportError as error:
        raise WorkbenchError(
            "committee solves a program with scipy, which is not installed: pip install 'scipy>=1.15'."
        ) from error
    n = share.shape[1]
    found = optimize.milp(
        np.ones(n),
        integrality=np.ones(n),
        bounds=optimize.Bounds(0, 1),
        constraints=optimize.LinearConstraint(share * _SCALE, (p - _SLACK) * _SCALE, np.inf),
        options={"time_limit": seconds},
    )
    greedy = _greedy(share, p)
    members = greedy if found.x is None else found.x > 0.5
    if not _holds(share, members, p) or members.sum() > greedy.sum():
        members = greedy
    bound = np.ceil((found.mip_dual_bound if found.mip_dual_bound is not None else 0) - 1e-6)
    return Cover(_exchanged(share, members, p), bool(members.sum() <= bound))


def fewest(share: np.ndarray, p: float) -> np.ndarray:
    """[wholes] how many items each whole needs by itself."""
    return (np.cumsum(-np.sort(-share, axis=1), axis=1) < p - 2 * _SLACK).sum(axis=1) + 1


def _holds(share: np.ndarray, members: np.ndarray, p: float) -> bool:
    return bool((share[:, members].sum(axis=1) >= p - 2 * _SLACK).all())


def _greedy(share: np.ndarray, p: float) -> np.ndarray:
    """One after the other the item that adds most of what is still missing."""
    members = np.zeros(share.shape[1], bool)
    while not _holds(share, members, p) and not members.all():
        missing = np.maximum(p - share[:, members].sum(axis=1), 0)
        gain = np.minimum(share, missing[:, None]).sum(axis=0)
        members[np.argmax(np.where(members, -1.0, gain))] = True
    return members


def _exchanged(share: np.ndarray, members: np.ndarray, p: float) -> np.ndarray:
    """Members exchanged one by one for items with a larger mean share, as long as the set still holds its shares."""
    mean, gained = share.mean(axis=0), True
    while gained:
        gained = False
        for out in np.flatnonzero(members):
            for into in sorted(np.flatnonzero(~members & (mean > mean[out] + 1e-12)), key=lambda e: (-mean[e], e)):
                tried = members.copy()
                tried[[out, into]] = False, True
                if _holds(share, tried, p):
                    members, gained = tried, True
                    break
    return members
