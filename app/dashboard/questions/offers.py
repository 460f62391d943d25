"""The classes, conditions and roles of one store, looked up once as long as it does not change."""

from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import streamlit as st

from probes.reading import classes, prompt_length
from workbench import Store, WorkbenchError
from workbench.paths import Place
from workbench.thinking import PAIRS

from ..session import Identity, identity, store_at

VERDICTS = ("refused", "answered")
"""Classes that responses fall into by themselves."""
_FEW = 12  # a label with more values than this names texts or single answers, not classes


class Offer(NamedTuple):
    """What a store has to ask about; classes and conditions as `name=value`.

    classes        what can be found or compared: verdicts where both are among the responses, and values of labels
    compared       values of labels that can be set against the others: of two values one, of more each
    conditions     what prompts can be limited to
    roles          of tokens, the most frequent first
    has_responses  whether there are responses with text
    has_verdicts   whether some responses were refused and some answered
    thinks         whether some thought was said, not only mentioned
    """

    classes: tuple[str, ...]
    compared: tuple[str, ...]
    conditions: tuple[str, ...]
    roles: tuple[str, ...]
    has_responses: bool
    has_verdicts: bool
    thinks: bool

    @property
    def domains(self) -> tuple[str, ...]:
        """Labels of several values, which can be compared all at once."""
        return tuple(dict.fromkeys(name.partition("=")[0] for name in self.compared))


def offer(path: Place) -> Offer:
    """What the store at `path` offers."""
    return _offer(str(path), identity(path))


@st.cache_data(max_entries=32, show_spinner=False)
def _offer(path: str, now: Identity) -> Offer:
    store = store_at(path)
    tokens: Any = store.tokens
    pairs = few_valued(store)
    labels, splits = [f"{n}={v}" for n, v in pairs], sorted(store.prompts["split"].dropna().unique())
    said = tokens["position"].to_numpy() >= prompt_length(store)
    has_responses = bool(tokens["token"][said].notna().any())
    has_verdicts = has_responses and _has_both(store)
    thought = bool((tokens["role"].eq("think").to_numpy() & said).any())  # a marker alone may only be mentioned
    return Offer(
        classes=(*(VERDICTS if has_verdicts else ()), *labels),
        compared=tuple(compared(pairs)),
        conditions=(*(f"split={v}" for v in splits), *labels),
        roles=tuple(str(role) for role, n in tokens["role"].value_counts().items() if n),
        has_responses=has_responses,
        has_verdicts=has_verdicts,
        thinks=thought and bool(tokens["token"].fillna("").str.strip().eq(PAIRS[0].open).any()),
    )


def _has_both(store: Store) -> bool:
    try:
        classes(store, *VERDICTS)
    except WorkbenchError:
        return False
    return True


def few_valued(store: Store) -> list[tuple[str, str]]:
    """Name and value of labels with a few values; those that tell prompts apart first, of each the last value: yes before no."""
    pairs: Any = store.labels[["name", "value"]].dropna().drop_duplicates()
    values = pairs.groupby("name")["value"].size()
    kept = pairs[pairs["name"].isin(values.index[values <= _FEW])]
    kept = kept.assign(alone=kept["name"].map(values) == 1).sort_values(
        ["alone", "name", "value"], ascending=[True, True, False]
    )
    return list(kept[["name", "value"]].itertuples(index=False, name=None))


def compared(pairs: list[tuple[str, str]]) -> list[str]:
    """`name=value` of each that can be set against the others of its name; of two, one is the other with its sign turned."""
    found: list[str] = []
    for name, group in groupby(pairs, itemgetter(0)):
        values = sorted(value for _, value in group)
        if len(values) > 1:
            found += [f"{name}={value}" for value in (values[1:] if len(values) == 2 else values)]
    return found
