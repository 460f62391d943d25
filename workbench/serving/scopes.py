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
    found = list[Stretch]()
    for start in sorted({0, *_borders(edits, prompt)}):
        held = tuple(replace(e, scope=Scope()) for e in edits if _holds(e.scope, start, prompt))
        if not found or found[-1].held != held:
            found.append(Stretch(start, held))
    return found


def _borders(edits: Sequence[Edit], prompt: int) -> set[int]:
    ends = {end for e in edits for ends in e.scope.positions for end in ends if end is not None}
    return ends | ({prompt} if any(e.scope.phase for e in edits) else set())


def _holds(scope: Scope, position: int, prompt: int) -> bool:
    if scope.phase is not None and (scope.phase == "generated") != (position >= prompt):
        return False
    return not scope.positions or any(a <= position and (b is None or position < b) for a, b in scope.positions)


class Rows(NamedTuple):
    """The stretches of a request as rows of the tables: starts [stretches], rows [stretches]."""

    starts: np.ndarray
    rows: np.ndarray

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The row of each position, [positions]."""
        return self.rows[np.searchsorted(self.starts, positions, side="right") - 1]
