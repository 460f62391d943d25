"""What an arm is called in a report: the edit first, then whose experts, then what is particular."""

from typing import Any

import pandas as pd

MATCHES = {"count": "random, same number", "layer": "random, same layers", "usage": "random, used as often"}


def arm_label(arm: Any) -> str:
    """Of a row of `arms`: "off, first 2 by ftri last token", or the plan's own name."""
    if arm["kind"] == "base":
        return "the bare model"
    if arm["kind"] == "random":
        return f"{MATCHES[arm['match']]}, draw {int(arm['draw']) + 1}"
    if given(arm["name"]):
        other = ", the other end" if arm["kind"] == "bottom" else ""
        return f"{arm['name']} (n = {int(arm['n'])}{other})" if given(arm["n"]) else f"{arm['name']}{other}"
    if not given(arm["ranking"]):
        return str(arm["plan"])
    return f"{edit_label(arm)}, {_which(arm)} by {arm['ranking']}{_where(arm)}"


def edit_label(arm: Any) -> str:
    """The edit with its strength: "scale 64"."""
    return f"{arm['edit']} {arm['value']}" if given(arm["value"]) else str(arm["edit"])


def given(value: Any) -> bool:
    """Whether a cell holds something."""
    return value is not None and not pd.isna(value)


def _which(arm: Any) -> str:
    n = int(arm["n"])
    if arm["kind"] == "bottom":
        return f"the other end's {n}"
    ends = {"top": "first", "bottom": "last", "least_by_layer": "least of every layer, together"}
    return f"{' and '.join(ends.get(end, end) for end in str(arm['end']).split('+'))} {n}"


def _where(arm: Any) -> str:
    return f", {arm['phase']} tokens only" if given(arm["phase"]) and arm["phase"] != "all" else ""
