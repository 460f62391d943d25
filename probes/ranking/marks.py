"""What is said about experts beside their rank: flags by name, and notes about the store."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.ranking.refs import refs_of
from workbench.errors import listed
from workbench.shards import said

if TYPE_CHECKING:
    from workbench.store import Store

ENOUGH_DRAWS = 100
"""Resamples below which the ends of an interval are chance themselves, and may leave out the score (ours)."""
SUPER_EXPERT, DEAD, TIES, NOT_FINITE = "super expert", "dead", "ties", "not finite"


def join_flags(flags: dict[str, np.ndarray]) -> list[str]:
    """One string per row: the names whose array is true there, joined by "; "."""
    return [
        "; ".join(name for name, here in zip(flags, row, strict=True) if here)
        for row in zip(*flags.values(), strict=True)
    ]


def tied(score: Any, among: np.ndarray) -> np.ndarray:
    """Bool: whether another row of `among` has exactly this score, so that their order says nothing."""
    return among & score.where(among).duplicated(keep=False).to_numpy() & score.notna().to_numpy()


def not_finite_note(store: "Store", rows: pd.DataFrame) -> tuple[str, ...]:
    """What to say of values that are not finite: what the capture counted, else the experts of `rows` (an older store)."""
    found = said(store.nonfinite)
    if not found and len(rows):
        left_out = zip(refs_of(rows), rows["received"] - rows["n"], strict=True)
        found = f"Values are not finite: output of {listed([f'{ref} at {n} tokens' for ref, n in left_out])}."
    return (f"{found} They are left out of n, maxima and means",) if found else ()


def few_draws_note(options: Mapping[str, Any], frame: pd.DataFrame) -> tuple[str, ...]:
    """A note where an answer has intervals from so few resamples that they say little; one is allowed, to try a thing out."""
    n = options.get("n_bootstrap", 0)
    if not 0 < n < ENOUGH_DRAWS or "low" not in frame or not frame["low"].notna().to_numpy().any():
        return ()
    drawn = "1 resample" if n == 1 else f"{n} resamples"
    return (
        f"intervals rest on {drawn} and may leave out the score itself: ask with n_bootstrap={ENOUGH_DRAWS} or more",
    )


def steering_note(store: "Store") -> tuple[str, ...]:
    """A note when the store is not the base model's."""
    plan = store.steering
    return (f"captured under a plan, not the base model: {plan}",) if plan else ()
