"""Two probes side by side: whether they rank the same experts first."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ..widgets import BASE, chart, named, points, text, titled, visible

if TYPE_CHECKING:
    from probes import ExpertScores

_TOPS = (1, 3, 5, 10, 20, 50, 100)


def two_probes(first: "ExpertScores", second: "ExpertScores") -> None:
    """Draws the scatter of both, their rank correlation and how many of the first n they share."""
    both = paired(first, second)
    if len(both) < 2:
        st.text("These two have fewer than two experts with a score in common; compare others.")
        return
    by_rank = st.toggle("Ranks instead of scores", key="compare-ranks")
    st.text(
        f"Spearman's rank correlation {spearman(both):+.3f} over {len(both):,} experts with a score in both. Experts of one "
        f"layer compete for slots, so they are not independent and no p-value is given."
    )
    chart(_figure(both, first.method, second.method, "rank" if by_rank else "score"), "two-probes", both)
    st.text("How many of the first n both name, and how many two unrelated rankings would share:")
    st.dataframe(
        overlap(both), hide_index=True, column_config={"share": st.column_config.NumberColumn(format="percent")}
    )


def paired(first: "ExpertScores", second: "ExpertScores") -> pd.DataFrame:
    """Experts with a score in both: name, score and rank (from 1, among these) of each."""
    left, right = (named(s).dropna(subset=["score"])[["name", "score"]] for s in (first, second))
    both = left.merge(right, on="name", suffixes=("_first", "_second"))
    for side in ("first", "second"):
        both[f"rank_{side}"] = both[f"score_{side}"].rank(ascending=False, method="first").astype(int)
    return both


def spearman(both: pd.DataFrame) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal scores sharing their mean rank. NaN for constant scores."""
    ranks: Any = both[["score_first", "score_second"]].rank()
    return float(ranks.corr().iloc[0, 1])


def overlap(both: pd.DataFrame) -> pd.DataFrame:
    """Of the first n of each: how many are the same, their share, and the number expected by chance, n² / experts."""
    total = len(both)
    rows = [
        (n, shared := len(_first(both, "first", n) & _first(both, "second", n)), shared / n, round(n * n / total, 2))
        for n in _TOPS
        if n <= total
    ]
    return pd.DataFrame(rows, columns=["n", "in both", "share", "by chance"])


def _first(both: pd.DataFrame, side: str, n: int) -> set[str]:
    return set(both["name"][both[f"rank_{side}"] <= n])


def _figure(both: pd.DataFrame, first: str, second: str, what: str) -> go.Figure:
    shown = [
        f"{text(n)}<br>ranks {a} and {b}"
        for n, a, b in zip(both["name"], both["rank_first"], both["rank_second"], strict=True)
    ]
    marker = {"color": BASE, "size": 7, "opacity": 0.7}
    drawn = go.Figure(points(both[f"{what}_first"], both[f"{what}_second"], shown, marker))
    # rank 1 belongs at the top right, where the largest scores are
    order = "reversed" if what == "rank" else True
    drawn.update_xaxes(title=f"{visible(first)} {what}", autorange=order)
    drawn.update_yaxes(title=f"{visible(second)} {what}", autorange=order)
    return titled(drawn, f"{first} against {second}, {what} of each expert")
