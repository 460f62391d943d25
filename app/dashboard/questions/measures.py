"""What the atlas can show of every expert, and what this store cannot answer, with the reason."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from probes.catalogue import RANKERS, Method, Need, ranker
from probes.utilisation import weight_entropy
from workbench import Store
from workbench.errors import listed

from ..session import Identity, View, identity, scores_of, store_at
from ..widgets import SEQUENTIAL, visible
from .colours import options_of, palette_of
from .offers import VERDICTS, Offer, offer


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
    """Every measure for this store, those that every store can answer first."""
    offered = offer(store.path)
    able = [probe for probe in RANKERS.values() if not _lacks(store, offered, probe)]
    plain = [probe for probe in able if not probe.classes and not probe.goes_with]
    found = [m for probe in plain if not probe.needs for m in _plain(probe)]
    found.append(Measure(ENTROPY, "", (), "mean bits of its tokens' weights"))
    found += [m for probe in able if probe.classes for m in _compared(view, probe, offered)]
    roles = sorted(offered.roles) if len(offered.roles) > 1 else []  # a role that all tokens have tells nothing
    for probe in able:
        if probe.goes_with:
            found += [_going_with(probe, f"role {role}", role=role) for role in roles]
            found += [_going_with(probe, name, label=name) for name in offered.compared]
    found += [m for probe in plain if probe.needs for m in _plain(probe)]
    return Measures(tuple(found), tuple(_refused(store, offered)))


def _lacks(store: Store, offered: Offer, probe: Method) -> tuple[Need, ...]:
    """What the probe needs and this store has not."""
    kept = {"norms": "norms" in store.plan_json["options"].get("keep", ("norms",)), "residual": store.has("residual")}
    kept["labels or responses"] = bool(offered.compared) or offered.has_responses
    kept["pairs"] = bool(store.prompts["pair"].notna().any())
    return tuple(need for need in probe.needs if not kept[need])


def _refused(store: Store, offered: Offer) -> Iterable[str]:
    """A sentence for all probes that need the same and cannot have it."""
    without: dict[tuple[Need, ...], list[str]] = {}
    for probe in RANKERS.values():
        if _lacks(store, offered, probe):
            without.setdefault(probe.needs, []).append(probe.title)
    for needs, titles in without.items():
        yield f"{listed(titles)} cannot be asked here, for want of {' and '.join(needs)}; capture again with them."


def token_measure(token: str) -> Measure:
    """How much experts go with one token, as it is written."""
    return _going_with(ranker("npmi"), f"token {token}", token=token)


def values_of(view: View, measure: Measure) -> pd.DataFrame:
    """layer, expert, score, n, and where the probe has them low, high, p_adjusted; routed experts, ranked.

    Raises `WorkbenchError` when this store cannot say.
    """
    assert view.store_path is not None
    if measure.name == ENTROPY:
        return entropies(str(view.store_path), identity(view.store_path))
    frame: Any = scores_of(view.store_path, measure.method, **dict(measure.options)).frame
    return frame[~frame["is_shared"]]


def notes_of(view: View, measure: Measure) -> tuple[str, ...]:
    """What the probe says about its answer."""
    if measure.name == ENTROPY or view.store_path is None:
        return ("low: its tokens give one expert all the weight; high: their experts weigh the same",)
    return scores_of(view.store_path, measure.method, **dict(measure.options)).notes


def _plain(probe: Method) -> Iterable[Measure]:
    """The probe as it is, and what else it can measure."""
    yield Measure(probe.score, probe.name, (), probe.unit, palette_of(probe))
    for reading in probe.readings:
        yield Measure(reading.name, probe.name, tuple(reading.options.items()), reading.unit, palette_of(probe))


def _compared(view: View, probe: Method, offered: Offer) -> Iterable[Measure]:
    palette = palette_of(probe)
    if offered.has_responses:
        options = tuple(options_of(view, probe.name).items())
        yield Measure(f"{probe.score}: {' against '.join(VERDICTS)}", probe.name, options, probe.unit, palette)
    for name in offered.compared:
        against = f"{probe.score}: {visible(name)} against the others"
        yield Measure(against, probe.name, ((probe.classes[0], name),), probe.unit, palette)


def _going_with(probe: Method, name: str, **options: Any) -> Measure:
    said = f"{probe.score}: {visible(name)}"
    return Measure(said, probe.name, tuple(options.items()), probe.unit, palette_of(probe))


@st.cache_data(max_entries=16, show_spinner="Reading the routing ...")
def entropies(path: str, now: Identity) -> pd.DataFrame:
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
