"""The few experts of each layer that a task's tokens go to: expert-specialised fine-tuning's choice (ESFT)."""

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.importance.sums import Reading, Sums, reading, slot_sums
from probes.ranking import SetTable
from probes.reading import Tokens, describe
from probes.statistics import ratio_interval
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

Measure = Literal["ratio", "weight"]
_ROUNDING = 1e-12


@checked
def esft(
    store: "Store",
    *,
    measure: Measure = "ratio",
    p: float = 0.2,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> SetTable:
    """In every layer the smallest set of experts that together reach a share `p` of the tokens read.

        ratio   r[e] = selections of e / selections in its layer                (token selection ratio)
        weight  g[e] = sum of the weights that e received / tokens read         (average gate score)
        set     experts of the layer by falling score, until their sum is p or more; equal scores by number

    measure  which of the two scores; p  in (0, 1]
    tokens, roles, where, cluster  as in `ftri`; choose the task's prompts by `where`

    A row a member: set ("layer 3"), layer, expert, score, low, high, reached (the sum of scores up to this member), n (tokens
    read that selected it). Range [0, 1] for the ratio, which sums to 1 in a layer. Weights sum to the layer's own total: 1
    where the model renormalises, less where it does not, so that a layer may never reach p; then its set is every expert
    that was selected, and a note says so. An expert never selected is in no set. The interval is that of the score, over
    resampled clusters; being in a set has none, and no p-value.

    Paper: arXiv 2407.01906, and repository deepseek-ai/ESFT at 579a771 (scripts/expert): both scores, pooled over tokens, and
    the smallest set by falling score. p = 0.2 is the repository's for the ratio; the paper's for the gate was not read. Its
    gate score is the router's softmax, not renormalised: the weight received is that only where the model does not renormalise.
    Not followed: the repository's script divides by sums over layers, not over experts. Ours: intervals, and the rule for
    layers that never reach p.

    Not evidence that tuning or removing these experts changes the task: it is where its tokens go. A frequent expert is in
    the set of every task; compare the sets of two.
    Raises `WorkbenchError` for an unknown measure, p outside (0, 1], and where weights are asked for and the store has none.
    """
    if measure not in get_args(Measure):
        raise WorkbenchError(f"measure='{measure}' is not known; it can be {', '.join(get_args(Measure))}.")
    if not 0 < p <= 1:
        raise WorkbenchError(f"p={p:g} is no share that a set can reach; give more than 0 and at most 1.")
    read = reading(store, tokens, roles, where, cluster, weighted=measure == "weight", draws=n_bootstrap)
    found = slot_sums(store, read.of_row, ("weight",) if measure == "weight" else (), lambda _, slots: slots.weight)
    over = _over(found, read, measure)
    low, high, why = ratio_interval(found.total, over, read.tokens, n_bootstrap, seed)
    below = over.sum(axis=0)
    score = np.divide(found.total.sum(axis=0), below, out=np.zeros(len(found.axis.layer)), where=below > 0)
    columns = {"layer": found.axis.layer, "expert": found.axis.expert, "score": score, "low": low, "high": high}
    frame = pd.DataFrame({**columns, "n": found.n.sum(axis=0)})
    sets = [_reaching(part, p) for _, part in frame.groupby("layer")]
    short = [int(part["layer"].iloc[0]) for part in sets if part["reached"].iloc[-1] < p - _ROUNDING]
    notes = (*read.notes, *_said(sets, short, p), *why, "no p-value: being in a set has no null")
    options = {"measure": measure, "p": p, "tokens": describe(tokens, roles), "roles": roles, "where": where}
    options |= {"cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    return SetTable.of(store, "esft", options, pd.concat(sets, ignore_index=True), notes)


def _over(found: Sums, read: Reading, measure: Measure) -> np.ndarray:
    """[clusters, experts]: selections in each expert's layer, or the tokens read."""
    if measure == "weight":
        return np.repeat(read.tokens[:, None], len(found.axis.layer), axis=1)
    layers, of = np.unique(found.axis.layer, return_inverse=True)
    made = np.stack([found.n[:, of == i].sum(axis=1) for i in range(len(layers))], axis=1)
    return made[:, of]


def _reaching(part: Any, p: float) -> pd.DataFrame:
    """The first members of a layer that reach p, the highest score first."""
    part = part[part["n"] > 0].sort_values(["score", "expert"], ascending=[False, True], kind="stable")
    reached = part["score"].cumsum()
    before = reached - part["score"]
    kept = part.assign(set=[f"layer {layer}" for layer in part["layer"]], reached=reached)[before < p - _ROUNDING]
    return kept[["set", "layer", "expert", "score", "low", "high", "reached", "n"]]


def _said(sets: list[pd.DataFrame], short: list[int], p: float) -> tuple[str, ...]:
    sizes = [len(part) for part in sets]
    said = f"{sum(sizes)} experts in {len(sizes)} sets, {min(sizes)} to {max(sizes)} a layer, reach p = {p:g}"
    never = f"layers {', '.join(map(str, short))} never reach p: their sets are every expert that was selected"
    return (said, *([never] if short else []))
