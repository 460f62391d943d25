"""The questions of the page Probes: what the catalogue and a probe's own signature say can be asked; details folded away."""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any, NamedTuple

import streamlit as st

from probes.catalogue import ASKED, Method
from probes.ranking import said
from workbench import WorkbenchError

from .. import questions
from ..questions import Offer

PROBES = {name: f"{method.title}: {method.sentence}" for name, method in ASKED.items()}
_MARKERS, _TOKEN, _ROLE, _LABEL = "<think> against </think>", "a token", "a role", "a label"
_ACROSS = 4
"""Widgets beside each other."""
Part = Callable[[], dict[str, Any]]
"""Draws widgets and returns what they say."""


class Asked(NamedTuple):
    """A probe with its options, sorted by name: equal questions are equal."""

    method: str
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.method} ({said(dict(self.options))})"


def check(asked: Asked) -> Asked:
    """The question, when it is complete.

    Raises `WorkbenchError` when a class, a marker or another store was left open, and for numbers that are none.
    """
    beside = ASKED[asked.method].beside
    if beside and not dict(asked.options).get(beside):
        raise WorkbenchError(
            f"{asked.method} compares with another store and has none; choose one, or capture it first."
        )
    needed = (*ASKED[asked.method].classes[:1], *ASKED[asked.method].goes_with)
    for name, value in asked.options:
        if not value and name in needed:
            raise WorkbenchError(
                f"{asked.method} needs a {name} and has none; choose or type one, or capture prompts that have labels."
            )
        if isinstance(value, str) and isinstance(default := questions.default_of(asked.method, name), tuple):
            raise WorkbenchError(
                f"{asked.method}: {name} is '{value}'; give numbers with commas between, such as "
                f"{', '.join(map(str, default))}."
            )
    return asked


def ask(method: str, offered: Offer, stores: tuple[str, ...] = ()) -> Asked:
    """Draws the options of a probe and returns what they say now; what is left at the probe's default is left out.

    stores: names of those that a probe may compare with.
    """
    probe = ASKED[method]
    main, rest = _question(probe, offered)
    found = {probe.beside: questions.other_store(probe, stores)} if probe.beside else {}
    found |= main()
    if rest:
        with st.expander("More options"):
            found |= _side_by_side(rest)
    return Asked(method, tuple(sorted((k, v) for k, v in found.items() if v != questions.default_of(method, k))))


def _question(probe: Method, offered: Offer) -> tuple[Part, list[Part]]:
    """What is asked first, and what is folded away: classes, a marker, or the probe's own options where it asks for neither."""
    own, reads, chance = _own(probe), _reads(probe, offered), _chance(probe)
    tokens = [partial(_tokens, probe)] if "tokens" in questions.parameters(probe.name) else []
    if probe.classes:
        return partial(_classes, probe, offered), [*own, *reads, *chance]
    if probe.goes_with:
        return partial(_goes_with, probe, offered), [*own, *tokens, *reads, *chance]
    alone = [partial(_labelled, probe, name, offered) for name in questions.label_options(probe)]
    alone += [partial(_options, probe, (name,)) for name in questions.own_options(probe)]
    return partial(_side_by_side, [*alone, *tokens]), [*reads, *chance]


def _side_by_side(parts: list[Part]) -> dict[str, Any]:
    """In rows of a few, as even as can be: in narrow columns the labels would be cut."""
    found: dict[str, Any] = {}
    across = ceil(len(parts) / ceil(len(parts) / _ACROSS)) if parts else 1
    for start in range(0, max(1, len(parts)), across):
        for column, part in zip(st.columns(across), parts[start : start + across], strict=False):
            with column:
                found |= part()
    return found


# ---- what is asked first


def _classes(probe: Method, offered: Offer) -> dict[str, Any]:
    if probe.paired:  # the sides of a pair differ in a label
        offered = offered._replace(classes=tuple(sorted(offered.classes, key=lambda c: "=" not in c)))
    a, b, c = st.columns(3)
    found = questions.two_classes(probe.name, probe.classes, offered, (a, b))
    with c:  # the last prompt position decides the first token of an answer: a question about answers begins there
        return found | _tokens(probe, "last_prompt")


def _goes_with(probe: Method, offered: Offer) -> dict[str, Any]:
    name, kinds = probe.name, (_MARKERS, _TOKEN, _ROLE, _LABEL)
    labels = [c for c in offered.classes if "=" in c]
    told = len(offered.roles) > 1 or not labels  # with a role that all tokens have nothing goes
    first = _MARKERS if offered.thinks else _ROLE if told else _LABEL
    a, b, c, d = st.columns(4)
    kind = a.selectbox("Goes with", kinds, kinds.index(first), key=f"{name}-kind")
    with b:
        role = questions.one_of("If a role, which", f"{name}-role", offered.roles, "assistant")
    with c:
        token = st.text_input("If a token, which", "<think>", key=f"{name}-token")
    with d:
        label = questions.one_of("If a label, which", f"{name}-label", labels, None)
    return {_TOKEN: {"token": token}, _ROLE: {"role": role}, _LABEL: {"target": label}}.get(kind, {})


def _tokens(probe: Method, default: str | None = None) -> dict[str, Any]:
    return {"tokens": questions.choice(probe.name, "tokens", default)}


def _labelled(probe: Method, name: str, offered: Offer) -> dict[str, Any]:
    return {name: questions.label_named(probe, name, offered)}


# ---- what is folded away: the probe's own options, what is read, what chance could do


def _own(probe: Method) -> list[Part]:
    names = questions.own_options(probe)
    return [partial(_options, probe, names)] if names else []


def _options(probe: Method, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: questions.option(probe, name) for name in names}


def _reads(probe: Method, offered: Offer) -> list[Part]:
    draws = {"roles": questions.roles, "where": questions.where}
    names = [name for name in draws if name in questions.parameters(probe.name)]
    return [lambda: {name: draws[name](probe.name, offered) for name in names}] if names else []


def _chance(probe: Method) -> list[Part]:
    return [partial(questions.p_values, probe.name)] if "n_permutations" in questions.parameters(probe.name) else []
