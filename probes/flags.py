"""What to be told about an expert before acting on its rank: super experts, dead experts, ties."""

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from probes.scores import DEAD, SUPER_EXPERT, TIES
from workbench.errors import WorkbenchError
from workbench.experts import ExpertRef

if TYPE_CHECKING:
    from workbench.store import Store

_known: "WeakKeyDictionary[Store, tuple[frozenset[ExpertRef], str]]" = WeakKeyDictionary()


def add_flags(store: "Store", frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame with its flags column, and notes; `n` 0 means never selected among the tokens read."""
    supers, why = super_experts_of(store)
    refs = [ExpertRef(int(a), int(b)) for a, b in zip(frame["layer"], frame["expert"], strict=True)]
    dead = frame["n"].to_numpy() == 0
    is_super = np.array([ref in supers for ref in refs], bool)
    flagged = frame.assign(flags=join_flags({SUPER_EXPERT: is_super, DEAD: dead, TIES: tied(frame["score"], ~dead)}))
    return flagged, ((why,) if why else ())


def join_flags(flags: dict[str, np.ndarray]) -> list[str]:
    """One string per row: the names whose array is true there, joined by "; "."""
    return [
        "; ".join(name for name, here in zip(flags, row, strict=True) if here)
        for row in zip(*flags.values(), strict=True)
    ]


def tied(score: Any, among: np.ndarray) -> np.ndarray:
    """Bool: whether another row of `among` has exactly this score, so that their order says nothing."""
    return among & score.where(among).duplicated(keep=False).to_numpy() & score.notna().to_numpy()


def super_experts_of(store: "Store") -> tuple[frozenset[ExpertRef], str]:
    """The store's super experts by the default rule, and why they could not be found ("" when they could)."""
    from probes.super_experts import super_experts

    if store not in _known:
        try:
            _known[store] = (frozenset(super_experts(store).flagged(SUPER_EXPERT)), "")
        except WorkbenchError as error:
            _known[store] = (frozenset(), f"super experts are not flagged: {error}")
    return _known[store]
