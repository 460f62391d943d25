"""Stands in for Streamlit in the dashboard's modules: everything that a page draws as lines of text, in its order.

Widgets answer by their key (else what they show at first), so that one call of a page's function gives one whole page.
"""

import sys
from base64 import b64decode
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_AT = {"selectbox": 2, "multiselect": 2, "number_input": 3, "text_input": 1, "text_area": 1, "checkbox": 1, "toggle": 1}
_NAMES = {"multiselect": "default", "segmented_control": "default"}
_PARTS = {"container", "expander", "popover", "form", "spinner", "progress", "empty"}


class State(dict[str, Any]):
    """What a session keeps, by item or by attribute."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__


class Part:
    """A column, a tab, a container: what is drawn there stands behind its name."""

    def __init__(self, paper: "Paper", name: str) -> None:
        self._paper, self._name = paper, name

    def __enter__(self) -> "Part":
        self._paper.inside.append(self._name)
        return self

    def __exit__(self, *_: object) -> None:
        self._paper.inside.pop()

    def __getattr__(self, kind: str) -> Any:
        def drawn(*args: Any, **options: Any) -> Any:
            with self:
                return self._paper.draw(kind, *args, **options)

        return drawn


class Paper:
    """`answers`: what widgets answer, by key. `state`: the session before. `lines`: what was drawn."""

    def __init__(self, answers: dict[str, Any] | None = None, state: dict[str, Any] | None = None) -> None:
        from streamlit import column_config

        self.answers, self.session_state = answers or {}, State(state or {})
        self.query_params: dict[str, Any] = {}
        self.lines, self.inside, self.column_config = list[str](), list[str](), column_config
        self.calls: dict[str, dict[str, Any]] = {}  # the options of each widget, by key

    @property
    def sidebar(self) -> Part:
        """The sidebar."""
        return Part(self, "sidebar")

    def __getattr__(self, kind: str) -> Any:
        return partial(self.draw, kind)

    def draw(self, kind: str, *args: Any, **options: Any) -> Any:
        """Writes the line of one call and answers as the widget would."""
        show = options.pop("format_func", None)
        shown = [a if not (show and i == 1) else [show(one) for one in a] for i, a in enumerate(args)]
        words = [said(a) for a in shown] + [f"{k}={said(v)}" for k, v in options.items()]
        self.lines.append(" ".join([*self.inside, kind, *words]))
        key = options.get("key", options.get("label", args[0] if args and isinstance(args[0], str) else kind))
        self.calls[key] = options
        if kind in ("columns", "tabs"):
            names = range(args[0] if isinstance(args[0], int) else len(args[0])) if kind == "columns" else args[0]
            return [Part(self, f"{name}|") for name in names]
        if kind in _PARTS:
            return Part(self, f"{kind}|")
        if kind == "fragment":
            return args[0]
        return self._answer(kind, key, args, options)

    def _answer(self, kind: str, key: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if key in self.answers:
            return self.answers[key]
        if kind in ("button", "form_submit_button"):
            return False
        if kind in _AT or kind in ("segmented_control", "select_slider"):
            if key in self.session_state:
                return self.session_state[key]
            first = {"selectbox": 0, "number_input": args[1] if len(args) > 1 else 0}.get(kind)
            first = "" if kind.startswith("text_") else [] if kind == "multiselect" else first
            at = _AT.get(kind, 9)
            given = options.get(_NAMES.get(kind, "index" if kind == "selectbox" else "value"), first)
            given = args[at] if len(args) > at else given
            if kind == "selectbox":
                return list(args[1])[given] if given is not None and len(args[1]) else None
            return given
        return None


def said(value: Any) -> str:
    """A value as it stands on the paper."""
    if isinstance(value, pd.DataFrame):
        return f"<{'; '.join(f'{c}: {said(value[c].tolist())}' for c in value)}>"
    if isinstance(value, dict):
        of_column = "type_config" in value or "min_value" in value  # Streamlit fills in what nobody asked for
        kept = {k: v for k, v in value.items() if not (of_column and v is None)}
        return "{" + ", ".join(f"{k}: {said(v)}" for k, v in kept.items()) + "}"
    if isinstance(value, list | tuple | range):
        return "[" + ", ".join(map(said, value)) + "]"
    if isinstance(value, partial):
        return f"{said(value.func)}({', '.join(map(said, value.args))})"
    if isinstance(value, np.generic):
        return said(value.item())
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) or value is None:
        return repr(value)
    if type(value).__name__ in ("View", "ExpertScores", "LayerTable", "Job", "Catalog"):
        return type(value).__name__.lower()
    return getattr(value, "__name__", None) or str(value)


def write_on(monkeypatch: Any, answers: dict[str, Any] | None = None, **state: Any) -> Paper:
    """Every module of the dashboard draws on one paper until the test ends."""
    import streamlit
    import workbench_app.dashboard.navigation  # noqa: F401 - with it come all the others

    found = Paper(answers, {"past": [], "view": {"model": "tiny"}, **state})
    for name, module in list(sys.modules.items()):
        if name.startswith("workbench_app.dashboard") and getattr(module, "st", None) is streamlit:
            monkeypatch.setattr(module, "st", found)
        if name.startswith("workbench_app.dashboard") and hasattr(module, "render"):
            monkeypatch.setattr(module, "render", partial(found.draw, name.rpartition("_")[2]))
        if name.startswith("workbench_app.dashboard") and not name.endswith(".theme") and hasattr(module, "chart"):
            monkeypatch.setattr(module, "chart", partial(_chart, found))
    return found


def _chart(paper: Paper, figure: Any, key: str, data: Any, on_select: Any = None) -> None:
    paper.draw("chart", key, data, *([on_select] if on_select else []))
    paper.lines.extend(figure_said(figure).splitlines())


def figure_said(figure: Any) -> str:
    """A figure as text: each trace and the layout, without what Plotly fills in itself."""
    found = figure.to_plotly_json()
    layout = {k: v for k, v in found["layout"].items() if k != "template"}
    return "\n".join([*(f"{_plain(trace)}" for trace in found["data"]), f"{_plain(layout)}"])


def _plain(value: Any) -> str:
    if isinstance(value, dict) and "bdata" in value:
        value = np.frombuffer(b64decode(value["bdata"]), value["dtype"]).reshape(-1).tolist()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_plain(value[k])}" for k in sorted(value)) + "}"
    if hasattr(value, "tolist"):
        value = value.tolist()
    return "[" + ", ".join(map(_plain, value)) + "]" if isinstance(value, list | tuple) else said(value)


def drawn(paper: Paper) -> str:
    """Everything on the paper, line by line."""
    return "\n".join(paper.lines)


def assert_drawn(name: str, found: str) -> None:
    """What is drawn is what `drawn/NAME.txt` says, line by line; those files are worked out by hand, and changed by hand."""
    expected = (Path(__file__).with_name("drawn") / f"{name}.txt").read_text(encoding="utf-8")
    assert found.splitlines() == expected.splitlines()
