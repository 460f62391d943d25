"""A method's answer: `ExpertScores`, one row per expert, ranked, with n, interval, p-value, flags and what to be told.

A score is an association with the prompts that were captured. An effect is what a plan changed when it was run
(`workbench.compare`). Never one word for the other.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probes.ranking.refs import refs_of
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError
from workbench.paths import given_path
from workbench.storage import replacing, write_text

COLUMNS = ("layer", "expert", "score", "n", "low", "high", "p", "p_adjusted", "flags", "is_shared")
_TYPES = {"layer": "int32", "expert": "int32", "n": "int64", "is_shared": "bool", "flags": "str"}
_SHOWN = 10


@dataclass(frozen=True, repr=False, eq=False)
class ExpertScores:
    """Every expert with its score, ranked from the largest down; experts without a score come last.

    frame    layer, expert, score (its unit and range are the method's), n (tokens read at which the expert was
             selected), low and high (95 % interval), p, p_adjusted (over all experts), flags (joined by "; ") and
             is_shared (false throughout where the method ranks routed experts alone). What does not exist is null, and
             `notes` give the reason.
    flags    "super expert" (where the store kept norms and residual), "dead" (never selected by the tokens read),
             "ties" (another expert has exactly this score, so the order among them says nothing), "not finite" (an
             output, a routing weight or a router logit of the expert is NaN or infinite somewhere in the store)
    options  every choice that made the scores, JSON-able
    """

    method: str
    options: dict[str, Any]
    frame: pd.DataFrame = field(hash=False)
    notes: tuple[str, ...]
    fingerprint: str
    model: str = ""

    def __post_init__(self) -> None:
        if "is_shared" not in self.frame:
            object.__setattr__(self, "frame", self.frame.assign(is_shared=False))

    def top(self, n: int) -> tuple[ExpertRef, ...]:
        """The `n` experts at the positive end: the largest scores above zero, in order.

        Equal scores follow layer and expert number (see the flag "ties"). Raises `WorkbenchError` when fewer than `n`
        experts have a score above zero: an expert without positive association is never returned to fill up.
        """
        return self._end(n, self.frame["score"] > 0, "above")

    def bottom(self, n: int) -> tuple[ExpertRef, ...]:
        """The `n` experts at the negative end: the smallest scores below zero, the most negative first.

        Raises `WorkbenchError` when fewer than `n` experts have a score below zero; scores that cannot be negative
        (super_experts, usage) have no negative end: their smallest are the last rows of `.frame`.
        """
        return self._end(n, self.frame["score"] < 0, "below", -1)

    def flagged(self, flag: str) -> tuple[ExpertRef, ...]:
        """The experts that carry this flag, in order of rank."""
        return self._refs(self.frame[[flag in flags.split("; ") for flags in self.frame["flags"]]])

    def first(self, n: int) -> pd.DataFrame:
        """The rows among the first `n` that say something: those with a score of zero, or without one, are left out."""
        return telling(self.frame.head(n))

    def silent(self, n: int) -> str:
        """A sentence on the rows that `first` leaves out; empty where there are none."""
        of = min(n, len(self.frame))
        left = of - len(self.first(n))
        return f"Not listed: {left} of the first {of} experts, whose score is zero or missing." if left else ""

    def _end(self, n: int, eligible: Any, side: str, step: int = 1) -> tuple[ExpertRef, ...]:
        if n < 1:
            raise WorkbenchError(f"{n} experts cannot be chosen; ask for 1 or more.")
        found: Any = self.frame[eligible]
        if len(found) < n:
            some = f"Only {len(found)}" if len(found) else "None"
            instead = f"ask for at most {len(found)}, or " if len(found) else ""
            raise WorkbenchError(
                f"{some} of {len(self.frame)} experts have a {self.method} score {side} zero, and {n} were asked for; "
                f"{instead}look at .frame."
            )
        if step < 0:
            found = found.sort_values(["score", "layer", "expert"], kind="stable")
        return self._refs(found.head(n))

    def _refs(self, rows: Any) -> tuple[ExpertRef, ...]:
        return tuple(refs_of(rows, self.fingerprint))

    # ---- text

    @property
    def asked(self) -> str:
        """What was asked of which model, in one line; a value that holds `=` stands in quotes."""
        return f"{self.method} of {len(self.frame)} experts of {self.model or 'a model'} ({said(self.options)})"

    def __repr__(self) -> str:
        lines = [self.asked, *self._table().splitlines()]
        lines += [silent] if (silent := self.silent(_SHOWN)) else []
        if len(self.frame) > _SHOWN:
            lines.append(f"... {len(self.frame) - _SHOWN} more")
        lines += ["Associated with these prompts; an effect is measured by compare()."]
        return "\n".join(lines + [f"- {note}" for note in self.notes])

    def _table(self) -> str:
        first: Any = self.first(_SHOWN)
        names = ["expert", *COLUMNS[2:-1]]
        rows = [
            [str(ref), *(shown(row[c]) for c in names[1:])]
            for ref, (_, row) in zip(refs_of(first), first.iterrows(), strict=True)
        ]
        widths = [max(len(r[i]) for r in [names, *rows]) for i in range(len(names))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in [names, *rows])

    # ---- files

    def to_parquet(self, path: str | Path) -> None:
        """The frame as Parquet; method, options, notes and fingerprint travel in the file's metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        kept = {**(table.schema.metadata or {}), b"expert_scores": json.dumps(self._about()).encode()}
        with replacing(path) as part:
            pq.write_table(table.replace_schema_metadata(kept), part)

    def to_csv(self, path: str | Path) -> None:
        """The frame as CSV after one line that starts with `#` and holds the rest as JSON."""
        text = f"# {json.dumps(self._about())}\n" + self.frame.to_csv(index=False, lineterminator="\n")
        write_text(path, text)

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, floats exact; also written to `path` when given."""
        rows = [{k: _json_value(v) for k, v in row.items()} for row in self.frame.to_dict("records")]
        text = json.dumps({**self._about(), "scores": rows}, indent=1)
        if path is not None:
            write_text(path, text + "\n")
        return text

    @classmethod
    def from_parquet(cls, path: str | Path) -> "ExpertScores":
        """The inverse of `to_parquet`."""
        return _reading(path, lambda: _read_parquet(given_path(path)))

    @classmethod
    def from_csv(cls, path: str | Path) -> "ExpertScores":
        """The inverse of `to_csv`."""
        return _reading(path, lambda: _read_csv(given_path(path)))

    @classmethod
    def from_json(cls, source: str | Path) -> "ExpertScores":
        """The inverse of `to_json`: from JSON text or a file."""
        is_text = isinstance(source, str) and source.lstrip().startswith("{")
        where = "this text" if is_text else source
        return _reading(
            where, lambda: _from_dict(json.loads(str(source) if is_text else given_path(source).read_text("utf-8")))
        )

    def _about(self) -> dict[str, Any]:
        about = {"method": self.method, "options": self.options, "notes": list(self.notes)}
        return {**about, "fingerprint": self.fingerprint, "model": self.model}


def telling(rows: Any) -> pd.DataFrame:
    """The rows of a ranking whose score is there and is not zero."""
    return rows[rows["score"].notna() & (rows["score"] != 0)]


def ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows from the largest score down (equal scores by layer and expert, null last) in the fixed column types."""
    whole = frame if "is_shared" in frame else frame.assign(is_shared=False)
    order: Any = whole.sort_values(["score", "layer", "expert"], ascending=[False, True, True], na_position="last")
    return order[list(COLUMNS)].astype({n: _TYPES.get(n, "float64") for n in COLUMNS}).reset_index(drop=True)


def said(options: Mapping[str, Any]) -> str:
    """A probe's options in one line: `target="topic=war", tokens=prompt`; a value that holds `=` stands in quotes."""
    given = {name: value for name, value in options.items() if value is not None}
    return ", ".join(f'{n}="{v}"' if isinstance(v, str) and "=" in v else f"{n}={v}" for n, v in given.items())


def shown(value: Any) -> str:
    """A cell of the printed table: text as it is, numbers in four digits, a dash for null."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "-"
    return str(value) if isinstance(value, int | np.integer) else f"{value:.4g}"


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return None if np.isnan(value) else value
    return value


def _read_parquet(path: Path) -> ExpertScores:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    about = json.loads((table.schema.metadata or {})[b"expert_scores"])
    return _from_dict({**about, "scores": table.to_pandas().to_dict("records")})


def _read_csv(path: Path) -> ExpertScores:
    first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    rows = [{name: _parsed(name, text) for name, text in row.items()} for row in csv.DictReader(io.StringIO(rest))]
    return _from_dict({**json.loads(first.removeprefix("# ")), "scores": rows})


def _parsed(name: str, text: str) -> Any:
    if name == "flags":
        return text
    if name == "is_shared":
        return text == "True"
    return int(text) if name in _TYPES else float(text or "nan")


def _from_dict(data: dict[str, Any]) -> ExpertScores:
    frame = pd.DataFrame(data["scores"], columns=None if data["scores"] else list(COLUMNS))
    return ExpertScores(
        data["method"], data["options"], ranked(frame), tuple(data["notes"]), data["fingerprint"], data["model"]
    )


def _reading(where: object, read: Callable[[], ExpertScores]) -> ExpertScores:
    try:
        return read()
    except FileNotFoundError as error:
        raise WorkbenchError(f"There are no scores at '{where}'; save some with ExpertScores.to_json.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WorkbenchError(
            f"'{where}' holds no expert scores ({error}); it should be what ExpertScores wrote."
        ) from error
