"""Which edits hold for which positions of a request: its plan cut into stretches within which nothing changes.

The phase of a position is that of the token that is processed there: before the prompt's length it is the prompt's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from workbench.plan import Edit, Scope

Held = tuple[Edit, ...]
"""Edits that hold together, without their scopes; empty: none."""


class Stretch(NamedTuple):
    """Positions from `start` on, up to the next stretch's, and the edits that hold there."""

    start: int
    held: Held


def stretches(edits: Sequence[Edit], prompt: int) -> list[Stretch]:
    """A plan's stretches from position 0 on, for a request whose prompt has `prompt` tokens."""
    starts = np.array(sorted({0, *_borders(edits, prompt)}))
    inside = {scope: _holds(scope, starts, prompt) for scope in {e.scope for e in edits}}
    bare = [(replace(e, scope=Scope()), inside[e.scope]) for e in edits]
    columns = np.array([*inside.values()], bool).reshape(len(inside), len(starts)).T
    helds, found = dict[bytes, Held](), list[Stretch]()
    for n, start in enumerate(starts.tolist()):
        key = columns[n].tobytes()
        if key not in helds:
            helds[key] = tuple(edit for edit, holds in bare if holds[n])
        if not found or found[-1].held != helds[key]:
            found.append(Stretch(start, helds[key]))
    return found


def helds(edits: Sequence[Edit]) -> list[Held]:
    """Every set of edits that may hold somewhere, whatever the length of the prompt."""
    ends = [x for scope in {e.scope for e in edits} for pair in scope.positions for x in pair if x is not None]
    found = [s.held for prompt in (0, max(ends, default=0) + 1) for s in stretches(edits, prompt)]
    return list(dict.fromkeys(found))


def _borders(edits: Sequence[Edit], prompt: int) -> set[int]:
    scopes = {e.scope for e in edits}
    ends = {end for scope in scopes for ends in scope.positions for end in ends if end is not None}
    return ends | ({prompt} if any(scope.phase for scope in scopes) else set())


def _holds(scope: Scope, at: np.ndarray, prompt: int) -> np.ndarray:
    """At which of the positions [n] the scope is, bool [n]."""
    inside = np.full(len(at), not scope.positions)
    for start, stop in scope.positions:
        inside |= (at >= start) & (True if stop is None else at < stop)
    return inside if scope.phase is None else inside & ((at >= prompt) == (scope.phase == "generated"))


class Rows(NamedTuple):
    """The stretches of a request as rows of the tables: starts [stretches], rows [stretches]."""

    starts: np.ndarray
    rows: np.ndarray

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The row of each position, [positions]."""
        return self.rows[np.searchsorted(self.starts, positions, side="right") - 1]
