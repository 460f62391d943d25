"""From arrays over a store's routed experts to `ExpertScores`: ranked, and flagged with what to know before acting on a rank."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from probes.magnitudes import judged
from probes.ranking.marks import (
    DEAD,
    NOT_FINITE,
    SUPER_EXPERT,
    TIES,
    few_draws_note,
    join_flags,
    not_finite_note,
    steering_note,
    tied,
)
from probes.ranking.refs import refs_of
from probes.ranking.scores import ExpertScores, ranked
from probes.reading import Axis
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError
from workbench.shards import experts_with

if TYPE_CHECKING:
    from workbench.store import Store


DECIMALS = 12


def assemble(
    store: "Store",
    method: str,
    options: dict[str, Any],
    axis: Axis,
    columns: dict[str, np.ndarray],
    notes: tuple[str, ...],
    marks: Mapping[str, np.ndarray] | None = None,
) -> ExpertScores:
    """Ranked, flagged, with the store's fingerprint; says so when the store was captured under a steering plan.

    marks: flags of the probe's own, each bool [experts]
    """
    missing = {
        name: np.full(len(axis.layer), np.nan) for name in ("low", "high", "p", "p_adjusted") if name not in columns
    }
    # equal sums added in another order must tie, and no difference must not pass for a positive one
    exact = {name: np.round(columns[name], DECIMALS) + 0.0 for name in ("score", "low", "high") if name in columns}
    frame = pd.DataFrame(
        {"layer": axis.layer, "expert": axis.expert, "is_shared": False, **columns, **missing, **exact}
    )
    flagged, flag_notes = add_flags(store, frame, marks or {})
    return ExpertScores(
        method,
        options,
        ranked(flagged),
        (*steering_note(store), *notes, *few_draws_note(options, flagged), *flag_notes),
        store.anatomy.fingerprint,
        store.anatomy.model,
    )


class _Known(NamedTuple):
    supers: frozenset[ExpertRef]
    not_finite: frozenset[ExpertRef]
    notes: tuple[str, ...]


_known: "WeakKeyDictionary[Store, _Known]" = WeakKeyDictionary()


def add_flags(
    store: "Store", frame: pd.DataFrame, marks: Mapping[str, np.ndarray]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame with its flags column, and notes; `n` 0 means never selected among the tokens read."""
    known = _known_of(store)
    refs = refs_of(frame)
    dead = frame["n"].to_numpy() == 0
    is_super, broken = (np.array([r in some for r in refs], bool) for some in (known.supers, known.not_finite))
    flags = {SUPER_EXPERT: is_super, NOT_FINITE: broken, DEAD: dead, TIES: tied(frame["score"], ~dead), **marks}
    return frame.assign(flags=join_flags(flags)), known.notes


def _known_of(store: "Store") -> _Known:
    """The store's super experts by the default rule, and the experts with values that are not finite, found once."""
    if store not in _known:
        counted = frozenset(experts_with(store.nonfinite))
        try:
            found = judged(store)
        except WorkbenchError as error:
            notes = (*not_finite_note(store, pd.DataFrame()), f"super experts are not flagged: {error}")
            _known[store] = _Known(frozenset(), counted, notes)
        else:
            broken: Any = found.frame[found.broken]
            supers = frozenset(refs_of(found.frame[found.is_super]))
            _known[store] = _Known(supers, counted | {*refs_of(broken)}, not_finite_note(store, broken))
    return _known[store]
