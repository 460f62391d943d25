"""Which paths through the layers tokens share: clusters of them, as sets of experts."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import SetTable
from probes.reading import Tokens, describe, prompt_of_row, routed_units, template_notes, used_prompts
from probes.structure.bundles import Bundles, Paths, bundles, likeness, paths_of, shuffled
from probes.structure.work import Work, begun
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

_WORDS = 5


@checked
def path_clusters(
    store: "Store",
    *,
    clusters: int = 8,
    share: float = 0.5,
    most: int = 10_000,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    seed: int = 0,
    limit_mb: int = 2000,
) -> SetTable:
    """Which tokens go together through the whole model, and by which experts each such cluster is known.

        path       of a token: 1 for every expert that it selects, in all layers kept, else 0
        cluster    k-means of the paths by cosine: the first centre is the path most like the mean of all, each next one the
                   path least like those before; then tokens go to the nearest centre, centres to the mean, until none moves
        share[e]   of a cluster's tokens, how many select e;  elsewhere[e] the same of all other tokens

    clusters  how many; the largest is "cluster 1". Fewer are found where some lose all their tokens
    share     which experts are its members: selected by so many of its tokens, and by a larger share than elsewhere
    most      tokens at most, drawn by `seed` where more are read (0: all)
    tokens, roles, where  as in `ftri`; limit_mb  what it may hold in memory, said before it starts

    n: the cluster's tokens that select the expert. Range of share and elsewhere [0, 1]. The notes have each cluster's tokens,
    cohesion (mean cosine with its centre) and most frequent words: where these are a handful, the cluster is of words. Beside
    them stands what chance gives: the mean cohesion of as many clusters of paths whose layers were dealt anew among the
    tokens. No interval and no p-value: the clusters were made to differ.

    Theirs: tokens clustered by their path through the experts (arXiv 2604.17837, abstract alone). Ours: k-means, its start,
    members, words, chance. A rerun gives the same: nothing but `most` and chance is drawn, by `seed`.

    Not evidence that a cluster is a topic: routing follows words; see `token_specialisation`, and steer the members.
    Raises `WorkbenchError` for numbers out of range, over the limit, and with fewer tokens than clusters.
    """
    if clusters < 2 or not 0 < share <= 1 or most < 0:
        raise WorkbenchError(
            f"clusters={clusters}, share={share:g} and most={most} give no clusters; give 2 clusters or more, share above 0 up "
            f"to 1, most from 0."
        )
    group, sequence = routed_units(store, tokens, roles, where)
    rows = np.flatnonzero(group >= 0)
    if len(rows) < clusters:
        raise WorkbenchError(
            f"{len(rows)} tokens of '{store.path}' are read, fewer than clusters={clusters}; read more."
        )
    drawn = bool(most) and len(rows) > most
    kept = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False)) if drawn else rows
    begun(_work(store, len(kept), clusters), limit_mb, "read fewer tokens, or give most=N")
    paths = paths_of(store, kept)
    found = bundles(paths, clusters)
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    read = f"{len(kept)} tokens of {len(sequence)} responses read" + (f", drawn from {len(rows)}" if drawn else "")
    notes = (
        read,
        *apart,
        _chance(paths, found, clusters, seed),
        *_said(store, kept, paths, found),
        "no interval, no p-value: the clusters were made to differ",
    )
    options = {"clusters": clusters, "share": share, "most": most, "tokens": describe(tokens, roles), "roles": roles}
    options |= {"where": where, "seed": seed, "limit_mb": limit_mb}
    return SetTable.of(store, "path_clusters", options, _members(store, found, share), notes)


def _members(store: "Store", found: Bundles, share: float) -> pd.DataFrame:
    """The experts of every cluster, layer by layer, the most selected of a layer first."""
    n, rows = np.bincount(found.of), []
    for number, size in enumerate(n):
        for layer, shares in zip(store.layers, found.shares, strict=True):
            counts = shares * n[:, None]
            elsewhere = (counts.sum(axis=0) - counts[number]) / max(len(found.of) - size, 1)
            own = np.flatnonzero((shares[number] >= share) & (shares[number] > elsewhere))
            for expert in own[np.argsort(-shares[number][own], kind="stable")]:
                about = {"set": f"cluster {number + 1}", "layer": layer, "expert": int(expert)}
                rows.append(
                    about
                    | {
                        "n": round(counts[number, expert]),
                        "share": shares[number, expert],
                        "elsewhere": elsewhere[expert],
                    }
                )
    return pd.DataFrame(rows, columns=["set", "layer", "expert", "n", "share", "elsewhere"])


def _cohesion(paths: Paths, found: Bundles) -> np.ndarray:
    """[tokens] cosine of each path with its cluster's centre."""
    return likeness(paths, found.shares)[np.arange(len(found.of)), found.of]


def _chance(paths: Paths, found: Bundles, clusters: int, seed: int) -> str:
    dealt = shuffled(paths, seed)
    chance = _cohesion(dealt, bundles(dealt, clusters)).mean()
    return f"cohesion {_cohesion(paths, found).mean():.2f}; {chance:.2f} where each layer's choices are dealt anew among tokens"


def _said(store: "Store", rows: np.ndarray, paths: Paths, found: Bundles) -> list[str]:
    """Each cluster's tokens, cohesion and words; and what one cluster of all would have."""
    own = _cohesion(paths, found)
    n = np.bincount(found.of)
    centre = [(shares * n[:, None]).sum(axis=0, keepdims=True) / n.sum() for shares in found.shares]
    words = store.tokens["token"].astype(object).to_numpy()[rows]
    said = [f"cohesion of all tokens as one cluster {likeness(paths, centre)[:, 0].mean():.2f}"]
    for number, size in enumerate(n):
        inside = found.of == number
        common = Counter(word for word in words[inside] if isinstance(word, str)).most_common(_WORDS)
        told = f"; its words: {', '.join(f'{word!r} {times}' for word, times in common)}" if common else ""
        said.append(f"cluster {number + 1}: {size} tokens, cohesion {own[inside].mean():.2f}{told}")
    return said


def _work(store: "Store", tokens: int, clusters: int) -> Work:
    slots = sum(store.anatomy.layer(layer).top_k for layer in store.layers)
    cells = tokens * slots * clusters
    return Work(f"{clusters} clusters of {tokens:,} paths", 24 * tokens * (slots + clusters), 20 * cells / 1e8)
