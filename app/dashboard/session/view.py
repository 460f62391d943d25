"""What one session looks at: model, store, layer and plan. Kept in the session, mirrored in the URL by name."""

from dataclasses import dataclass

import streamlit as st

from workbench import Plan, Store, WorkbenchError
from workbench.anatomy import Anatomy
from workbench.paths import Place
from workbench.plan import sent_plan

from .catalog import BUNDLED, Catalog
from .machines import Machine, machine, store_at

_NAMES = ("model", "store", "layer", "plan")


@dataclass(frozen=True)
class View:
    """The chosen model and store of this run of the script. `store` is None where the model has none."""

    catalog: Catalog
    name: str
    machine: Machine
    store_name: str | None
    store_path: Place | None

    @property
    def anatomy(self) -> Anatomy:
        """The MoE map."""
        return self.machine.model.anatomy

    @property
    def store(self) -> Store | None:
        """The chosen store."""
        return None if self.store_path is None else store_at(self.store_path)


def current_view(catalog: Catalog) -> View:
    """The view that the URL or this session asks for. Raises `WorkbenchError` for a name this server does not know."""
    if "view" not in st.session_state:
        asked = {name: st.query_params[name] for name in _NAMES if name in st.query_params}
        st.session_state.view = {"model": next(iter(catalog.models)), **asked}
        st.session_state.plan, st.session_state.past = Plan(), []
        _plan_from_url(catalog, asked.get("plan"))
    wanted = st.session_state.view
    found = machine(catalog.model(wanted["model"]), catalog.engine)
    fitting = fitting_stores(catalog, found.model.anatomy)
    name = wanted.get("store")
    if name is not None and name not in fitting:
        catalog.store(name)
        raise WorkbenchError(f"The store '{name}' holds another model than '{wanted['model']}'; choose one of its own.")
    name = name or next(iter(fitting), None)
    return View(catalog, wanted["model"], found, name, fitting[name] if name else None)


def fitting_stores(catalog: Catalog, anatomy: Anatomy) -> dict[str, Place]:
    """The catalog's stores that hold this model, the bundled one first."""
    found: dict[str, Place] = {}
    for name, path in catalog.stores().items():
        try:
            if anatomy.is_same(store_at(path).anatomy.fingerprint):
                found[name] = path
        except (WorkbenchError, OSError):
            continue  # half written or damaged: `Captures and runs` lists it with the reason
    return dict(sorted(found.items(), key=lambda item: item[0] not in BUNDLED))


def choose(**changes: str | None) -> None:
    """Changes what this session looks at; another model has other experts, so its plan starts empty."""
    if changes.get("model", st.session_state.view["model"]) != st.session_state.view["model"]:
        st.session_state.plan, st.session_state.past = Plan(), []
        st.session_state.view = {}
    st.session_state.view = {k: v for k, v in (st.session_state.view | changes).items() if v is not None}


def plan() -> Plan:
    """The plan of this session."""
    return st.session_state.plan


def set_plan(new: Plan) -> None:
    """Another plan; the one before can be had back by `undo`."""
    if new != plan():
        st.session_state.past = [*st.session_state.past[-49:], plan()]
        st.session_state.plan = new


def undo() -> None:
    """The plan before the last change."""
    if st.session_state.past:
        *st.session_state.past, st.session_state.plan = st.session_state.past


def write_url(view: View) -> None:
    """This view in the URL, so that it can be shared and reloaded: names and the plan's text, never paths."""
    shown = {"model": view.name, "store": view.store_name, "layer": st.session_state.view.get("layer")}
    shown["plan"] = str(plan()) if plan() else None
    for name, value in shown.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value


def _plan_from_url(catalog: Catalog, text: str | None) -> None:
    if text:
        anatomy = machine(catalog.model(st.session_state.view["model"]), catalog.engine).model.anatomy
        st.session_state.plan = sent_plan(text, anatomy)
