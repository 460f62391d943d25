"""Which neurons of the experts that one class of responses uses most are larger there than in another class: GateBreaker's."""

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import SetTable
from probes.reading import (
    Read,
    Tokens,
    class_notes,
    classes,
    describe,
    read_units,
    select,
    sequence_of_row,
    template_notes,
    used_rows,
)
from workbench.errors import WorkbenchError
from workbench.responses import Classifier

if TYPE_CHECKING:
    from workbench.store import Store

_COLUMNS = ("set", "layer", "expert", "neuron", "score", "z", "target_mean", "baseline_mean", "n")
_NUMBERS = {"set": "object", **dict.fromkeys(("layer", "expert", "neuron", "n"), "int64")}
DECIMALS = 12
_NONE_KEPT = (
    "the store kept neurons of none of the tokens read: read others, such as tokens=content, or capture with keep including "
    "'inner', which keeps those of every token"
)


@checked
def neuron(
    store: "Store",
    target: str,
    baseline: str | None = None,
    *,
    candidates: int = 3,
    z: float = 2.0,
    tokens: Tokens | np.ndarray = "prompt_content",
    roles: str | list[str] | None = None,
    classifier: Classifier | None = None,
    where: str | None = None,
) -> SetTable:
    """Which neurons are larger in target than in baseline, in the experts that target uses most: GateBreaker's safety neurons.

        usage[e]    = mean over the target's responses of the share of the tokens read that selected e
        f[j, e, i]  = max over the tokens t read of response j that selected e of  h[t, e, i];  0 where no token did
        score[e, i] = mean of f over the target's responses - mean of f over the baseline's
        z[e, i]     = (score[e, i] - mean of score[e, .]) / standard deviation of score[e, .]      over the expert's neurons
        a row for each (e, i) of a candidate with  |z| > `z`  and  score > 0

    h           act(gate x) * up x, as capture(keep={"inner"}) keeps it; of a share of the tokens the others count as not read
    candidates  of each layer the `candidates` x top-k experts with the largest usage above 0, of equals the first; 0: all of them
    target, baseline, tokens, roles, classifier, where  as in `ftri`

    set: the expert, "L2E3"; layer, expert, neuron; target_mean, baseline_mean: the two means of f; n: tokens of both classes
    that selected the expert and have its neurons. Largest score first. Range of score (0, inf), in units of h, which differ
    by layer; of z both sides of 0, for the paper takes its size: a module whose neurons all grew has high ones below its mean.
    No row for an expert whose neurons all have one score. No interval and no p-value: the largest of many were chosen; z > 2 is
    passed by 1 neuron in 44 of normally distributed ones, whatever the labels, so compare with labels exchanged.
    Memory: 8 bytes a response, candidate and neuron, of one layer.

    Theirs: candidates by usage in target alone, maximum over a prompt's routed tokens, zeros where the expert got none, |z| > 2
    and above 0 (GateBreaker, arXiv 2512.21008; abstract and code read). They take the outputs of gate and up projections apart,
    and shared experts too; ours is their product after the activation, of routed experts. They then set these neurons to 0.

    Not evidence that a neuron carries the behaviour: a maximum grows with the number of tokens (the notes say how many were
    read), and classes differ in words.
    Raises `WorkbenchError` for unknown names, an empty class, and where the store kept no inner.
    """
    _check(store, candidates, z)
    chosen = classes(store, target, baseline, classifier=classifier, where=where)
    used, rows = used_rows(store, chosen)
    mask = select(store, tokens, roles, used) & rows & store.routed_tokens
    read = read_units(store, chosen, mask)
    found, seen = [], 0
    for layer in store.layers:
        able = _candidates(store, layer, read, candidates)
        own = _features(store, layer, mask, read, able)
        if own is None:
            continue
        seen += own.top.shape[1] * own.top.shape[2]
        found.append(_rows(layer, able, own, read.label, z))
    frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*_COLUMNS])
    order = np.lexsort([frame["neuron"], frame["expert"], frame["layer"], -frame["score"].astype(float)])
    frame = frame.iloc[order].astype(_NUMBERS)
    options = {"target": chosen.names[0], "baseline": baseline, "candidates": candidates, "z": z}
    options |= {"tokens": describe(tokens, roles), "roles": roles, "where": where}
    said = f"{len(frame):,} of {seen:,} neurons of the candidates stand out" if seen else _NONE_KEPT
    notes = (*chosen.notes, *template_notes(store, tokens, roles, rows), *class_notes(chosen, read), said)
    return SetTable.of(store, "neuron", options, frame, (*notes, "no p-value: the largest of many neurons were chosen"))


class Features(NamedTuple):
    """One layer: [responses, candidates, neurons] the maxima, -inf where no token was read; [candidates] tokens."""

    top: np.ndarray
    n: np.ndarray


def _candidates(store: "Store", layer: int, read: Read, times: int) -> np.ndarray:
    """[candidates] the experts of a layer that the target uses most, in order of number."""
    here = np.flatnonzero(read.axis.layer == layer)
    usage = (read.a[:, here] / read.tokens[:, None])[read.label == 0].mean(axis=0)
    first = np.argsort(-np.round(usage, DECIMALS), kind="stable")
    first = first[usage[first] > 0][: times * store.anatomy.layer(layer).top_k or None]
    return np.sort(read.axis.expert[here][first])


def _features(store: "Store", layer: int, mask: np.ndarray, read: Read, able: np.ndarray) -> Features | None:
    number = np.full(store.n_prompts * store.n_samples, -1)
    number[read.sequence] = np.arange(len(read.sequence))
    of_row, top, n = number[sequence_of_row(store)], None, np.zeros(len(able), np.int64)
    for row, expert, neurons in _batches(store, layer, mask, able):
        if top is None:
            top = np.full((len(read.sequence), len(able), neurons.shape[1]), -inf)
        at = np.searchsorted(able, expert)
        np.maximum.at(top, (of_row[row], at), neurons)
        n += np.bincount(at, minlength=len(able))
    return None if top is None else Features(top, n)


def _batches(
    store: "Store", layer: int, mask: np.ndarray, able: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of store.tokens [n], experts [n] and neurons [n, neurons] of tokens read, where all of them are numbers."""
    for batch in store.scan("inner", [*store.key_columns, "expert", "neurons"], [layer]):
        if not batch.num_rows:
            continue
        row, expert = store.token_index.rows(batch), batch.column("expert").to_numpy(zero_copy_only=False)
        neurons = batch.column("neurons").flatten().to_numpy(zero_copy_only=False).reshape(len(row), -1)
        kept = (row >= 0) & np.isin(expert, able) & np.isfinite(neurons).all(axis=1)
        kept[kept] = mask[row[kept]]
        if kept.any():
            yield row[kept], expert[kept], neurons[kept].astype(np.float64)


def _rows(layer: int, able: np.ndarray, own: Features, label: np.ndarray, least: float) -> pd.DataFrame:
    feature = np.where(own.top == -inf, 0.0, own.top)
    means = [feature[label == side].mean(axis=0) for side in (0, 1)]
    score = np.round(means[0] - means[1], DECIMALS)
    spread = score.std(axis=1, keepdims=True)
    away = np.divide(score - score.mean(axis=1, keepdims=True), spread, out=np.zeros_like(score), where=spread > 0)
    expert, neuron = np.nonzero((np.abs(away) > least) & (score > 0))
    frame = {"set": [f"L{layer}E{e}" for e in able[expert]], "layer": layer, "expert": able[expert], "neuron": neuron}
    frame |= {"score": score[expert, neuron], "z": away[expert, neuron], "target_mean": means[0][expert, neuron]}
    return pd.DataFrame(frame | {"baseline_mean": means[1][expert, neuron], "n": own.n[expert]}, columns=[*_COLUMNS])


def _check(store: "Store", candidates: int, z: float) -> None:
    if candidates < 0 or not z >= 0:
        raise WorkbenchError(f"candidates={candidates} and z={z} make no sense; both should be 0 or more.")
    if not store.has("inner"):
        raise WorkbenchError(
            f"The store '{store.path}' kept no neurons; capture it again with keep={{'norms', 'residual', 'inner'}}."
        )
