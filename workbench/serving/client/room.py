"""Which requests may be in the engine together: as many as their edits have rows and vectors there; the others wait."""

from collections.abc import Sequence

from workbench.errors import WorkbenchError
from workbench.serving.ledger import Ledger
from workbench.serving.plugin import Settings
from workbench.serving.scopes import Held


class Room:
    """What a worker will find in use, counted in front of it: it frees a row before the request after it begins."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.rows, lambda row, held: None)

    def check(self, helds: Sequence[Held]) -> None:
        """Raises `WorkbenchError` for a plan that does not even fit alone."""
        if (said := self._lacks(set(helds))) is not None:
            name, needs, has = said
            raise WorkbenchError(
                f"This plan needs {needs} {name} in vLLM, which has {has}; make it smaller, or load with "
                f"plan_{name}={needs + 1}."
            )

    def enter(self, helds: Sequence[Held]) -> list[int] | None:
        """Rows for a request that begins; None: it has to wait until others have ended."""
        if self._lacks({*self.ledger.held, *helds}) is not None:
            return None
        return [self.ledger.take(held) for held in helds]

    def leave(self, rows: Sequence[int]) -> None:
        """The request has ended."""
        for row in rows:
            self.ledger.give_back(row)

    def _lacks(self, helds: set[Held]) -> tuple[str, int, int] | None:
        """What these edits need more of than there is: its name, how many they need, how many there are."""
        vectors = {edit.value for held in helds for edit in held if isinstance(edit.value, tuple)}
        needs = {
            "rows": (len(helds - {()}), self.settings.rows - 1),
            "vectors": (len(vectors), self.settings.vectors - 1),
        }
        return next(((name, n, has) for name, (n, has) in needs.items() if n > has), None)
