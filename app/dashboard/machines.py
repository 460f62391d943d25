"""What all sessions share: each model once with the turns at it, each store once, and rankings that were asked before."""

import gc
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from workbench import Store, load, open_store

from .turns import Turns

if TYPE_CHECKING:
    from probes import ExpertScores
    from workbench import MoEModel


@dataclass(frozen=True)
class Machine:
    """A model, and the queue of those who want to run it."""

    model: "MoEModel"
    turns: Turns = field(default_factory=Turns)


@st.cache_resource(show_spinner="Loading the model ...")
def machine(source: str) -> Machine:
    """The model, once for all sessions. `source` is what `workbench.load` takes."""
    found = Machine(load(source))
    # Streamlit collects garbage after every run of a script and every look of a fragment. Among the objects of torch and
    # a model that takes 0.3 to 0.4 s (2026-11-23, two busy cores) in which no thread moves; frozen ones are not searched.
    gc.freeze()
    return found


def store_at(path: Path) -> Store:
    """The store, opened once as long as it does not change."""
    return _store(str(path), (path / "manifest.json").stat().st_mtime_ns)


@st.cache_resource(max_entries=16, show_spinner=False)
def _store(path: str, stamp: int) -> Store:
    return open_store(path)


def scores_of(path: Path, method: str, **options: Any) -> "ExpertScores":
    """A probe's answer about a store; asked twice, computed once. `method` is a name of `probes`."""
    return _scores(str(path), (path / "manifest.json").stat().st_mtime_ns, method, tuple(sorted(options.items())))


@st.cache_resource(max_entries=64, show_spinner="Ranking experts ...")
def _scores(path: str, stamp: int, method: str, options: tuple[tuple[str, Any], ...]) -> "ExpertScores":
    import probes

    return getattr(probes, method)(_store(path, stamp), **dict(options))
