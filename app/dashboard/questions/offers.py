"""What a store has to ask about: classes of responses, conditions on prompts, roles of tokens."""

from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from workbench import Store
from workbench.thinking import PAIRS

from ..session import Identity, identity, store_at

_FEW = 24  # a label with more values than this is a text, not a class


class Offer(NamedTuple):
    """What a store has to ask about: classes and conditions as `name=value`, and the roles of its tokens."""

    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    roles: tuple[str, ...]
    thinks: bool


def offer(path: Path) -> Offer:
    """What the store at `path` offers; looked up once as long as it does not change."""
    return _offer(str(path), identity(path))


@st.cache_data(max_entries=32, show_spinner=False)
def _offer(path: str, now: Identity) -> Offer:
    store = store_at(Path(path))
    tokens: Any = store.tokens
    labels = [f"{n}={v}" for n, v in few_valued(store)]
    splits = [f"split={v}" for v in sorted(store.prompts["split"].dropna().unique())]
    verdicts = ["refused", "answered"] if tokens["role"].eq("assistant").any() else []
    roles = tuple(str(role) for role, n in tokens["role"].value_counts().items() if n)
    said = (
        tokens["position"].to_numpy() >= store.prompts["n_tokens"].to_numpy()[tokens["prompt_id"].cat.codes.to_numpy()]
    )
    thought = bool((tokens["role"].eq("think").to_numpy() & said).any())  # a marker alone may only be mentioned
    thinks = thought and bool(tokens["token"].fillna("").str.strip().eq(PAIRS[0].open).any())
    return Offer((*verdicts, *labels), (*splits, *labels), roles, thinks)


def few_valued(store: Store) -> list[tuple[str, str]]:
    pairs: Any = store.labels[["name", "value"]].dropna().drop_duplicates()
    values = pairs.groupby("name")["value"].size()
    kept = pairs[pairs["name"].isin(values.index[values <= _FEW])]
    # labels that tell prompts apart come first, and of each the last value: yes before no
    kept = kept.assign(alone=kept["name"].map(values) == 1).sort_values(
        ["alone", "name", "value"], ascending=[True, True, False]
    )
    return list(kept[["name", "value"]].itertuples(index=False, name=None))
