"""Domains: the values of a label, and how often each selects an expert."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from probes.reading import Classes, label_values, sequence_of_row, used_prompts
from workbench.errors import WorkbenchError, listed

if TYPE_CHECKING:
    from workbench.store import Store

FEW, MOST = 12, 64
"""Labels with more values than these name texts or single answers: not domains by default, not domains at all."""
Statistic = Callable[[np.ndarray], np.ndarray]
"""From rates [domains, ..., experts] to one number for each expert [..., experts]."""


def domains_of(store: "Store", label: str | None, where: str | None) -> Classes:
    """A class for every value of a label, in order of name; responses without one are not compared.

    label: None for the only label of 2 to 12 values. Raises `WorkbenchError` where there is none or a choice, for an
    unknown one, and where fewer than two values or more than 64 are left.
    """
    label = _named(store, label)
    values = label_values(store, label)
    inside = np.repeat(used_prompts(store, where), store.n_samples)
    present = np.zeros(len(inside), bool)
    present[sequence_of_row(store)] = True
    names = sorted({v for v, here in zip(values, inside & present, strict=True) if here and v is not None})
    if not 2 <= len(names) <= MOST:
        raise WorkbenchError(
            f"The label '{label}' has {len(names)} values among the prompts read of '{store.path}'"
            f"{f' where {where}' if where else ''}, and 2 to {MOST} domains can be compared; name another label."
        )
    number = {name: i for i, name in enumerate(names)}
    found = np.array([number.get(v, -1) if v is not None else -1 for v in values], np.int64)
    found = np.where(inside & present, found, -1)
    left = int((inside & present & (found < 0)).sum())
    notes = (f"{left} responses have no {label} and were left out",) if left else ()
    return Classes(tuple(f"{label}={name}" for name in names), found, notes)


def _named(store: "Store", label: str | None) -> str:
    known = sorted(set(store.labels["name"]))
    if label is not None and label not in known:
        raise WorkbenchError(f"'{store.path}' has no label '{label}'; it has {listed(known) if known else 'none'}.")
    if label is not None:
        return label
    few = [name for name in known if 2 <= len({v for v in label_values(store, name) if v is not None}) <= FEW]
    if len(few) != 1:
        which = f"{listed(few)} have: say domains={few[0]}" if few else "none has: name one by domains="
        raise WorkbenchError(
            f"Domains are the values of a label, and of the labels of '{store.path}' with 2 to {FEW} values {which}."
        )
    return few[0]


def rates_of(member: np.ndarray, tokens: np.ndarray, a: np.ndarray) -> np.ndarray:
    """[domains, ..., experts] selections over tokens of each domain, pooled; NaN in a domain without a token.

    member  [domains, ..., units], how often a unit is in each domain; tokens  [units]; a  [units, experts] selections
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (member / (member * tokens).sum(axis=-1, keepdims=True)) @ a


def spread(rates: np.ndarray) -> np.ndarray:
    """Standard deviation over domains divided by their mean: 0 where all use it alike, sqrt(D - 1) where one alone does."""
    mean = rates.mean(axis=0)
    return np.divide(rates.std(axis=0), mean, out=np.full(mean.shape, np.nan), where=mean > 0)


def bits(rates: np.ndarray) -> np.ndarray:
    """log2 D - entropy of the rates over their sum: 0 where all use it alike, log2 D where one alone does."""
    total = rates.sum(axis=0)
    share = np.divide(rates, total, out=np.full(rates.shape, np.nan), where=total > 0)
    return np.log2(len(rates)) + (share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=0)
