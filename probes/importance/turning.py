"""Which experts change the residual stream of a domain's tokens: EASY-EP's importance."""

from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from probes.checked import checked
from probes.importance.sums import Reading, Received, Sums, reading, slot_sums
from probes.ranking import ExpertScores, assemble
from probes.reading import Tokens, describe, label_values, sequence_of_row
from probes.statistics import ratio_interval
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def easy_ep(
    store: "Store",
    *,
    domains: str | None = None,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ExpertScores:
    """Output-aware importance of an expert times the contribution of its tokens.

        s[l, t]  = max(1 - cos(x, x + r), 0)              how far the routed experts of layer l turn token t
        score[e] = sum over t of  s[t] * w[t, e] * |y[t, e]|,  divided by the tokens read

    x  residual stream before the layer's experts and their norm; r  what the routed experts add together; w  the weight received;
    |y|  L2 norm of the expert's own output, before the weight. The store has to hold norms, and residual for s, which is its
    column `routed_change` (computed in float64 as the model ran): `capture(keep={'norms', 'residual'})`, the default.
    domains  a label, such as "topic": importance is divided by its sum over each layer in every domain, and averaged over
             them, so that a domain with many tokens does not decide
    tokens, roles, where, cluster  as in `ftri`. The paper reads prompt and the model's own answer: capture with generate=

    Range [0, inf), residual-stream units; [0, 1] with domains, where a layer sums to 1. 0 for an expert never selected (flag
    "dead"). n: tokens read that selected it, with a finite value. Interval over clusters; none with domains (a mean of shares of
    few domains). No p-value. The experts that can go are the last rows *of each layer*: the paper keeps as many in every one.

    Paper: arXiv 2504.06792 (full text) and repository RUCAIBox/EASYEP at 7324eb1: s, the product, keeping the first M of each
    layer, and mixed domains. Ours: dividing by the tokens read (ranks alike), intervals, leaving out the template.

    Not evidence that the others can go: pruned there are experts that *these* prompts do not need, and pruning re-routes (`off`).
    Memory: 16 bytes a cluster and expert, and 8 bytes a token.
    Raises `WorkbenchError` where norms, weights or residual were not kept, and for a label that does not exist.
    """
    if not store.has("residual"):
        raise WorkbenchError(
            f"The store '{store.path}' kept no residual, which says how far a layer's experts turn a token; capture it again "
            f"with keep={{'norms', 'residual'}}."
        )
    draws = 0 if domains else n_bootstrap
    read = reading(store, tokens, roles, where, cluster, weighted=True, draws=draws)
    read = read if domains is None else _by_domain(store, read, domains)
    change = lru_cache(maxsize=1)(partial(_routed_change, store))

    def value(layer: int, slots: Received) -> np.ndarray:
        return change(layer)[slots.row] * slots.weight * slots.norm

    found = slot_sums(store, read.of_row, ("weight", "output_l2"), value)
    options = {
        "domains": domains,
        "tokens": describe(tokens, roles),
        "roles": roles,
        "where": where,
        "cluster": cluster,
    }
    options |= {"n_bootstrap": n_bootstrap, "seed": seed}
    if domains is None:
        score = found.total.sum(axis=0) / read.tokens.sum()
        low, high, why = ratio_interval(found.total, read.tokens[:, None], read.tokens, n_bootstrap, seed)
    else:
        score, why = _shares(found).mean(axis=0), ("no interval: a mean over few domains has none",)
        low = high = np.full(len(score), np.nan)
    columns = {"score": score, "n": found.n.sum(axis=0), "low": low, "high": high}
    least = "the experts that can go are the last rows of each layer: pruning takes its lowest scores"
    notes = (least, *read.notes, *why, "no p-value: a size has no null")
    return assemble(store, "easy_ep", options, found.axis, columns, notes)


def _by_domain(store: "Store", read: Reading, label: str) -> Reading:
    """The tokens read with the label's values as clusters; those of responses without one are left out."""
    values = label_values(store, label)
    names = sorted({value for value in values if value is not None})
    number = np.array([-1 if value is None else names.index(value) for value in values], np.int64)
    of_row = np.where(read.of_row >= 0, number[sequence_of_row(store)], -1)
    tokens = np.bincount(of_row[of_row >= 0], minlength=len(names))
    if not len(names) or not tokens.all():
        raise WorkbenchError(
            f"Not every value of '{label}' in '{store.path}' ({', '.join(names) or 'none'}) has tokens that are read; name a "
            f"label that the prompts have, or read other tokens."
        )
    said = ", ".join(f"{name} ({n} tokens)" for name, n in zip(names, tokens, strict=True))
    return Reading(of_row, tokens, (*read.notes, f"domains with equal say: {said}"))


def _shares(found: Sums) -> np.ndarray:
    """[domains, experts] importance over its layer's sum; 0 in a layer where nothing was added."""
    share = np.zeros_like(found.total)
    for layer in np.unique(found.axis.layer):
        here = found.axis.layer == layer
        whole = found.total[:, here].sum(axis=1, keepdims=True)
        share[:, here] = np.divide(found.total[:, here], whole, out=share[:, here], where=whole > 0)
    return share


def _routed_change(store: "Store", layer: int) -> np.ndarray:
    """[rows of store.tokens] s of the layer, 0 where rounding made it negative, NaN where the token was not computed."""
    found = np.full(len(store.tokens), np.nan)
    for batch in store.scan("residual", [*store.key_columns, "routed_change"], [layer]):
        row = store.token_index.rows(batch)
        change = batch.column("routed_change").to_numpy(zero_copy_only=False)
        found[row[row >= 0]] = np.maximum(change[row >= 0], 0)
    return found
