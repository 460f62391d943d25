"""Which experts should lie on one device, so that few tokens cross from device to device between layers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import SetTable
from probes.reading import Tokens, describe, prompt_of_row, routed_units, template_notes, used_prompts
from probes.statistics import resampled
from probes.structure.assignment import Devices, Placed, layer_after_layer, round_robin, staying, whole
from probes.structure.crossings import busiest, pairs_of, said_of, saved, stays
from probes.structure.steps import Step, consecutive, selected, steps
from probes.structure.work import Work, begun
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def placement(
    store: "Store",
    devices: int = 2,
    *,
    one_program: bool = False,
    heldout: float = 0.5,
    seconds: float = 60.0,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
    limit: int = 50_000,
    limit_mb: int = 2000,
) -> SetTable:
    """A device for every expert, such that few tokens cross between devices from one MoE layer to the next.

        crossings = sum over tokens, consecutive MoE layers, i selected in the first and p in the second, of
                    1[device(i) != device(p)],  divided by the same sum of 1

    Every device holds as many experts of each layer as any other, or one more. A set is a device; n  tokens read that select the
    expert; stays  the share of its pairs, with the layers before and after, that stay on its device: [0, 1], null where nobody
    selects it. What is saved, against the round-robin (expert e on device e mod `devices`) and against 20 random placements, is
    in the notes.

    one_program  False: by a linear program a layer, given its neighbours, to and fro until nothing is gained, from five starts.
                 True: all layers in one program as well, and the better of the two; its note says whether it is the best
    heldout      share of the clusters (see `ftri`) that the placement does not see, and on which crossings are measured; 0: on
                 the same tokens, which flatters it
    seconds      after which it stops with the best it has
    limit        variables that the one program may have: devices x (experts + pairs of experts that occur)
    limit_mb     memory of the counts; both are said before it starts
    tokens, roles, where, cluster  as in `ftri`; by default prompt and response, without the chat template

    Paper: arXiv 2401.08383 (ExFlow), code read: top-1, each layer spread equally, the mean over tokens and consecutive layers of
    1[device changes] minimised by an integer program, by halving devices again and again, in Gurobi. Ours: pairs of experts at
    top-k above 1, layers whose experts do not divide equally, layer after layer in place of halving, scipy's HiGHS, held-out
    clusters and the interval.

    Not evidence of a speed-up: what a crossing costs depends on the machine, attention and shared experts move tokens too, and a
    device with popular experts is waited for (the notes say how busy the busiest is).
    Raises `WorkbenchError` for numbers out of range, over the limits, and without scipy.
    """
    _check(devices, heldout, seconds)
    _fewer_than_experts(store, devices)
    group, sequence = routed_units(store, tokens, roles, where)
    read, clusters = group >= 0, resampled(store, sequence, cluster)
    of_row = np.where(read, clusters.of_unit[group], -1)
    seen, measured, split = _split(of_row, heldout, seed)
    begun(_work(store, int(read.sum()), devices), limit_mb, "read fewer tokens")
    counted, sizes = [*steps(store, seen)], _sizes(store)
    found = _placed(counted, sizes, devices, seconds, seed, limit if one_program else None)
    there = [*steps(store, measured)]
    if not pairs_of(there) or not pairs_of(counted):
        raise WorkbenchError(
            f"No token of one part of '{store.path}' goes from layer to layer; give heldout=0 or more prompts."
        )
    frame = _frame(store, read, there, found.devices)
    options = {"devices": devices, "one_program": one_program, "heldout": heldout, "seconds": seconds}
    options |= {"tokens": describe(tokens, roles), "roles": roles, "where": where, "cluster": cluster}
    options |= {"n_bootstrap": n_bootstrap, "seed": seed, "limit": limit, "limit_mb": limit_mb}
    number = np.unique(of_row[measured], return_inverse=True)[1]
    interval = saved(store, measured, number, found.devices, round_robin(sizes, devices), n_bootstrap, seed)
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    notes = (*said_of(there, found.devices, round_robin(sizes, devices), interval, seed), *split, found.why)
    return SetTable.of(store, "placement", options, frame, (*notes, busiest(frame), *apart, clusters.note))


def _check(devices: int, heldout: float, seconds: float) -> None:
    if devices < 2 or not 0 <= heldout < 1 or seconds <= 0:
        raise WorkbenchError(
            f"devices={devices}, heldout={heldout:g} and seconds={seconds:g} place no experts; give 2 devices or more, heldout "
            f"from 0 to below 1, and some seconds."
        )
    try:
        import_module("scipy.optimize")
    except ImportError as error:
        raise WorkbenchError(
            "placement solves a program with scipy, which is not installed: pip install 'scipy>=1.15'."
        ) from error


def _fewer_than_experts(store: "Store", devices: int) -> None:
    """A device that no layer has an expert for serves nothing, and the programs would grow with every one."""
    most = max(_sizes(store).values(), default=devices)
    if devices > most:
        raise WorkbenchError(
            f"devices={devices:,} are more than the {most:,} experts of a layer of '{store.path}', so some would hold none; "
            f"give 2 to {most:,} devices."
        )


def _split(of_row: np.ndarray, heldout: float, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Bool [rows] that the placement sees, and those on which it is measured, with what to say of it."""
    clusters = np.unique(of_row[of_row >= 0])
    n_out = min(round(heldout * len(clusters)), len(clusters) - 1)
    if n_out < 1:
        return of_row >= 0, of_row >= 0, ("placed and measured on the same tokens, which flatters it",)
    out = np.random.default_rng([seed, 0]).permutation(clusters)[:n_out]
    measured = np.isin(of_row, out)
    said = f"placed on {len(clusters) - n_out} clusters of prompts, measured on {n_out} others"
    return (of_row >= 0) & ~measured, measured, (said,)


def _sizes(store: "Store") -> dict[int, int]:
    return {x: store.anatomy.layer(x).n_experts for x in sorted({x for pair in consecutive(store) for x in pair})}


def _work(store: "Store", tokens: int, devices: int) -> Work:
    sizes = _sizes(store)
    cells = sum(sizes[a] * sizes[b] for a, b in consecutive(store))
    seconds = cells * tokens / 3e9 + 40 * len(sizes) * max(sizes.values()) * devices / 1e5
    return Work(
        f"{sum(sizes.values()):,} experts on {devices} devices by {tokens:,} tokens",
        16 * cells + 12 * tokens * max(sizes.values()),
        seconds,
    )


def _placed(
    counted: list[Step], sizes: dict[int, int], devices: int, seconds: float, seed: int, limit: int | None
) -> Placed:
    if limit is not None:
        variables = devices * (sum(sizes.values()) + sum(int(np.count_nonzero(s.both)) for s in counted))
        if variables > limit:
            raise WorkbenchError(
                f"One program for {sum(sizes.values()):,} experts on {devices} devices has {variables:,} variables, over "
                f"limit={limit}; leave one_program away, which goes layer after layer, use fewer devices, or raise limit."
            )
    found = layer_after_layer(counted, sizes, devices, seconds, seed)
    best = None if limit is None else whole(counted, sizes, devices, seconds)
    if limit is not None and best is None:
        return found._replace(why=f"one program found nothing in seconds={seconds:g}; {found.why}")
    if best is None or staying(counted, best.devices) < staying(counted, found.devices):
        return found
    return best


def _frame(store: "Store", read: np.ndarray, counted: list[Step], devices: Devices) -> pd.DataFrame:
    """A row for each expert, devices in the order of their first expert, layer by layer."""
    rows: list[pd.DataFrame] = []
    for layer, device in devices.items():
        n = selected(store, layer, read).sum(axis=0)
        about = {"device": device, "layer": layer, "expert": np.arange(len(device)), "n": n}
        rows.append(pd.DataFrame({**about, "stays": stays(counted, devices, layer)}))
    frame: Any = pd.concat(rows, ignore_index=True)
    order = pd.factorize(frame["device"])[0] + 1
    frame = frame.assign(set=[f"device {number}" for number in order], device=order)
    frame = frame.sort_values(["device", "layer", "expert"], kind="stable")
    return frame[["set", "layer", "expert", "n", "stays"]].reset_index(drop=True)
