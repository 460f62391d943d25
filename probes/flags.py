"""What to be told about an expert before acting on its rank: super experts, dead experts, ties, values not finite."""

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from probes.scores import DEAD, NOT_FINITE, SUPER_EXPERT, TIES
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError, listed
from workbench.shards import experts_with, said

if TYPE_CHECKING:
    from workbench.store import Store


class _Known(NamedTuple):
    supers: frozenset[ExpertRef]
    not_finite: frozenset[ExpertRef]
    notes: tuple[str, ...]


_known: "WeakKeyDictionary[Store, _Known]" = WeakKeyDictionary()


def add_flags(store: "Store", frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame with its flags column, and notes; `n` 0 means never selected among the tokens read."""
    known = _known_of(store)
    refs = [ExpertRef(int(a), int(b)) for a, b in zip(frame["layer"], frame["expert"], strict=True)]
    dead = frame["n"].to_numpy() == 0
    is_super, broken = (np.array([r in some for r in refs], bool) for some in (known.supers, known.not_finite))
    flags = {SUPER_EXPERT: is_super, NOT_FINITE: broken, DEAD: dead, TIES: tied(frame["score"], ~dead)}
    return frame.assign(flags=join_flags(flags)), known.notes


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
        columns = (rows["layer"], rows["expert"], rows["is_shared"], rows["received"] - rows["n"])
        refs = [f"{ExpertRef(int(a), int(b), bool(c))} at {n} tokens" for a, b, c, n in zip(*columns, strict=True)]
        found = f"Values are not finite: output of {listed(refs)}."
    return (f"{found} They are left out of n, maxima and means",) if found else ()


def _known_of(store: "Store") -> _Known:
    """The store's super experts by the default rule, and the experts with values that are not finite, found once."""
    from probes.super_experts import super_experts

    if store not in _known:
        counted = frozenset(experts_with(store.nonfinite))
        try:
            found = super_experts(store)
        except WorkbenchError as error:
            notes = (*not_finite_note(store, pd.DataFrame()), f"super experts are not flagged: {error}")
            _known[store] = _Known(frozenset(), counted, notes)
        else:
            broken = counted | {*found.flagged(NOT_FINITE)}
            notes = tuple(note for note in found.notes if note.startswith("Values are not finite"))
            _known[store] = _Known(frozenset(found.flagged(SUPER_EXPERT)), broken, notes)
    return _known[store]
