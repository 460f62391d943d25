"""The questions of the page Probes: which probe, and its options; what most people change first, the rest folded away."""

from collections.abc import Callable
from typing import Any, NamedTuple

import streamlit as st

from workbench import WorkbenchError

from ..questions import Offer, choice, default_of, one_of, p_values, read, two_classes, where

PROBES = {
    "ftri": "fTRI: selected more in one class of responses than in another",
    "npmi": "nPMI: goes with a token, a role or a label",
    "contrast": "Contrast: switches between the sides of paired prompts",
    "usage": "Usage: how much each expert is used",
    "super_experts": "Super experts: writes extreme values",
}
_MARKERS, _TOKEN, _ROLE, _LABEL = "<think> against </think>", "a token", "a role", "a label"
_NEEDED = ("target", "positive", "token", "role", "label")


class Asked(NamedTuple):
    """A probe with its options, sorted by name: equal questions are equal."""

    method: str
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        said = (f"{name}={value}" for name, value in self.options if value is not None)
        return f"{self.method} ({', '.join(said)})"


def check(asked: Asked) -> Asked:
    """The question, when it is complete; `WorkbenchError` when a class or a marker was left open."""
    for name, value in asked.options:
        if not value and name in _NEEDED:
            raise WorkbenchError(
                f"{asked.method} needs a {name} and has none; choose or type one, or capture prompts that have labels."
            )
    return asked


def ask(method: str, offered: Offer) -> Asked:
    """Draws the options of a probe and returns what they say now; what is left at the probe's default is left out."""
    found = _QUESTIONS[method](offered)
    return Asked(method, tuple(sorted((k, v) for k, v in found.items() if v != default_of(method, k))))


# ---- the probes' own options


def _ftri(offered: Offer) -> dict[str, Any]:
    main = _two_classes("ftri", ("target", "baseline"), offered)
    with st.expander("More options"):
        a, b, c = st.columns(3)
        with a:
            how = {"reduce": choice("ftri", "reduce"), "contrast": choice("ftri", "contrast")}
        with b:
            how |= read("ftri", offered)
        with c:
            return main | how | p_values("ftri")


def _contrast(offered: Offer) -> dict[str, Any]:
    labels_first = tuple(sorted(offered.classes, key=lambda c: "=" not in c))  # the sides of a pair differ in a label
    main = _two_classes("contrast", ("positive", "negative"), offered._replace(classes=labels_first), ("shared_end",))
    with st.expander("More options"):
        a, b, c = st.columns(3)
        with a:
            how = {"pooling": choice("contrast", "pooling")}
        with b:
            how |= read("contrast", offered)
        with c:
            return main | how | p_values("contrast")


def _two_classes(method: str, names: tuple[str, str], offered: Offer, more: tuple[str, ...] = ()) -> dict[str, Any]:
    a, b, c = st.columns(3)
    found = two_classes(method, names, offered, (a, b))
    with c:  # the last prompt position decides the first token of an answer: a question about answers begins there
        return found | {"tokens": choice(method, "tokens", "last_prompt", more)}


def _npmi(offered: Offer) -> dict[str, Any]:
    kinds = (_MARKERS, _TOKEN, _ROLE, _LABEL)
    labels = [c for c in offered.classes if "=" in c]
    a, b, c, d = st.columns(4)
    kind = a.selectbox("Goes with", kinds, 0 if offered.thinks else 2, key="npmi-kind")
    with b:
        role = one_of("If a role, which", "npmi-role", offered.roles, "assistant")
    with c:
        token = st.text_input("If a token, which", "<think>", key="npmi-token")
    with d:
        label = one_of("If a label, which", "npmi-label", labels, None)
    question = {_TOKEN: {"token": token}, _ROLE: {"role": role}, _LABEL: {"label": label}}.get(kind, {})
    with st.expander("More options"):
        a, b = st.columns(2)
        with a:
            how = {"tokens": choice("npmi", "tokens"), "where": where("npmi", offered)}
        with b:
            return question | how | p_values("npmi", permute=False)


def _usage(offered: Offer) -> dict[str, Any]:
    a, b = st.columns(2)
    with a:
        measure = choice("usage", "measure")
    with b:
        tokens = choice("usage", "tokens")
    with st.expander("More options"):
        return {"measure": measure, "tokens": tokens} | read("usage", offered)


def _super_experts(offered: Offer) -> dict[str, Any]:
    rule = choice("super_experts", "rule")
    guard = st.checkbox(
        "Guard: only in layers that form massive activations, and above ten medians", True, key="super-guard"
    )
    shared = st.checkbox("Shared experts too", True, key="super-shared")
    return {"rule": rule, "guard": guard, "shared": shared}


_QUESTIONS: dict[str, Callable[[Offer], dict[str, Any]]] = {
    "ftri": _ftri,
    "npmi": _npmi,
    "contrast": _contrast,
    "usage": _usage,
    "super_experts": _super_experts,
}
