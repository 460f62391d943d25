"""What the atlas can show of every expert, and what this store cannot answer, with the reason."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from workbench import Store

from ..session import Identity, View, identity, scores_of, store_at
from ..widgets import DIVERGING, SEQUENTIAL, visible
from .colours import options_of

_MOST_VALUES = 12  # a label with more values names single answers, not classes


class Measure(NamedTuple):
    """A number per expert: what is asked of which probe, in which unit, and how it is coloured."""

    name: str
    method: str
    options: tuple[tuple[str, Any], ...]
    unit: str
    palette: str = SEQUENTIAL


class Measures(NamedTuple):
    """What this store can answer, and a sentence for each thing that it cannot."""

    measures: tuple[Measure, ...]
    refused: tuple[str, ...]


ENTROPY = "entropy of its tokens' routing"


def measures_for(view: View, store: Store) -> Measures:
    """Every measure for this store, the plain ones first."""
    found, refused = [*_usage(), Measure(ENTROPY, "", (), "mean bits of its tokens' weights")], list[str]()
    classes, roles, says = _about(str(store.path), identity(store.path))
    for method, label, unit in (
        ("ftri", "fTRI", "difference of selection rates"),
        ("contrast", "contrast", "risk difference"),
    ):
        found += _compared(view, method, label, unit, classes, says)
    found += [_npmi(f"role {role}", role=role) for role in roles]
    found += [_npmi(name, label=name) for name in classes]
    if not classes and not says:
        refused.append("fTRI and contrast need labels with two values or responses; this store has neither.")
    if store.has("residual") and "norms" in store.plan_json["options"].get("keep", ("norms",)):
        found.append(Measure("largest output (super experts)", "super_experts", (), "largest |output|"))
    else:
        refused.append("Super experts need norms and residual; capture again with keep including both.")
    return Measures(tuple(found), tuple(refused))


def token_measure(token: str) -> Measure:
    """How much experts go with one token, as it is written."""
    return _npmi(f"token {visible(token)}", token=token)


def values_of(view: View, measure: Measure) -> pd.DataFrame:
    """layer, expert, score, n, and where the probe has them low, high, p_adjusted; routed experts, ranked.

    Raises `WorkbenchError` when this store cannot say.
    """
    assert view.store_path is not None
    if measure.name == ENTROPY:
        return _entropies(str(view.store_path), identity(view.store_path))
    frame: Any = scores_of(view.store_path, measure.method, **dict(measure.options)).frame
    return frame[~frame["is_shared"]] if "is_shared" in frame else frame


def notes_of(view: View, measure: Measure) -> tuple[str, ...]:
    """What the probe says about its answer."""
    if measure.name == ENTROPY or view.store_path is None:
        return ("low: its tokens give one expert all the weight; high: their experts weigh the same",)
    return scores_of(view.store_path, measure.method, **dict(measure.options)).notes


@st.cache_data(max_entries=16, show_spinner=False)
def _about(path: str, now: Identity) -> tuple[list[str], list[str], bool]:
    """Classes to compare, roles to ask for, and whether there are responses with text."""
    store = store_at(Path(path))
    return [*_classes(store)], _roles(store), _has_responses(store)


def _usage() -> list[Measure]:
    return [
        Measure("load", "usage", (), "share of the layer's selections"),
        Measure("share of tokens", "usage", (("measure", "rate"),), "share of tokens that select it"),
        Measure("mean weight", "usage", (("measure", "weight"),), "mean routing weight a token"),
    ]


def _compared(
    view: View, method: str, label: str, unit: str, classes: Iterable[str], has_responses: bool
) -> Iterable[Measure]:
    if has_responses:
        options = options_of(view, "ftri") if method == "ftri" else {"positive": "refused", "negative": "answered"}
        yield Measure(f"{label}: refused against answered", method, tuple(options.items()), unit, DIVERGING)
    target = "target" if method == "ftri" else "positive"
    for name in classes:
        yield Measure(f"{label}: {visible(name)} against the others", method, ((target, name),), unit, DIVERGING)


def _npmi(name: str, **options: Any) -> Measure:
    return Measure(f"nPMI: {visible(name)}", "npmi", tuple(options.items()), "nPMI", DIVERGING)


def _classes(store: Store) -> Iterable[str]:
    """Values of labels, as probes name them, where a label has a few."""
    for name, values in store.labels.groupby("name")["value"]:
        known = sorted(set(values.dropna()))
        if 2 <= len(known) <= _MOST_VALUES:
            asked = known[1:] if len(known) == 2 else known  # of two, one is the other with its sign turned
            yield from (f"{name}={value}" for value in asked)


def _roles(store: Store) -> list[str]:
    """Roles that some tokens have and others have not."""
    counted = store.tokens["role"].value_counts()
    found = [str(role) for role, n in counted.items() if n]
    return sorted(found) if len(found) > 1 else []


def _has_responses(store: Store) -> bool:
    tokens: Any = store.tokens
    length = store.prompts["n_tokens"].to_numpy()[tokens["prompt_id"].cat.codes.to_numpy()]
    said = tokens["position"].to_numpy() >= length
    return bool(said.any()) and bool(tokens["token"][said].notna().any())


@st.cache_data(max_entries=16, show_spinner="Reading the routing ...")
def _entropies(path: str, now: Identity) -> pd.DataFrame:
    """Mean over the tokens that select an expert of the entropy of their routing weights, bits."""
    store = store_at(Path(path))
    rows: list[dict[str, float]] = []
    for layer in store.layers:
        found = store.routing(layer)
        bits = weight_entropy(found.weight)
        filled = (found.expert >= 0) & np.isfinite(found.weight).all(axis=1, keepdims=True)
        chosen = found.expert[filled]
        n = np.bincount(chosen, minlength=store.anatomy.layer(layer).n_experts)
        total = np.bincount(chosen, np.broadcast_to(bits[:, None], filled.shape)[filled], minlength=len(n))
        score = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
        rows += [
            {"layer": layer, "expert": e, "score": s, "n": k} for e, (s, k) in enumerate(zip(score, n, strict=True))
        ]
    frame = pd.DataFrame(rows).astype({"layer": "int32", "expert": "int32", "n": "int64"})
    return frame.sort_values("score", ascending=False, na_position="last", ignore_index=True)


def weight_entropy(weight: np.ndarray) -> np.ndarray:
    """[tokens] entropy in bits of each token's weights [tokens, k] over their sum; 0 where nothing was routed."""
    total = weight.sum(axis=1, keepdims=True)
    share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0).astype(np.float64)
    return 0.0 - (share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)  # no -0 where one expert has it all
