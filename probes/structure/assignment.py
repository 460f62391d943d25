"""Experts on devices by linear programs: a layer given its neighbours, layer after layer; or all layers in one program."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from probes.structure.steps import Step

_STARTS = 5
Devices = Mapping[int, np.ndarray]
"""Layer to [experts] the device of each, from 0."""


class Placed(NamedTuple):
    """A placement, and how sure it is the best."""

    devices: Devices
    why: str


def round_robin(sizes: Mapping[int, int], devices: int) -> dict[int, np.ndarray]:
    """Expert e of every layer on device e mod `devices`."""
    return {layer: np.arange(n) % devices for layer, n in sizes.items()}


def staying(counted: Sequence[Step], devices: Devices) -> int:
    """How many pairs of experts that follow each other in a token are on one device."""
    return sum(int(step.both[devices[step.layer][:, None] == devices[step.other]].sum()) for step in counted)


def layer_after_layer(
    counted: Sequence[Step], sizes: Mapping[int, int], devices: int, seconds: float, seed: int
) -> Placed:
    """Every layer gets the best placement given its neighbours', to and fro until nothing is gained; the best of five starts.

    The first start is the round-robin, the others are shuffled ones.
    """
    rng, until, best = np.random.default_rng([seed, 3]), monotonic() + seconds, round_robin(sizes, devices)
    for start in range(_STARTS):
        found = {layer: rng.permutation(of) if start else of for layer, of in round_robin(sizes, devices).items()}
        found = _improved(counted, found, devices, until)
        best = max(best, found, key=lambda one: staying(counted, one))
        if monotonic() > until:
            return Placed(best, f"layer after layer: seconds={seconds:g} were over in start {start + 1} of {_STARTS}")
    return Placed(best, f"layer after layer, the best of {_STARTS} starts: another placement may be better")


def _improved(
    counted: Sequence[Step], found: dict[int, np.ndarray], devices: int, until: float
) -> dict[int, np.ndarray]:
    gained, before = True, staying(counted, found)
    while gained:
        for layer in [*found][1:] + [*found][-2::-1]:
            if (left := until - monotonic()) <= 0:
                return found
            found[layer] = _best(_gain(counted, found, layer, devices), found[layer], left)
        gained, before = staying(counted, found) > before, staying(counted, found)
    return found


def _gain(counted: Sequence[Step], found: Devices, layer: int, devices: int) -> np.ndarray:
    """[experts, devices] pairs with the neighbouring layers that stay where the expert lies on that device."""
    gain = 0
    for step in counted:
        if step.layer == layer:
            gain = gain + step.both @ np.eye(devices)[found[step.other]]
        if step.other == layer:
            gain = gain + step.both.T @ np.eye(devices)[found[step.layer]]
    return np.asarray(gain)


def _best(gain: np.ndarray, now: np.ndarray, seconds: float) -> np.ndarray:
    """[experts] the devices with the largest sum of gains, each with as many experts as any other, or one more.

    As it is `now` where the program finds nothing in time.
    """
    found = _solved(-gain.ravel(), np.ones(gain.size), _fair(*gain.shape), seconds)
    return now if found.x is None else found.x.reshape(gain.shape).argmax(axis=1)


def whole(counted: Sequence[Step], sizes: Mapping[int, int], devices: int, seconds: float) -> Placed | None:
    """The best placement of all layers in one program, or the best found in time; None where none was found.

    x[expert, device] is 0 or 1. z[i, p, device] <= x[i, device] and <= x[p, device], for every pair (i, p) that occurs: 1 where
    both are there. The largest sum of N[i, p] z[i, p, device].
    """
    sparse, start = import_module("scipy.sparse"), dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    places = [np.nonzero(step.both) for step in counted]
    i, p = (
        np.concatenate([start[layer] + found[side] for layer, found in zip(layers, places, strict=True)])
        for side, layers in enumerate(([s.layer for s in counted], [s.other for s in counted]))
    )
    weight = np.repeat(np.concatenate([s.both[at] for s, at in zip(counted, places, strict=True)]), devices)
    n_x, n_z = devices * sum(sizes.values()), len(weight)
    number = np.arange(n_z)
    below = [
        sparse.csr_array(
            (np.repeat([1.0, -1.0], n_z), (np.tile(number, 2), np.concatenate([n_x + number, x]))), (n_z, n_x + n_z)
        )
        for x in (devices * np.repeat(one, devices) + np.tile(np.arange(devices), len(one)) for one in (i, p))
    ]
    fair = sparse.block_diag([_fair(n, devices)[0] for n in sizes.values()], format="csr")
    fair = sparse.hstack([fair, sparse.csr_array((fair.shape[0], n_z))], format="csr")
    ends = [np.concatenate([_fair(n, devices)[side] for n in sizes.values()]) for side in (1, 2)]
    rows = sparse.vstack([fair, *below], format="csr")
    low, high = (np.concatenate([end, np.full(2 * n_z, other)]) for end, other in zip(ends, (-np.inf, 0), strict=True))
    cost = np.concatenate([np.zeros(n_x), -weight])
    found = _solved(cost, np.concatenate([np.ones(n_x), np.zeros(n_z)]), (rows, low, high), seconds)
    if found.x is None:
        return None
    x = found.x[:n_x].reshape(-1, devices).argmax(axis=1)
    at_most = min(-found.mip_dual_bound / max(weight.sum() / devices, 1), 1)
    why = (
        f"seconds={seconds:g} were over: at most {100 * at_most:.1f} % could stay"
        if found.status
        else "no placement is better"
    )
    return Placed(dict(zip(sizes, np.split(x, np.cumsum([*sizes.values()])[:-1]), strict=True)), f"one program: {why}")


def _fair(n: int, devices: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Each expert on one device, each device as many experts or one more: rows over x[expert, device], and their ends."""
    sparse = import_module("scipy.sparse")
    each = sparse.kron(sparse.eye_array(n), np.ones((1, devices)))
    full = sparse.kron(np.ones((1, n)), sparse.eye_array(devices))
    low, high = np.repeat([1, n // devices], [n, devices]), np.repeat([1, -(-n // devices)], [n, devices])
    return sparse.vstack([each, full], format="csr"), low, high


def _solved(cost: np.ndarray, integral: np.ndarray, rows: tuple[Any, np.ndarray, np.ndarray], seconds: float) -> Any:
    optimize = import_module("scipy.optimize")
    return optimize.milp(
        cost,
        integrality=integral,
        bounds=optimize.Bounds(0, 1),
        constraints=optimize.LinearConstraint(*rows),
        options={"time_limit": seconds},
    )
