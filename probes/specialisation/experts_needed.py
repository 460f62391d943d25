"""How many experts a token needs, by how its router divides the weight: the signal behind top-p routing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import TokenTable
from probes.reading import Tokens, describe, routed_units, router_logits
from probes.statistics import ratio_interval, resampled
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

Weights = Literal["weight", "logits"]
_IDS = 256  # ids whose intervals are drawn at once: 256 x clusters are held
_ROUNDING = 1e-9


@checked
def difficulty(
    store: "Store",
    *,
    of: Weights = "weight",
    p: float = 0.5,
    least: int = 5,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> TokenTable:
    """How many experts reach a cumulative weight above `p`, by token id: few where the router is sure, many where it is not.

        needed[l, t] = the fewest experts whose shares add up to more than p;  shares of token t in layer l, the largest first
        needed[v]    = mean of needed[l, t] over all layers l and the tokens t whose id is v

    of     "weight": the weights that experts received, over their sum: between 1 and top-k, and all that every store has;
           "logits": the softmax of the router's logits over all experts, which the paper's models route by: 1 to E. The
           store has to hold them: `capture(keep={"logits"})`
    p      in (0, 1]; where the sum never exceeds p, every expert is needed
    least  ids that occur less often are left out, and a note says how many
    tokens, roles, where, cluster  as in `ftri`; tokens by default of prompt and response, without the template

    A row an id, the hardest first: token_id, token, needed with low and high over resampled clusters, n (tokens read). The
    notes have the mean by layer. No p-value: a size has no null.

    Paper: arXiv 2403.07652 and repository ZhenweiAn/Dynamic_MoE at f56bc20: the smallest prefix of the sorted softmax that
    exceeds p, its last expert included; p = 0.4 there, in models that route so, who spend more experts on harder tasks. Ours:
    reading it off models of a fixed k, weights in place of the softmax, averages by id.

    Not evidence that a word is hard: a router trained to be even is unsure everywhere, one that renormalises few weights sure.
    Compare words of one model, not two models.
    Raises `WorkbenchError` for p outside (0, 1], no logits, no weights or no token ids in the store.
    Memory: 8 bytes a token, and one layer's selections or a batch of logits.
    """
    if of not in get_args(Weights) or not 0 < p <= 1 or least < 1:
        said = f"of='{of}' can be {', '.join(get_args(Weights))}, p={p:g} should be more than 0 and at most 1"
        raise WorkbenchError(f"difficulty cannot be asked so: {said}, least={least} 1 or more.")
    if of == "weight" and "weight" in store.lacks:
        raise WorkbenchError(
            f"The store '{store.path}' holds expert ids without their routing weights; use of='logits'."
        )
    ids: Any = store.tokens["token_id"]
    if ids.isna().any():
        raise WorkbenchError(
            f"'{store.path}' was captured without text, so its token ids are unknown; capture it with text."
        )
    group, sequence = routed_units(store, tokens, roles, where, weighted=of == "weight")
    clusters = resampled(store, sequence, cluster)
    total, times, by_layer = np.zeros(len(group)), np.zeros(len(group)), {}
    for layer in store.layers:
        for rows, shares in (_weights if of == "weight" else _softmax)(store, layer, group >= 0):
            needed = _needed(shares, p)
            total[rows], times[rows] = total[rows] + needed, times[rows] + 1
            by_layer.setdefault(layer, []).append((needed.sum(), len(rows)))
    frame, said, why = _by_id(store, (total, times), clusters.of_unit, group, least, n_bootstrap, seed)
    options = {"of": of, "p": p, "least": least, "tokens": describe(tokens, roles), "roles": roles, "where": where}
    options |= {"cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    means = ", ".join(f"L{n} {_mean(found):.3g}" for n, found in by_layer.items())
    notes = (*said, f"by layer: {means}", clusters.note, *why, "no p-value: a size has no null")
    return TokenTable.of(store, "difficulty", options, frame, notes)


def _weights(store: "Store", layer: int, read: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rows = np.flatnonzero(read)
    weight = store.routing(layer).weight[rows].astype(np.float64)
    yield rows, weight / np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _softmax(store: "Store", layer: int, read: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for rows, logits in router_logits(store, layer, read):
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        yield rows, raised / raised.sum(axis=1, keepdims=True)


def _needed(shares: np.ndarray, p: float) -> np.ndarray:
    """[tokens] the fewest of shares [tokens, experts] that add up to more than p; all that have a share where none do."""
    reached = np.cumsum(-np.sort(-shares, axis=1), axis=1) > p + _ROUNDING
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, (shares > 0).sum(axis=1))


def _mean(found: list[tuple[Any, int]]) -> float:
    return float(sum(s for s, _ in found) / max(sum(n for _, n in found), 1))


def _by_id(
    store: "Store",
    seen: tuple[np.ndarray, np.ndarray],
    cluster: np.ndarray,
    group: np.ndarray,
    least: int,
    n_draws: int,
    seed: int,
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """A row for every id that occurs so often, the hardest first, and what to say of the others and of the interval."""
    total, times = seen
    rows = np.flatnonzero(times > 0)
    ids, of_row, n = np.unique(
        store.tokens["token_id"].to_numpy(np.int64)[rows], return_inverse=True, return_counts=True
    )
    mean = np.bincount(of_row, total[rows]) / np.bincount(of_row, times[rows])
    kept = np.flatnonzero(n >= least)
    kept = kept[np.lexsort((ids[kept], -np.round(mean[kept], 12)))]
    if not len(kept):
        raise WorkbenchError(
            f"No token id is read least={least} times; the most frequent {int(n.max())} times; ask for less."
        )
    first = np.zeros(len(ids), np.int64)
    first[of_row[::-1]] = rows[::-1]
    low, high, why = np.full(len(kept), np.nan), np.full(len(kept), np.nan), ()
    size = np.bincount(cluster, np.bincount(group[group >= 0]))
    for start in range(0, len(kept), _IDS):
        block = kept[start : start + _IDS]
        number = np.full(len(ids), -1)
        number[block] = np.arange(len(block))
        here = number[of_row] >= 0
        cell = cluster[group[rows[here]]] * len(block) + number[of_row[here]]
        sums = [
            np.bincount(cell, one[rows[here]], len(size) * len(block)).reshape(len(size), -1) for one in (total, times)
        ]
        low[start : start + _IDS], high[start : start + _IDS], why = ratio_interval(
            sums[0], sums[1], size, n_draws, seed
        )
    words = store.tokens["token"].astype(object).fillna("").to_numpy()[first[kept]]
    columns = {"token_id": ids[kept], "token": words, "needed": mean[kept], "low": low, "high": high, "n": n[kept]}
    whole = float(total[rows].sum() / times[rows].sum())
    said = f"{whole:.3g} experts a token and layer over {len(rows)} tokens"
    left = f"{len(ids) - len(kept)} of {len(ids)} ids occur less than {least} times and are left out"
    return pd.DataFrame(columns), (said, left), why
