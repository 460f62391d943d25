"""How evenly the tokens of each expert weigh their experts: mean entropy of their routing weights."""

import numpy as np
import pandas as pd
import streamlit as st

from probes.reading import content
from probes.utilisation import weight_entropy
from workbench.paths import Place

from ..session import Identity, store_at


@st.cache_data(max_entries=16, show_spinner="Reading the routing ...")
def entropies(path: str, now: Identity) -> pd.DataFrame:
    """Mean over the tokens of what was said that select an expert of the entropy of their routing weights, bits."""
    store = store_at(path)
    said = content(store)[:, None]
    rows: list[dict[str, float]] = []
    for layer in store.layers:
        found = store.routing(layer)
        bits = weight_entropy(found.weight)
        filled = (found.expert >= 0) & said & np.isfinite(found.weight).all(axis=1, keepdims=True)
        chosen = found.expert[filled]
        n = np.bincount(chosen, minlength=store.anatomy.layer(layer).n_experts)
        total = np.bincount(chosen, np.broadcast_to(bits[:, None], filled.shape)[filled], minlength=len(n))
        score = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
        rows += [
            {"layer": layer, "expert": e, "score": s, "n": k} for e, (s, k) in enumerate(zip(score, n, strict=True))
        ]
    frame = pd.DataFrame(rows).astype({"layer": "int32", "expert": "int32", "n": "int64"})
    return frame.sort_values("score", ascending=False, na_position="last", ignore_index=True)


def entropy_notes(path: Place | None) -> tuple[str, ...]:
    """What high and low mean, and how many tokens were not read."""
    apart = 0 if path is None else int((~content(store_at(path))).sum())
    left_out = f"{apart:,} tokens of the chat template's or special were left out"
    what = "low: its tokens give one expert all the weight; high: their experts weigh the same"
    return (what, left_out) if apart else (what,)
