"""Two stores as one sample: which prompts both hold, what is resampled together, and which labels "which store" may exchange."""

from math import exp, log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probes.statistics.exchange import ENOUGH, Exchange, resampled
from probes.statistics.permute import Blocks, log_relabellings
from workbench.resample import FEW, joined

if TYPE_CHECKING:
    from workbench.store import Store

Name = tuple[str, str | None]
"""A prompt's id, and its text where it was kept."""
_SAME, _REST = "prompt", "whole clusters"


class Side(NamedTuple):
    """One store, and the sequence number of every unit (response) that is read of it."""

    store: "Store"
    sequence: np.ndarray


def exchange_stores(sides: tuple[Side, Side], cluster: str = "auto") -> Exchange:
    """For the units of the first store followed by those of the second: what is resampled together, and who exchanges stores.

    A prompt is in both stores where its id and its text are: tuning changes neither. What one store resamples as a whole
    (`probes.statistics.resampled`) is joined with what the other does where they share a prompt, so that both stores' answers
    to one prompt come into a resample together. Under the null a prompt's responses may as well be the other store's:
    prompts of one cluster exchange their stores all together; clusters that share none exchange stores among themselves, as
    wholes; a prompt of one store in a cluster with shared ones stays where it is.
    """
    prompt = [name for side in sides for name in _prompts(side)]
    own = [(i, c) for i, side in enumerate(sides) for c in resampled(*side, cluster).of_unit.tolist()]
    label = np.repeat([0, 1], [len(side.sequence) for side in sides])
    of_unit = joined(own, prompt)
    shared = {*prompt[: len(sides[0].sequence)]} & {*prompt[len(sides[0].sequence) :]}
    blocks = _blocks(prompt, label, of_unit, shared)
    ways = log_relabellings(blocks, label)
    relabellings = exp(ways) if ways < log(1e300) else float("inf")
    return Exchange(blocks, of_unit, _said(prompt, of_unit, shared, relabellings), "auto", relabellings)


def _prompts(side: Side) -> list[Name]:
    """The name of each unit's prompt: its id, and its text where it was kept."""
    rows = side.store.prompts
    texts = [None if text is None or text != text else str(text) for text in rows["text"]]
    names = list(zip(rows["prompt_id"].astype(str), texts, strict=True))
    return [names[number // side.store.n_samples] for number in side.sequence.tolist()]


def _blocks(prompt: list[Name], label: np.ndarray, cluster: np.ndarray, shared: set[Name]) -> Blocks:
    """A shared prompt's responses of each store are a block; so is a cluster without shared prompts."""
    mixed = {c for c, name in zip(cluster.tolist(), prompt, strict=True) if name in shared}
    block: list[tuple[object, ...]] = []
    stratum: list[tuple[object, ...]] = []
    for name, side, c in zip(prompt, label.tolist(), cluster.tolist(), strict=True):
        is_alone = c in mixed and name not in shared
        block.append((_REST, c) if c not in mixed else (_SAME, side, name))
        stratum.append((_REST,) if c not in mixed else (_SAME, side if is_alone else None, name))
    numbers, strata = _numbered(block), _numbered(stratum)
    groups = np.where([c in mixed for c in cluster.tolist()], cluster + 1, 0)
    return Blocks(numbers, _of(numbers, strata), _of(numbers, groups))


def _numbered(names: list[tuple[object, ...]]) -> np.ndarray:
    known: dict[tuple[object, ...], int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)


def _of(block: np.ndarray, value: np.ndarray) -> np.ndarray:
    out = np.zeros(int(block.max()) + 1, np.int64)
    out[block] = value
    return out


def _said(prompt: list[Name], cluster: np.ndarray, shared: set[Name], relabellings: float) -> tuple[str, ...]:
    n, few = int(cluster.max()) + 1, ""
    if n < FEW:
        few = f", and intervals from fewer than {FEW} are too narrow"
    how = "within prompts" if len(shared) == len({*prompt}) else "within shared prompts, and between other clusters"
    how = how if shared else "between whole clusters"
    rare = f": only {relabellings:.0f} different relabellings, so p cannot be small" if relabellings < ENOUGH else ""
    return (
        f"{len(shared)} of {len({*prompt})} prompts are in both stores; stores exchanged {how}{rare}",
        f"intervals resample {n} clusters of prompts as wholes{few}",
    )
