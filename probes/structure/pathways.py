"""Which expert of the next layer follows an expert: inter-layer affinity, and its lift over independence."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import PairTable
from probes.reading import Tokens, describe, prompt_of_row, routed_units, template_notes, used_prompts
from probes.statistics import resampled
from probes.structure.lifts import lift_interval
from probes.structure.steps import Step, consecutive, steps
from probes.structure.work import Work, begun
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

By = Literal["excess", "lift", "affinity"]


@checked
def pathways(
    store: "Store",
    *,
    by: By = "excess",
    first: int = 1000,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
    limit_mb: int = 2000,
) -> PairTable:
    """Which expert p of the next MoE layer the tokens of an expert i go to, and how much more often than by chance.

        affinity[i, p] = N[i, p] / N[i]                    the share of i's tokens that select p in the next MoE layer
        lift[i, p]     = affinity[i, p] / (N[p] / T)       over p's share of all tokens: 1 where the two are independent
        excess[i, p]   = N[i, p] / T - N[i] N[p] / T^2     share of all tokens beyond independence

    N[i, p]  tokens read that select i in a layer and p in the next (n); N[i] (n_expert), N[p] (n_other); T  tokens read
    by       what the rows are ordered by, the largest first. Affinity is led by experts that everybody uses, lift by those that
             few tokens use, excess by neither
    first    how many rows are kept; 0 keeps every pair
    tokens, roles, where, cluster  as in `ftri`; by default prompt and response, without the chat template
    limit_mb what it may hold in memory, E x E counts for each two layers and E bytes for each token; said before it starts

    Range: affinity [0, 1], summing over p to the next layer's top-k; lift from 0; excess [-1/4, 1/4]. Null: affinity of an
    expert that no token selects, lift where either is such. low, high: 95 % interval of the lift, over resampled clusters, of
    rows that were chosen for being large, so the first of them will be smaller elsewhere. No p-value.

    Paper: arXiv 2401.08383 (ExFlow), whose code was read: #{top-1 is i, then p} / #{top-1 is i}, which is the affinity at
    top-k 1. Above 1 nothing of the authors' is known, so it is ours: a token's two selected sets are paired each with each, and
    every pair that occurs counts once a token. Weighting pairs by 1/k^2 instead would divide affinity by the next layer's k
    and change neither lift nor the order. Lift, excess and intervals are ours too: raw affinity mostly says who is popular.

    Not evidence that i sends anything to p: both may follow the token's identity or its position, and lift says that they go
    together on these prompts. Switch i off and see whether p is still selected.
    Raises `WorkbenchError` for unknown words, over the limit, and when no two captured MoE layers follow each other.
    """
    if by not in get_args(By) or first < 0:
        raise WorkbenchError(
            f"by='{by}' and first={first} order and cut rows; by is {', '.join(get_args(By))}, first from 0."
        )
    group, sequence = routed_units(store, tokens, roles, where)
    read, clusters = group >= 0, resampled(store, sequence, cluster)
    of_token = clusters.of_unit[group[read]]
    work = _work(store, len(of_token), first, int(clusters.of_unit.max()) + 1 if n_bootstrap > 0 else 0)
    begun(work, limit_mb, "read fewer tokens, or keep fewer rows with first=100")
    frame = _ordered(pd.concat([_rows(step, len(of_token)) for step in steps(store, read)]), by, first)
    low, high, why = lift_interval(store, read, frame, of_token, n_bootstrap, seed)
    options = {"by": by, "first": first, "tokens": describe(tokens, roles), "roles": roles, "where": where}
    options |= {"cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed, "limit_mb": limit_mb}
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    said = (
        f"{len(of_token)} tokens of {len(sequence)} responses read",
        "low and high are the lift's; no p-value",
        str(work),
    )
    frame = frame.assign(low=low, high=high)
    return PairTable.of(store, "pathways", options, frame, (*said, *_cut(store), *apart, clusters.note, *why))


def _work(store: "Store", tokens: int, first: int, clusters: int) -> Work:
    """Twelve columns of 8 bytes a pair, twice while they are sorted; two layers of bools; counts by cluster of the rows kept."""
    sizes = [[store.anatomy.layer(layer).n_experts for layer in pair] for pair in consecutive(store)]
    cells, widest = sum(a * b for a, b in sizes), max(a + b for a, b in sizes)
    rows = min(first, cells) if first else cells
    seconds = (
        sum(2 * tokens * a * b for a, b in sizes) / 2e10 + tokens * len(sizes) / 1e6 + rows * tokens / 1e9 + cells / 2e6
    )
    return Work(
        f"{cells:,} pairs of experts over {tokens:,} tokens",
        cells * 192 + tokens * widest + 3 * 8 * clusters * rows,
        seconds,
    )


def _rows(step: Step, tokens: int) -> pd.DataFrame:
    i, p = (x.ravel() for x in np.indices(step.both.shape))
    n, first, second = step.both.ravel(), step.n[i], step.n_other[p]
    affinity = np.divide(n, first, out=np.full(len(n), np.nan), where=first > 0)
    lift = np.divide(affinity * tokens, second, out=np.full(len(n), np.nan), where=second > 0)
    about = {"layer": step.layer, "expert": i, "other_layer": step.other, "other_expert": p, "n": n}
    excess = n / tokens - (first / tokens) * (second / tokens)
    about |= {"affinity": affinity, "lift": lift, "excess": excess}
    return pd.DataFrame({**about, "n_expert": first, "n_other": second})


def _ordered(frame: pd.DataFrame, by: By, first: int) -> pd.DataFrame:
    """The largest first, what is null last; equal ones (after rounding: sums in another order) by layer and number."""
    places = ["layer", "expert", "other_layer", "other_expert"]
    order = np.lexsort([*(frame[name] for name in reversed(places)), -frame[by].round(12).fillna(-np.inf)])
    return frame.iloc[order[:first] if first else order].reset_index(drop=True)


def _cut(store: "Store") -> tuple[str, ...]:
    """What of the model the counts say, where that is not all, and how more than one expert a token was counted."""
    shapes = {store.anatomy.layer(layer).top_k for pair in consecutive(store) for layer in pair}
    many = f"top-{max(shapes)}: each two experts of a token's two sets count once; the paper's affinity is of top-1"
    missing = [b for a, b in pairwise(store.anatomy.moe_layers) if (a, b) not in consecutive(store)]
    apart = f"MoE layers whose predecessor was not captured with them: {', '.join(map(str, missing))}"
    return (*([many] if max(shapes) > 1 else []), *([apart] if missing else []))
