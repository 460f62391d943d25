"""What probes say of one expert; a probe that this store cannot answer gives its reason."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd

import probes
from probes.agreement import rankings
from workbench import ExpertRef, WorkbenchError

if TYPE_CHECKING:
    from probes.ranking import ExpertScores
    from workbench import Store

_FIRST = 5
_DIRECTIONS: tuple[tuple[Literal["read", "write"], Literal["experts", "neurons"], int], ...] = (
    ("read", "experts", 1),
    ("read", "neurons", _FIRST),
    ("write", "experts", 1),
    ("write", "neurons", _FIRST),
)


class Ranked(NamedTuple):
    """Its place in a ranking, from 1; None where it has no score."""

    name: str
    rank: int | None
    of: int
    score: float
    n: int
    flags: str


class Told(NamedTuple):
    """Rows about the expert, or why there are none."""

    rows: Any
    """A DataFrame, empty where `why` says why."""
    why: str = ""


def ranked(store: "Store", ref: ExpertRef, target: str | None = None, baseline: str | None = None) -> list[Ranked]:
    """Its place in every ranking that the store allows."""
    return [_place(name, found, ref) for name, found in rankings(store, target, baseline).scores.items()]


def _place(name: str, found: "ExpertScores", ref: ExpertRef) -> Ranked:
    frame: Any = found.frame[~found.frame["is_shared"]].reset_index(drop=True)
    here = frame[(frame["layer"] == ref.layer) & (frame["expert"] == ref.expert)]
    scored = int(frame["score"].notna().sum())
    if here.empty or here["score"].isna().all():
        return Ranked(name, None, scored, float("nan"), 0 if here.empty else int(here["n"].iloc[0]), "")
    row = here.iloc[0]
    return Ranked(name, int(here.index[0]) + 1, scored, float(row["score"]), int(row["n"]), str(row["flags"]))


def label(store: "Store", ref: ExpertRef) -> Told:
    """Its label and the label's AUROC on held-out prompts."""
    return _told(lambda: probes.describe(store, experts=[str(ref)]).frame)


def words(store: "Store", ref: ExpertRef) -> Told:
    """The words that it reads and writes as a whole, and those of its neurons that say one most clearly."""

    def rows() -> pd.DataFrame:
        parts = []
        for side, of, most in _DIRECTIONS:
            try:
                found = probes.decode(store, of=of, side=side, first=0).frame
            except WorkbenchError:
                if not store.has("directions"):
                    raise
                continue  # a router of more than one matrix gives experts no row to read
            parts.append(_of(found, ref).head(most).assign(side=side))
        return pd.concat(parts, ignore_index=True)

    return _told(rows)


def alike(store: "Store", ref: ExpertRef) -> Told:
    """The experts of its layer whose routers' rows are most like its own."""

    def rows() -> pd.DataFrame:
        found = probes.similarity(store, first=0).frame
        ends = ("expert", "other_expert")
        mine = [found[(found["layer"] == ref.layer) & (found[end] == ref.expert)] for end in ends]
        other = [part.assign(like=part[end]) for part, end in zip(mine, reversed(ends), strict=True)]
        whole: Any = pd.concat(other, ignore_index=True)
        return whole.sort_values("cosine", ascending=False, kind="stable").head(_FIRST)

    return _told(rows)


def followed(store: "Store", ref: ExpertRef) -> Told:
    """Whom its tokens select before and after it more than others do, by excess over chance."""

    def rows() -> pd.DataFrame:
        found = probes.pathways(store, first=0, n_bootstrap=0).frame
        after = _of(found, ref).head(_FIRST)
        here = (found["other_layer"] == ref.layer) & (found["other_expert"] == ref.expert)
        before: Any = found[here].head(_FIRST)
        columns = ["layer", "expert", "lift", "n"]
        later = after[["other_layer", "other_expert", "lift", "n"]].set_axis(columns, axis=1)
        return pd.concat([before[columns].assign(when="before"), later.assign(when="after")], ignore_index=True)

    return _told(rows)


def _of(frame: pd.DataFrame, ref: ExpertRef) -> Any:
    return frame[(frame["layer"] == ref.layer) & (frame["expert"] == ref.expert)]


def _told(rows: Callable[[], pd.DataFrame]) -> Told:
    try:
        return Told(rows())
    except WorkbenchError as error:
        return Told(pd.DataFrame(), str(error))
