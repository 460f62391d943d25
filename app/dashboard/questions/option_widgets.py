"""Widgets for a probe's options: choices come from the probe's signature, and labels may also be typed."""

import inspect
from typing import Any, get_args

import streamlit as st

from ..widgets import visible
from .offers import Offer

EVERY = None
"""No choice made: all others, or every prompt."""


def choices(method: str, name: str) -> tuple[tuple[Any, ...], Any]:
    """The values that an option of a probe can have, and its default, from the signature."""
    import probes
    from probes.selection import NAMES

    parameter = inspect.signature(getattr(probes, method)).parameters[name]
    return (NAMES if name == "tokens" else get_args(parameter.annotation)), parameter.default


def default_of(method: str, name: str) -> Any:
    """The default of a probe's option, from the signature; something equal to nothing else when it has none."""
    import probes

    return inspect.signature(getattr(probes, method)).parameters[name].default


def choice(method: str, name: str, default: Any = None, more: tuple[str, ...] = ()) -> Any:
    """One of the values that the signature allows, or of `more`; the default is the signature's if none is given."""
    known, given = choices(method, name)
    known = (*known, *more)
    at = known.index(default if default is not None else given)
    return st.selectbox(name.replace("_", " ").capitalize(), known, at, key=f"{method}-{name}")


def one_of(label: str, key: str, options: Any, default: Any) -> Any:
    """A choice that also takes what is typed: a label with many values is not listed."""
    found = list(options)
    at = found.index(default) if default in found else 0 if found else None
    return st.selectbox(label, found, at, key=key, format_func=_shown, accept_new_options=True)


def _shown(value: Any) -> str:
    return "all others" if value is EVERY else visible(value)


def two_classes(method: str, names: tuple[str, str], offered: Offer, columns: Any) -> dict[str, Any]:
    """The class to find, and what it is compared with, under the names that the probe has for them."""
    known: tuple[str | None, ...] = offered.classes
    defaults = [*known[:2], EVERY, EVERY][:2]
    found: dict[str, Any] = {}
    for name, column, default in zip(names, columns, defaults, strict=True):
        options = known if name == names[0] else [EVERY, *known]
        with column:
            found[name] = one_of(name.capitalize(), f"{method}-{name}", options, default)
    return found


def read(method: str, offered: Offer) -> dict[str, Any]:
    """Which roles of which prompts are read."""
    roles = st.multiselect("Roles (none chosen: all)", offered.roles, key=f"{method}-roles", format_func=visible)
    return {"roles": tuple(roles) or None, "where": where(method, offered)}


def where(method: str, offered: Offer) -> str | None:
    """A condition on prompts, or none."""
    options = [EVERY, *offered.conditions]
    return st.selectbox(
        "Only prompts of", options, key=f"{method}-where", format_func=_shown_where, accept_new_options=True
    )


def _shown_where(value: Any) -> str:
    return "every prompt" if value is EVERY else visible(value)


def p_values(method: str, permute: bool = True) -> dict[str, Any]:
    """How p-values are made."""
    how = {"permute": choice(method, "permute")} if permute else {}
    adjust = choice(method, "adjust")
    n = st.number_input("Permutations", 0, 100_000, 1000, 500, key=f"{method}-permutations")
    seed = st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{method}-seed")
    return how | {"adjust": adjust, "n_permutations": int(n), "seed": int(seed)}
