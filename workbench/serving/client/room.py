"""Which requests may be in the engine together: as many as their edits have rows and vectors there, and as what is kept of
their tokens has room until it is taken; the others wait.
"""

from collections.abc import Sequence
from typing import NamedTuple

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError
from workbench.serving.ledger import Ledger
from workbench.serving.plugin import Settings
from workbench.serving.scopes import Held


class Place(NamedTuple):
    """What one request has: rows of the tables, and bytes for what is kept of it."""

    rows: Sequence[int] = ()
    size: int = 0


def kept_bytes(anatomy: Anatomy, logits: Sequence[int] = ()) -> int:
    """Of one token: its position, its slots, what plans changed, and the router's logits of these layers."""
    layers = [layer for layer in anatomy.layers if layer.is_moe]
    return 3 * 8 + 8 * sum(x.top_k for x in layers) + 4 * sum(x.n_experts for x in layers if x.layer in logits)


class Room:
    """What a worker will find in use, counted in front of it: it frees a row before the request after it begins."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.rows, lambda row, held: None)
        self.size = 0

    def check(self, helds: Sequence[Held]) -> None:
        """Raises `WorkbenchError` for a plan that does not even fit alone."""
        if (said := self._lacks(set(helds))) is not None:
            name, needs, has = said
            raise WorkbenchError(
                f"This plan needs {needs} {name} in vLLM, which has {has}; make it smaller, or load with "
                f"plan_{name}={needs + 1}."
            )

    def enter(self, helds: Sequence[Held], size: int = 0, *, is_alone: bool = False) -> Place | None:
        """A place for a request that begins; None: it has to wait until others have ended, or were taken.

        size  bytes at most of what is kept of it; where it is alone nobody's end would make room, so it has them anyhow
        """
        if self._lacks({*self.ledger.held, *helds}) is not None:
            return None
        if size and self.size and not is_alone and self.size + size > self.settings.waiting:
            return None
        self.size += size
        return Place([self.ledger.take(held) for held in helds], size)

    def leave(self, place: Place) -> None:
        """The request has ended: its rows are free. What is kept of it may still be there."""
        for row in place.rows:
            self.ledger.give_back(row)

    def taken(self, place: Place) -> None:
        """What was kept of it is there no more."""
        self.size -= place.size

    def _lacks(self, helds: set[Held]) -> tuple[str, int, int] | None:
        """What these edits need more of than there is: its name, how many they need, how many there are."""
        vectors = {edit.value for held in helds for edit in held if isinstance(edit.value, tuple)}
        needs = {
            "rows": (len(helds - {()}), self.settings.rows - 1),
            "vectors": (len(vectors), self.settings.vectors - 1),
        }
        return next(((name, n, has) for name, (n, has) in needs.items() if n > has), None)
