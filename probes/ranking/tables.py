"""Answers that rank no expert: rows about layers, pairs, sets of experts or tokens, each with n, and with what to be told.

Only `ExpertScores` has ends, `top` and `bottom`. A row here is a count or a share of the captured prompts, never an effect.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pandas as pd

from probes.ranking.files import about_of, opened, parquet_written, text_of
from probes.ranking.marks import few_draws_note, steering_note
from probes.ranking.refs import refs_of
from probes.ranking.scores import said, shown
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError, listed
from workbench.storage import write_text

if TYPE_CHECKING:
    from workbench.store import Store

_SHOWN = 10
NO_ROW = "No row; the notes say why."
"""What stands in the place of a table without rows."""


@dataclass(frozen=True, repr=False, eq=False)
class Table:
    """A probe's answer as rows: what `columns` name, n, other numbers, and low and high where an interval makes sense.

    frame    the rows, in the order in which they read; what does not exist is null, and `notes` give the reason
    options  every choice that made it, JSON-able
    """

    columns: ClassVar[tuple[str, ...]] = ("n",)
    """What every row says; other columns are the method's."""

    method: str
    options: dict[str, Any]
    frame: pd.DataFrame = field(hash=False)
    notes: tuple[str, ...]
    fingerprint: str
    model: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in self.columns if name not in self.frame]
        if missing:
            raise WorkbenchError(
                f"A {self.kind} of {self.method} has columns {listed(list(self.frame))} and lacks {listed(missing)}; give it "
                f"a frame with {listed(list(self.columns))}."
            )
        words = self.frame.select_dtypes(["object", "string", "category"])
        plain = {str(name): words[name].astype(object).fillna("").astype(str) for name in words}
        object.__setattr__(self, "frame", self.frame.assign(**plain).reset_index(drop=True))

    @classmethod
    def of(
        cls, store: "Store", method: str, options: dict[str, Any], frame: pd.DataFrame, notes: tuple[str, ...]
    ) -> Self:
        """The answer about a store, with its fingerprint; says so when the store was captured under a steering plan."""
        anatomy = store.anatomy
        told = (*steering_note(store), *notes, *few_draws_note(options, frame))
        return cls(method, options, frame, told, anatomy.fingerprint, anatomy.model)

    @property
    def kind(self) -> str:
        """Which kind of answer it is, as the catalogue says it."""
        return type(self).__name__

    @property
    def asked(self) -> str:
        """What was asked of which model, in one line."""
        return f"{self.method} of {self.model or 'a model'}, {len(self.frame)} rows ({said(self.options)})"

    def cells(self, n: int) -> tuple[list[str], list[list[str]]]:
        """The names of the columns that hold something (of an answer without rows all), and the first `n` rows as text."""
        frame: Any = self.frame if self.frame.empty else self.frame.dropna(axis=1, how="all")
        return [*frame], [[shown(value) for value in row] for row in frame.head(n).itertuples(index=False, name=None)]

    def __repr__(self) -> str:
        names, rows = self.cells(_SHOWN)
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        table = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (names, *rows)]
        table = table if rows else [NO_ROW]
        more = [f"... {len(self.frame) - _SHOWN} more"] if len(self.frame) > _SHOWN else []
        told = [f"- {note}" for note in self.notes]
        return "\n".join(
            [self.asked, *table, *more, "Counted on these prompts; an effect is measured by compare().", *told]
        )

    # ---- files

    def to_parquet(self, path: str | Path) -> None:
        """The frame as Parquet; kind, method, options, notes and fingerprint travel in the file's metadata."""
        parquet_written(path, self._about(), self.frame)

    def to_csv(self, path: str | Path) -> None:
        """The frame as CSV after one line that starts with `#` and holds the rest as JSON."""
        write_text(path, text_of("csv", self._about(), self.frame))

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, floats exact; also written to `path` when given."""
        text = text_of("json", self._about(), self.frame)
        if path is not None:
            write_text(path, text + "\n")
        return text

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The inverse of the three, by the file's ending; `WorkbenchError` for what is no answer of this kind."""
        about, frame = opened(path)
        kinds = {kind.__name__: kind for kind in (LayerTable, PairTable, SetTable, TokenTable)}
        found = kinds.get(about.pop("kind", ""), Table)
        if found is Table or not issubclass(found, cls):
            raise WorkbenchError(f"'{path}' holds no {cls.__name__}; it should be what {cls.__name__}.to_csv wrote.")
        return found(**about | {"frame": frame, "notes": tuple(about["notes"])})  # pyright: ignore[reportReturnType]

    def _about(self) -> dict[str, Any]:
        about = {"kind": self.kind, "method": self.method, "options": self.options, "notes": list(self.notes)}
        return about_of(about | {"fingerprint": self.fingerprint, "model": self.model}, self.frame)


class LayerTable(Table):
    """Rows about layers: one a layer, or one a layer for each of something (a window, a role, a position)."""

    columns = ("layer", "n")


class PairTable(Table):
    """Rows about two experts each: (layer, expert) and (other_layer, other_expert)."""

    columns = ("layer", "expert", "other_layer", "other_expert", "n")


class TokenTable(Table):
    """Rows about tokens: one a token id, or one a token where it stands."""

    columns = ("token_id", "n")


class SetTable(Table):
    """Sets of experts: a row for each member, which says the set that it is in."""

    columns = ("set", "layer", "expert", "n")

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the sets that have a member, in their order."""
        return tuple(self.frame["set"].unique())

    def experts(self, name: str | None = None) -> tuple[ExpertRef, ...]:
        """The members of one set, or of all, each once, in the order of the rows; they carry the model's fingerprint.

        Raises `WorkbenchError` for a set that does not exist.
        """
        rows: Any = self.frame if name is None else self.frame[self.frame["set"] == name]
        if name is not None and name not in self.sets:
            raise WorkbenchError(f"{self.method} found no set '{name}'; it has {listed(list(self.sets)) or 'none'}.")
        whole = rows if "is_shared" in rows else rows.assign(is_shared=False)
        return tuple(dict.fromkeys(refs_of(whole, self.fingerprint)))
