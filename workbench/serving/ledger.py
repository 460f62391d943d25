"""Which row of the tables holds which edits, and who uses it: requests with the same edits share one, and give it back.

Row 0 holds none and is nobody's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.errors import WorkbenchError
from workbench.serving.scopes import Held


@dataclass
class Ledger:
    """`n_rows` rows, row 0 among them. write: puts edits into a row; called again with none when nobody uses it any more."""

    n_rows: int
    write: Callable[[int, Held], None]
    users: dict[int, int] = field(default_factory=dict[int, int])
    _rows: dict[Held, int] = field(default_factory=dict[Held, int])

    @property
    def held(self) -> tuple[Held, ...]:
        """The sets of edits that somebody uses."""
        return tuple(self._rows)

    def take(self, held: Held) -> int:
        """The row with these edits, for one more user. Raises `WorkbenchError` where none is free."""
        if not held:
            return 0
        if held not in self._rows:
            self._rows[held] = self._fresh(held)
        self.users[self._rows[held]] = self.users.get(self._rows[held], 0) + 1
        return self._rows[held]

    def give_back(self, row: int) -> None:
        """One user less; the last one's row becomes neutral."""
        if row == 0:
            return
        self.users[row] -= 1
        if not self.users[row]:
            del self.users[row]
            self._rows = {held: n for held, n in self._rows.items() if n != row}
            self.write(row, ())

    def _fresh(self, held: Held) -> int:
        row = next((n for n in range(1, self.n_rows) if n not in self.users), None)
        if row is None:
            raise WorkbenchError(
                f"All {self.n_rows - 1} rows for edits are in use by requests that run; send fewer different plans at once, or "
                f"load with plan_rows={2 * self.n_rows}."
            )
        self.write(row, held)
        return row
