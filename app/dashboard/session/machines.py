"""What all sessions share: each model once with the turns at it, each store once, and rankings that were asked before."""

import gc
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from probes.catalogue import ASKED
from workbench import Plan, Store, load, open_store
from workbench.backends import backend_of
from workbench.paths import Place, given_place
from workbench.storage import disk_of

from .turns import Turns

if TYPE_CHECKING:
    from workbench import MoEModel

Identity = tuple[tuple[str, str], ...]
"""Names of files, each with what tells its content from another's."""


@dataclass(frozen=True)
class Machine:
    """A model, and the queue of those who want to run it. engine: what it runs on, where that is not this process."""

    model: "MoEModel"
    turns: Turns = field(default_factory=Turns)
    engine: Any = None

    @property
    def everywhere(self) -> Plan:
        """A server's own plan, which holds for every answer."""
        return getattr(self.engine, "everywhere", Plan())


def machine(source: str, engine: str | None = None) -> Machine:
    """The model, once for all sessions. `source` and `engine` are what `workbench.load` takes; a folder that was written anew
    is read anew.
    """
    return _machine(source, engine, weights_of(Path(source)))


@st.cache_resource(show_spinner="Loading the model ...")
def _machine(source: str, engine: str | None, files: Identity) -> Machine:
    model = load(source, engine=engine)
    found = Machine(model, engine=_engine(model))
    # Streamlit collects garbage after every run of a script and every look of a fragment. Among the objects of torch and
    # a model that takes 0.3 to 0.4 s (2026-11-23, two busy cores) in which no thread moves; frozen ones are not searched.
    gc.freeze()
    return found


def _engine(model: "MoEModel") -> Any:
    here = getattr(model, "local", model) is not None
    return None if here else getattr(backend_of(model), "engine", None)


def identity(store: Place) -> Identity:
    """What the store at this place is now: part of the key of everything that is kept about a store.

    The manifest's content, since a store put in the place of another may have its time, and every file of labels, since
    labels are added without the manifest. Raises `OSError` where no complete store is.
    """
    disk = disk_of(store)
    manifest = hashlib.sha256(disk.read("manifest.json")).hexdigest()
    return (("manifest.json", manifest), *((file.key, file.stamp) for file in disk.list("labels")))


def weights_of(model: Path) -> Identity:
    """The files of a model's folder; nothing for a name or an id of the hub."""
    return _stats(model, "*") if model.is_dir() else ()


def _stats(folder: Path, pattern: str) -> Identity:
    found = sorted((file.name, file.stat()) for file in folder.glob(pattern) if file.is_file())
    return tuple((name, f"{at.st_size} {at.st_mtime_ns} {at.st_ino}") for name, at in found)


def store_at(place: Place | str) -> Store:
    """The store, opened once as long as it does not change."""
    found = given_place(place)
    return _store(str(found), identity(found))


@st.cache_resource(max_entries=16, show_spinner=False)
def _store(path: str, now: Identity) -> Store:
    return open_store(path)


def scores_of(path: Place, method: str, **options: Any) -> Any:
    """A probe's answer about a store, `ExpertScores` or a table; asked twice, computed once. `method` is a name of `probes`.

    An option that is a place is a store read beside it, which may change as well.
    """
    beside = tuple((name, str(value), identity(value)) for name, value in options.items() if isinstance(value, Place))
    alone = {name: value for name, value in options.items() if not isinstance(value, Place)}
    return _scores(str(path), identity(path), method, tuple(sorted(alone.items())), beside)


def ahead_of(path: Place, method: str, **options: Any) -> str:
    """What a probe whose entry says `ahead` takes, as it says it before it starts; nothing where it is done at once."""
    return _ahead(str(path), identity(path), method, tuple(sorted(options.items())))


@st.cache_resource(max_entries=64, show_spinner="Looking what it takes ...")
def _ahead(path: str, now: Identity, method: str, options: tuple[tuple[str, Any], ...]) -> str:
    from probes.structure import ahead

    return ahead(ASKED[method].load(), _store(path, now), **dict(options))


@st.cache_resource(max_entries=64, show_spinner="Asking the store ...", show_time=True)
def _scores(
    path: str,
    now: Identity,
    method: str,
    options: tuple[tuple[str, Any], ...],
    beside: tuple[tuple[str, str, Identity], ...],
) -> Any:
    import probes

    others = {name: _store(other, then) for name, other, then in beside}
    return getattr(probes, method)(_store(path, now), **dict(options), **others)
