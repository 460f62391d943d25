"""What every expert is for, in words, and how well these tell where it is selected in prompts that were held out."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.baselines import baseline_note, words
from probes.checked import checked
from probes.ranking import SetTable
from probes.reading import (
    Tokens,
    prompt_column,
    prompt_of_row,
    routed_units,
    sequence_of_row,
    template_notes,
    used_prompts,
)
from probes.reading import describe as named
from probes.specialisation.describer import Asking, asking, said_by
from probes.specialisation.labels import Side, Told, auroc, labels_of, met
from probes.statistics import interval
from workbench.anatomy import as_ref
from workbench.errors import WorkbenchError
from workbench.resample import cluster_draws, effective_clusters, joined

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def describe(
    store: "Store",
    *,
    n_words: int = 5,
    evidence: float = 10.0,
    heldout: float = 0.5,
    experts: list[str] | None = None,
    endpoint: str | None = None,
    model: str = "",
    contexts: int = 10,
    calls: int = 100,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> SetTable:
    """A label for every expert, and how well it tells where the expert is selected in prompts that were held out.

        label      the words v at which it is selected more than elsewhere, by  k[v] log2( (k[v] / n[v]) / (K / T) ),  and the
                   words that stand before such a token, by the same
        auroc      of held-out tokens, how often one that selected it has more of the label than one that did not; ties count
                   half. A token has 0, 1 or 2 of it: it is such a word, follows such a word, or both

    n[v], k[v]  occurrences of the word, and those that select the expert; T tokens, K of them select it: in the described prompts
    n_words   of each of the two kinds, at most
    evidence  what a word needs, in G (twice the log likelihood ratio, in nats, of its own rate against the expert's): 10 is
              0.16 % by chance, if its occurrences were independent
    heldout   share of the clusters of prompts that are not described; no prompt, pair or cluster is on both sides
    experts   only these, such as ["L3E5"]
    endpoint  an OpenAI-compatible address whose `model` describes in its own words, from `contexts` places where the expert was
              selected and as many where not, and is then asked which of as many held-out ones its label means: two calls an
              expert. Off by default: text of the store leaves this machine. Where it goes and how many contexts is said
              before; more than `calls` is refused. The key is that of the environment, WORKBENCH_DESCRIBE_KEY
    tokens, roles, where  as in `ftri`

    A row an expert, the best of a layer first; set: its layer. auroc in [0, 1], 1/2 is chance; low, high: 95 % over resampled
    clusters (not of a model's labels: few contexts). Null where none, or every, held-out token selects it, or nothing
    describes it. n: held-out tokens that select it; described: those the label is from.

    Ours, after MILAN's idea (arXiv 2201.11114) that a label is worth what it predicts elsewhere. The first note is the
    baseline of every such claim: what the token's id alone predicts.

    Not evidence of what the expert does: a label says at which words it is used. Below about 0.6 it says hardly that.
    Raises `WorkbenchError` for numbers out of range, one cluster, a store without text, too many calls, and a failing endpoint.
    """
    _check(n_words, evidence, heldout)
    wanted = asking(store, endpoint, model, contexts, calls, experts)
    group, _ = routed_units(store, tokens, roles, where)
    word, before, texts = _words(store)
    out, cluster = _split(store, group >= 0, heldout, seed)
    sides = [np.flatnonzero((group >= 0) & (out == held)) for held in (False, True)]
    frames = []
    for layer in _layers(store, experts):
        expert = store.routing(layer).expert
        own, other = (Side(word[rows], before[rows], expert[rows], cluster[rows]) for rows in sides)
        told = labels_of(own, len(texts), store.anatomy.layer(layer).n_experts, n_words, evidence)
        frames.append(_rows(layer, own, other, told, texts, n_bootstrap, seed))
    frame: Any = pd.concat(frames, ignore_index=True)
    if experts is not None:
        frame = frame[[f"L{layer}E{e}" in experts for layer, e in zip(frame["layer"], frame["expert"], strict=True)]]
    frame = frame if wanted is None else said_by(wanted, store, frame, (sides[0], sides[1]), seed)
    order = np.lexsort([frame["expert"], -frame["auroc"].fillna(-1), frame["layer"]])
    options: dict[str, Any] = {"n_words": n_words, "evidence": evidence, "heldout": heldout, "experts": experts}
    options |= {"endpoint": endpoint, "model": model, "contexts": contexts, "calls": calls}
    options |= {
        "tokens": named(tokens, roles),
        "roles": roles,
        "where": where,
        "n_bootstrap": n_bootstrap,
        "seed": seed,
    }
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    read = f"described on {len(sides[0])} tokens, held out {len(sides[1])} of other prompts"
    notes = (baseline_note(store, group >= 0, seed), read, *apart, _summary(frame), *_by_whom(wanted))
    return SetTable.of(store, "describe", options, frame.iloc[order], notes)


def _layers(store: "Store", experts: list[str] | None) -> list[int]:
    """Those of the experts asked for; all where none of them is of this store, so that its table has its columns."""
    asked = set(store.layers) if experts is None else {as_ref(name).layer for name in experts}
    return sorted(asked & set(store.layers)) or list(store.layers)


def _check(n_words: int, evidence: float, heldout: float) -> None:
    if n_words < 1 or evidence < 0 or not 0 < heldout < 1:
        raise WorkbenchError(
            f"n_words={n_words}, evidence={evidence:g} and heldout={heldout:g} describe nothing; give 1 word or more, evidence "
            f"from 0, and heldout between 0 and 1."
        )


def _words(store: "Store") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """[rows of store.tokens] numbers of the words at each token and before it, and the words; the last number is no word."""
    text: Any = store.tokens["token"]
    if bool(text.isna().any()):
        raise WorkbenchError(
            f"'{store.path}' was captured without text, so no word can describe an expert; capture it again without --no-text."
        )
    word = words(store, "token")
    known = np.empty(int(word.max()) + 1, object)
    known[word] = text.astype(object).to_numpy()
    opens = np.diff(sequence_of_row(store), prepend=-1) != 0
    return word, np.where(opens, len(known), np.roll(word, 1)), known.tolist()


def _split(store: "Store", read: np.ndarray, heldout: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """[rows of store.tokens] whether it is of a prompt that is held out, and the number of its cluster."""
    names = (prompt_column(store, name) for name in ("pair", "cluster"))
    cluster = joined(*names, list(range(store.n_prompts)))[prompt_of_row(store)]
    present = np.unique(cluster[read])
    if len(present) < 2:
        raise WorkbenchError(
            f"The tokens read of '{store.path}' are of one cluster of prompts, and some have to be held out; read more prompts."
        )
    n_out = min(max(round(heldout * len(present)), 1), len(present) - 1)
    drawn = np.random.default_rng([seed, 4]).permutation(present)[:n_out]
    return np.isin(cluster, drawn), cluster


def _rows(
    layer: int, own: Side, other: Side, told: Told, texts: list[str], n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """Every expert of a layer with its label, and how the label fares on the other side."""
    kept, cluster = np.unique(other.cluster, return_inverse=True)
    counts = met(other._replace(cluster=cluster), told, len(texts), len(kept))
    whole = counts.sum(axis=0)
    labels = [_label(at, before, texts) for at, before in zip(*told, strict=True)]
    nothing = np.array([not label for label in labels])
    n_experts, low, high = len(labels), np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    if n_bootstrap > 0 and len(kept) > 1:
        drawn = cluster_draws(np.arange(len(kept)), n_bootstrap, np.random.default_rng([seed, 1]))
        effective = effective_clusters(np.ones(len(cluster)), cluster)

        def replicates(block: np.ndarray) -> np.ndarray:
            return auroc(np.tensordot(drawn, counts[:, block].astype(np.float64), axes=1))

        low, high = interval(replicates, n_experts, len(drawn), effective)
    described = np.bincount(own.expert[own.expert >= 0], minlength=n_experts)
    values = {"auroc": auroc(whole), "low": low, "high": high}
    about = {"set": f"layer {layer}", "layer": layer, "expert": np.arange(n_experts), "n": whole[..., 1].sum(axis=1)}
    hidden = {name: np.where(nothing, np.nan, value) for name, value in values.items()}
    return pd.DataFrame({**about, **hidden, "described": described, "label": labels})


def _label(at: np.ndarray, before: np.ndarray, texts: list[str]) -> str:
    """Its words as text: those at the token, then those before it; empty where there is none."""
    here = " ".join(repr(texts[i]) for i in at if i >= 0)
    earlier = " ".join("the start" if i == len(texts) else repr(texts[i]) for i in before if i >= 0)
    return "; ".join([*([here] if here else []), *([f"after {earlier}"] if earlier else [])])


def _summary(frame: pd.DataFrame) -> str:
    known: Any = frame["auroc"].dropna()
    if known.empty:
        return "no label could be held against anything"
    good = int((known >= 0.6).sum())
    return f"median AUROC {known.median():.2f} of {len(known)} labels; {good} reach 0.6, where 0.5 is chance"


def _by_whom(wanted: Asking | None) -> tuple[str, ...]:
    return () if wanted is None else (f"labels by {wanted.model} at {wanted.endpoint}: {wanted.sent}",)
