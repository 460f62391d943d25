"""What a limit on how many tokens an expert serves would drop, and where in a text: OpenMoE's drop towards the end."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import LayerTable
from probes.reading import Tokens, describe, routed_units
from probes.statistics import ratio_interval, resampled
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

_EVERYWHERE = 0  # the column of all positions together


class _Read(NamedTuple):
    rows: np.ndarray
    """[tokens] rows of store.tokens, in the order in which they are served."""
    group: np.ndarray
    """[tokens] number of the responses that share the experts' places."""
    place: np.ndarray
    """[tokens] part of the positions, from 1."""
    cluster: np.ndarray
    """[tokens]"""


@checked
def capacity(
    store: "Store",
    *,
    factors: list[float] | tuple[float, ...] = (1.0, 1.25, 2.0),
    parts: int = 4,
    together: int = 1,
    tokens: Tokens | np.ndarray = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> LayerTable:
    """The share of selections that experts of limited capacity would drop, by layer, capacity factor and position.

        C       = ceil(factor * selections of the group / experts of the layer)         places of each expert
        dropped = selections that find C others of their group before them at the same expert / selections

    factors   1 is as many places as selections, if routing were even; Switch and GShard train with 1.25 and 2
    parts     into how many equal stretches positions are divided, up to the longest response
    together  how many responses share the places (a group), in the order of the store, one after the other
    tokens, roles, where, cluster  as in `ftri`; every token by default, since the template takes places too

    A row a layer, factor and stretch of positions (`first` to `last`; 0 to the longest is all of them): dropped, with low and
    high over resampled clusters, and n, its selections. Range [0, 1]: 0 where routing is even and factor 1 or more; all tokens
    with the same experts keep their first C, so that the end is dropped. What a model really drops is in no store: today's are
    captured without a limit.

    Paper: arXiv 2402.01739 (OpenMoE), section 4: tokens served in sequence order, and dropped beyond the capacity; late tokens
    more, most where the text is unlike the training data. Its evaluation's capacity factor is unverified. Ours: any factor,
    groups, all slots of a token served before the next token (GShard serves first choices of all tokens first), intervals.

    Not evidence of how the model would do under a limit: what is dropped may matter little, and it was not trained for it.
    Raises `WorkbenchError` for factors that are not above 0, parts or together below 1, and when no token read was routed.
    """
    if not len(factors) or min(factors) <= 0 or parts < 1 or together < 1:
        said = f"factors={list(factors)} should be above 0, parts={parts} and together={together} 1 or more"
        raise WorkbenchError(f"capacity cannot be simulated: {said}.")
    group, sequence = routed_units(store, tokens, roles, where)
    clusters = resampled(store, sequence, cluster)
    read, ends = _read(store, group, clusters.of_unit, parts, together)
    size = np.bincount(clusters.of_unit, np.bincount(group[group >= 0]))
    rows: list[dict[str, Any]] = []
    why: tuple[str, ...] = ()
    for layer in store.layers:
        for factor, dropped, served in _dropped(store, layer, read, factors, len(ends)):
            low, high, why = ratio_interval(dropped, served, size, n_bootstrap, seed)
            columns = {"dropped": dropped.sum(axis=0), "n": served.sum(axis=0)}
            for i, (first, last) in enumerate(ends):
                n = int(columns["n"][i])
                share = float(columns["dropped"][i] / n) if n else float("nan")
                at = {"layer": layer, "factor": factor, "first": first, "last": last}
                rows.append({**at, "dropped": share, "low": low[i], "high": high[i], "n": n})
    options = {"factors": list(factors), "parts": parts, "together": together, "tokens": describe(tokens, roles)}
    options |= {"roles": roles, "where": where, "cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    said = f"{len(read.rows)} tokens of {len(sequence)} responses, {together} at a time"
    frame = pd.DataFrame(rows).astype({"layer": "int32"})
    return LayerTable.of(
        store, "capacity", options, frame, (said, clusters.note, *why, "no p-value: a share has no null")
    )


def _read(
    store: "Store", group: np.ndarray, cluster: np.ndarray, parts: int, together: int
) -> tuple[_Read, list[tuple[int, int]]]:
    """The tokens in order, and the positions of each stretch: all of them, then one after the other."""
    rows = np.flatnonzero(group >= 0)
    position = store.tokens["position"].to_numpy()[rows].astype(np.int64)
    longest = int(position.max()) + 1
    parts = min(parts, longest)
    start = [-(-longest * i // parts) for i in range(parts + 1)]
    place = np.searchsorted(start, position, side="right") if parts > 1 else np.zeros(len(rows), np.int64)
    ends = [(0, longest - 1), *((a, b - 1) for a, b in pairwise(start) if parts > 1)]
    unit = group[rows]
    return _Read(rows, unit // together, place, cluster[unit]), ends


def _dropped(
    store: "Store", layer: int, read: _Read, factors: list[float] | tuple[float, ...], n_ends: int
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """For each factor, [clusters, stretches] selections that are dropped, and those that were made."""
    expert, n_experts = store.routing(layer).expert[read.rows], store.anatomy.layer(layer).n_experts
    token, slot = np.nonzero(expert >= 0)
    chosen, group = expert[token, slot], read.group[token]
    before = _before(group * n_experts + chosen)
    made = np.bincount(group)
    n_clusters = int(read.cluster.max()) + 1
    cell = read.cluster[token] * n_ends + read.place[token]

    def summed(values: np.ndarray) -> np.ndarray:
        found = np.bincount(cell, values, n_clusters * n_ends).reshape(n_clusters, n_ends)
        found[:, _EVERYWHERE] = found.sum(axis=1)
        return found

    served = summed(np.ones(len(cell)))
    for factor in factors:
        places = np.ceil(
            factor * made / n_experts - 1e-9
        )  # a product that rounding lifts over a whole number is that number
        yield factor, summed((before >= places[group]).astype(np.float64)), served


def _before(code: np.ndarray) -> np.ndarray:
    """How many of the same code stand before each."""
    order = np.argsort(code, kind="stable")
    ordered = code[order]
    first = np.searchsorted(ordered, ordered)
    out = np.empty(len(code), np.int64)
    out[order] = np.arange(len(code)) - first
    return out
