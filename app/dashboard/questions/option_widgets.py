"""Widgets for a probe's options: choices come from the probe's signature, and labels may also be typed."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from probes.catalogue import ASKED, Method

from ..widgets import visible
from .offers import Offer

EVERY = None
"""No choice made: all others, or every prompt."""
_SHARED = ("tokens", "roles", "where", "permute", "adjust", "n_permutations", "seed")
"""Options that mean the same for every probe and are drawn together."""
_LEFT = ("cluster", "n_bootstrap", "endpoint", "model", "contexts", "calls")
"""Options that stay at their default here. No text from a browser makes this server ask another address."""
_OF_LABELS = ("domains", "tasks")
"""Options that name a label of the store."""


def parameters(method: str) -> Mapping[str, inspect.Parameter]:
    """The arguments of a probe, from its signature."""
    return inspect.signature(ASKED[method].load()).parameters


def choices(method: str, name: str) -> tuple[tuple[Any, ...], Any]:
    """The values that an option of a probe can have, and its default, from the signature."""
    parameter = parameters(method)[name]
    return tuple(_words(parameter.annotation)), parameter.default


def _words(annotation: Any) -> list[Any]:
    """What the Literals of an annotation allow, those joined by `|` one after the other."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in _words(part)]


def default_of(method: str, name: str) -> Any:
    """The default of a probe's option, from the signature; something equal to nothing else when it has none."""
    return parameters(method)[name].default


def own_options(probe: Method) -> tuple[str, ...]:
    """Options of this probe alone that a widget can ask for: words to choose from, yes or no, a number, several, text."""
    found = parameters(probe.name)
    taken = (*_SHARED, *_LEFT, *_OF_LABELS, *probe.classes, *probe.goes_with, probe.beside)
    return tuple(n for n in found if n not in taken and (choices(probe.name, n)[0] or _can_be_typed(found[n])))


def _can_be_typed(parameter: inspect.Parameter) -> bool:
    """Whether it is yes or no, a number, several numbers, or a text or whole number that can be left out."""
    return isinstance(parameter.default, bool | int | float | tuple) or parameter.annotation in (str | None, int | None)


def label_options(probe: Method) -> tuple[str, ...]:
    """Options of this probe that name a label."""
    return tuple(name for name in _OF_LABELS if name in parameters(probe.name))


def option(probe: Method, name: str) -> Any:
    """One of the probe's own options, in the words that the catalogue has for it."""
    known, default = choices(probe.name, name)
    if known:
        return choice(probe.name, name)
    label, key = probe.words.get(name, _label(name)), f"{probe.name}-{name}"
    if isinstance(default, tuple):
        return _numbers(st.text_input(label, ", ".join(f"{one:g}" for one in default), key=key, max_chars=100))
    if default is None and parameters(probe.name)[name].annotation == int | None:
        return st.number_input(label, value=None, step=1, key=key)
    if default is None:
        return st.text_input(label, "", key=key, max_chars=100) or None
    if isinstance(default, bool):
        return st.checkbox(label, default, key=key)
    return st.number_input(label, value=default, key=key)


def _numbers(text: str) -> tuple[int | float, ...] | str:
    """Numbers with commas between, whole ones as such; the text itself where it is something else."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        return text
    return tuple(int(one) if one.is_integer() else one for one in found)


def choice(method: str, name: str, default: Any = None) -> Any:
    """One of the values that the signature allows; the default is the signature's if none is given."""
    known, given = choices(method, name)
    at = known.index(default if default is not None else given)
    return st.selectbox(ASKED[method].words.get(name, _label(name)), known, at, key=f"{method}-{name}")


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def one_of(label: str, key: str, options: Any, default: Any) -> Any:
    """A choice that also takes what is typed: a label with many values is not listed."""
    found = list(options)
    at = found.index(default) if default in found else 0 if found else None
    return st.selectbox(label, found, at, key=key, format_func=_shown, accept_new_options=True)


def _shown(value: Any) -> str:
    return "all others" if value is EVERY else visible(value)


def two_classes(method: str, names: tuple[str, ...], offered: Offer, columns: Any) -> dict[str, Any]:
    """The class to find, and what it is compared with, under the names that the probe has for them."""
    known: tuple[str | None, ...] = offered.classes
    defaults = [*known[:2], EVERY, EVERY][:2]
    found: dict[str, Any] = {}
    for name, column, default in zip(names, columns, defaults, strict=False):
        options = known if name == names[0] else [EVERY, *known]
        with column:
            found[name] = one_of(name.capitalize(), f"{method}-{name}", options, default)
    return found


def other_store(probe: Method, stores: tuple[str, ...]) -> str | None:
    """The name of the store that a probe compares with, or none chosen."""
    label, key = probe.words.get(probe.beside, _label(probe.beside)), f"{probe.name}-{probe.beside}"
    return st.selectbox(label, stores, None, key=key, format_func=visible)


def roles(method: str, offered: Offer) -> tuple[str, ...] | None:
    """Which roles are read, or none chosen."""
    found = st.multiselect(
        "Roles (none chosen: those of Tokens)", offered.roles, key=f"{method}-roles", format_func=visible
    )
    return tuple(found) or None


def label_named(probe: Method, name: str, offered: Offer) -> str | None:
    """The label that an option names: those of a few values are offered, any other can be typed.

    None, and at first none, where the probe asks without one as well.
    """
    label, key = probe.words.get(name, _label(name)), f"{probe.name}-{name}"
    first = {} if "labels" in probe.needs else {"index": None, "placeholder": "none"}
    return st.selectbox(label, offered.domains, key=key, format_func=visible, accept_new_options=True, **first)


def where(method: str, offered: Offer) -> str | None:
    """A condition on prompts, or none."""
    options = [EVERY, *offered.conditions]
    return st.selectbox(
        "Only prompts of", options, key=f"{method}-where", format_func=_shown_where, accept_new_options=True
    )


def _shown_where(value: Any) -> str:
    return "every prompt" if value is EVERY else visible(value)


def p_values(method: str) -> dict[str, Any]:
    """How p-values are made, of a probe that makes them."""
    how = {name: choice(method, name) for name in ("permute", "adjust") if name in parameters(method)}
    n = st.number_input("Permutations", 0, 100_000, 1000, 500, key=f"{method}-permutations")
    seed = st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{method}-seed")
    return how | {"n_permutations": int(n), "seed": int(seed)}
