"""What may change places under the null, and what is resampled: pairs, clusters, prompts or samples."""

from math import exp, log
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from probes.reading import label_values, prompt_column
from probes.statistics.permute import Blocks, log_relabellings, permutations
from workbench.errors import WorkbenchError
from workbench.resample import FEW, joined

if TYPE_CHECKING:
    from workbench.store import Store

Permute = Literal["auto", "pairs", "pairs_alone", "clusters", "whole_clusters", "prompts", "samples"]
ENOUGH = 20
"""Fewer different relabellings than this cannot reach p = 0.05."""


class Exchange(NamedTuple):
    """Blocks to permute, clusters to resample, and how to say it."""

    blocks: Blocks
    cluster: np.ndarray
    """[units] number of the cluster that is resampled as a whole."""
    notes: tuple[str, ...]
    permute: str
    relabellings: float
    """How many different relabellings there are (inf when beyond a float)."""


def exchange(
    store: "Store", sequence: np.ndarray, label: np.ndarray, permute: Permute = "auto", cluster: str = "auto"
) -> Exchange:
    """For units (`sequence` numbers, with a class number each): who exchanges labels with whom, and who is resampled together.

    permute  "pairs"           prompts of one pair exchange labels, the pairs of one cluster all together or not at all:
                               what a cluster adds to the difference of one pair it adds to the others'
             "pairs_alone"     the same, each pair by itself, whatever cluster it is in
             "clusters"        prompts of one cluster exchange labels
             "whole_clusters"  clusters exchange labels as wholes; all of a cluster must be in one class, or clusters alike
             "prompts"         any prompts exchange labels, with all their samples
             "samples"         the samples of a prompt exchange labels
             "auto"            the first of pairs (where prompts name them; together, then alone), clusters and whole
                               clusters (where prompts name them, else prompts) with 20 or more different relabellings
    cluster  what is resampled: "prompt", "pair", "cluster", a label, or "auto": clusters where prompts name them, else
             pairs, else prompts; a pair across two clusters makes one of them (`workbench.resample.joined`)
    """
    prompt = sequence // store.n_samples
    pair, group = _keys(store, prompt, "pair"), _keys(store, prompt, "cluster")
    chosen, blocks, relabellings = _choose(permute, _schemes(prompt, pair, group), label)
    clusters = resampled(store, sequence, cluster)
    notes = (
        f"labels exchanged {_SAID[chosen]}"
        + (f": only {relabellings:.0f} different relabellings, so p cannot be small" if relabellings < ENOUGH else ""),
        clusters.note,
    )
    return Exchange(blocks, clusters.of_unit, notes, chosen, relabellings)


def relabelled(found: Exchange, n: int, seed: int) -> np.ndarray:
    """[n, units] from which unit each takes its label in each of `n` relabellings, drawn from `seed`."""
    return permutations(found.blocks, n, np.random.default_rng([seed, 0]))


class Clusters(NamedTuple):
    """What a bootstrap resamples as a whole."""

    of_unit: np.ndarray
    """[units] cluster number from 0."""
    note: str


def resampled(store: "Store", sequence: np.ndarray, cluster: str = "auto") -> Clusters:
    """The cluster of every unit; `cluster` as in `exchange`."""
    prompt = sequence // store.n_samples
    if cluster != "auto":
        return _said_clusters(_codes(_keys(store, prompt, cluster) or list(prompt)), cluster)
    keys = {name: found for name in ("cluster", "pair") if (found := _keys(store, prompt, name))}
    whole = joined(*(_named(store, prompt, name) for name in keys), list(prompt))
    alike = [name for name in keys if (joined(_named(store, prompt, name), list(prompt)) == whole).all()]
    said = alike[0] if alike else "cluster and pair together" if keys else "prompt"
    return _said_clusters(_numbered(whole, next(iter(keys.values()), list(prompt))), said)


def _numbered(whole: np.ndarray, keys: "list[str] | list[int]") -> np.ndarray:
    """The same clusters in the order of the smallest key in each, so that a seed draws what it always drew."""
    first: dict[int, Any] = {}
    for number, key in zip(whole.tolist(), keys, strict=True):
        first[number] = min(key, first.get(number, key))
    return _codes([first[number] for number in whole.tolist()])


def _said_clusters(codes: np.ndarray, name: str) -> Clusters:
    n = int(codes.max()) + 1
    few = f", and intervals from fewer than {FEW} are too narrow" if n < FEW else ""
    return Clusters(codes, f"intervals resample {n} of '{name}' as wholes{few}")


_SAID = {
    "pairs": "within pairs",
    "pairs_alone": "within pairs, each by itself whatever its cluster",
    "clusters": "within clusters",
    "whole_clusters": "between whole clusters",
    "prompts": "between prompts",
    "samples": "between the samples of a prompt",
}


def _schemes(prompt: np.ndarray, pair: list[str] | None, group: list[str] | None) -> dict[str, Blocks]:
    prompts, one = _codes(list(prompt)), np.zeros(len(prompt), np.int64)
    found: dict[str, Blocks] = {}
    if pair:
        alone = Blocks(prompts, _of_block(prompts, _codes(pair)))
        found["pairs"] = alone._replace(group=_of_block(prompts, joined(pair, group))) if group else alone
        found["pairs_alone"] = alone
    if group:
        clusters = _codes(group)
        found["clusters"] = Blocks(prompts, _of_block(prompts, clusters))
        found["whole_clusters"] = Blocks(clusters, _of_block(clusters, one))
    found["prompts"] = Blocks(prompts, _of_block(prompts, one))
    found["samples"] = Blocks(np.arange(len(prompt)), prompts)
    return found


def _choose(permute: Permute, schemes: dict[str, Blocks], label: np.ndarray) -> tuple[str, Blocks, float]:
    if permute not in get_args(Permute):
        raise WorkbenchError(f"permute='{permute}' is not known; labels exchange by {', '.join(get_args(Permute))}.")
    if permute != "auto":
        if permute not in schemes:
            raise WorkbenchError(
                f"permute='{permute}' needs prompts that name a {'pair' if 'pairs' in permute else 'cluster'}; none does."
            )
        _check_sizes(permute, schemes[permute], label)
        return permute, schemes[permute], _count(schemes[permute], label)
    names = [
        n for n in ("pairs", "pairs_alone", "clusters", "whole_clusters") if n in schemes and _fits(schemes[n], label)
    ]
    if "clusters" not in schemes:
        names.append("prompts")
    counted = {name: _count(schemes[name], label) for name in names}
    chosen = next((n for n, count in counted.items() if count >= ENOUGH), max(counted, key=lambda n: counted[n]))
    return chosen, schemes[chosen], counted[chosen]


def _count(blocks: Blocks, label: np.ndarray) -> float:
    found = log_relabellings(blocks, label)
    return exp(found) if found < log(1e300) else float("inf")


def _fits(blocks: Blocks, label: np.ndarray) -> bool:
    """Whether every stratum's blocks have equal sizes, or every block one label."""
    size, codes = np.bincount(blocks.of_unit), np.unique(blocks.stratum, return_inverse=True)[1]
    largest = np.zeros(int(codes.max()) + 1, np.int64)
    np.maximum.at(largest, codes, size)
    labels = np.unique(blocks.of_unit * (int(label.max()) + 1) + label)
    return bool((size == largest[codes]).all()) or len(labels) == len(size)


def _check_sizes(permute: str, blocks: Blocks, label: np.ndarray) -> None:
    if not _fits(blocks, label):
        raise WorkbenchError(
            f"permute='{permute}' moves whole blocks of prompts, which differ in size and hold both classes here; use another."
        )


def _keys(store: "Store", prompt: np.ndarray, name: str) -> list[str] | None:
    """The key of each unit's prompt, a prompt without one standing alone; None when no prompt has one."""
    if name == "prompt":
        return None
    if name in ("pair", "cluster", "split"):
        column = prompt_column(store, name)
    else:
        if name not in set(store.labels["name"]):
            raise WorkbenchError(
                f"cluster='{name}' is not known in '{store.path}'; resample prompt, pair, cluster or a label's values."
            )
        column = label_values(store, name)[:: store.n_samples]
    found = [column[p] for p in prompt]
    if all(key is None for key in found):
        return None
    return [f"key {key}" if key is not None else f"prompt {p}" for key, p in zip(found, prompt, strict=True)]


def _named(store: "Store", prompt: np.ndarray, name: str) -> list[str | None]:
    """The pair or cluster of each unit's prompt."""
    column = prompt_column(store, name)
    return [column[p] for p in prompt]


def _codes(keys: "list[str] | list[int]") -> np.ndarray:
    return np.unique(np.asarray(keys), return_inverse=True)[1]


def _of_block(block: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    out = np.zeros(int(block.max()) + 1, np.int64)
    out[block] = stratum
    return out
