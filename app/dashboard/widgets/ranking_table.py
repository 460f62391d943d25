"""A probe's answer as a table: experts by name, filters, and downloads that carry the options along."""

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from probes.ranking import refs_of

from .literal import escaped, visible

if TYPE_CHECKING:
    from probes.ranking import ExpertScores, Table

NO_FLAG = "no flag"
_DIGITS = "%.4g"


def named(scores: "ExpertScores") -> pd.DataFrame:
    """The frame with `rank` from 1 and `name` (L2E8; L2S0 for a shared expert) in front."""
    frame = scores.frame
    name = list(map(str, refs_of(frame)))
    front = pd.DataFrame({"rank": np.arange(1, len(frame) + 1), "name": name}, frame.index)
    return pd.concat([front, frame], axis=1)


def ranked_table(scores: "ExpertScores", key: str) -> None:
    """Draws the filters, the table and the downloads."""
    full = named(scores)
    kept = _filtered(full, key)
    st.text(f"{len(kept):,} of {len(full):,} experts")
    if kept.empty:
        st.text("No expert meets these filters; widen them.")
    shown = kept.drop(columns="is_shared").assign(flags=kept["flags"].map(visible)).dropna(axis=1, how="all")
    st.dataframe(shown, hide_index=True, column_config=_columns(scores.method))
    downloads(scores, key, "expert")


def _filtered(frame: Any, key: str) -> pd.DataFrame:
    a, b, c, d = st.columns(4)
    layers = a.multiselect("Layers", sorted(frame["layer"].unique()), key=f"{key}-layers", placeholder="all")
    flags = b.multiselect("Flags", _flags(frame), key=f"{key}-flags", placeholder="any")
    least = c.number_input("Smallest n", 0, value=0, key=f"{key}-least", help="n: tokens read at which it was selected")
    text = d.text_input("Name or flag contains", key=f"{key}-text").strip().lower()
    keep = frame["n"] >= least
    if layers:
        keep &= frame["layer"].isin(layers)
    if flags:
        keep &= frame["flags"].map(lambda found: any(f in (found.split("; ") if found else [NO_FLAG]) for f in flags))
    if text:
        keep &= (frame["name"] + " " + frame["flags"]).str.lower().str.contains(text, regex=False)
    return frame[keep]


def _flags(frame: pd.DataFrame) -> list[str]:
    found = {flag for flags in frame["flags"].unique() for flag in flags.split("; ") if flag}
    return [*sorted(found), NO_FLAG]


def _columns(method: str) -> dict[str, Any]:
    number, whole = partial(st.column_config.NumberColumn, format=_DIGITS), st.column_config.NumberColumn
    return {
        "name": st.column_config.TextColumn("expert", pinned=True),
        "layer": whole("layer", width="small"),
        "expert": None,  # `name` says it
        "score": number("score", help=escaped(f"The {method} score: association with these prompts, not an effect.")),
        "n": whole("n", help="Tokens read at which the expert was selected"),
        "low": number("95 % from"),
        "high": number("to"),
        "p": number("p", help="Of its own null"),
        "p_adjusted": number("p adjusted", help="Over all experts"),
    }


def downloads(found: "ExpertScores | Table", key: str, of: str) -> None:
    """Buttons that hand over the whole answer; `of`: what a row of it is about."""
    st.text(f"Downloads hold every {of}, with options and notes:")
    left, right = st.columns([1, 1])
    for column, ending in ((left, "csv"), (right, "parquet")):
        column.download_button(
            ending.capitalize() if ending != "csv" else "CSV",
            partial(as_file, found, ending),
            f"{found.method}.{ending}",
            "text/csv" if ending == "csv" else "application/vnd.apache.parquet",
            key=f"{key}-{ending}",
            on_click="ignore",
        )


def as_file(found: "ExpertScores | Table", ending: str) -> bytes:
    """What the answer's `to_csv` or `to_parquet` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scores.{ending}"
        getattr(found, f"to_{ending}")(path)
        return path.read_bytes()
