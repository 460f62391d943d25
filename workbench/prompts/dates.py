"""The date that chat templates are told: one moment for a whole capture or run, so that both may go on another day.

A template asks by `strftime_now(format)`, which transformers answers by the clock. Here a macro of that name is put before
the template, with the answers for every format that the template spells out; nothing outside of this rendering changes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

_MOMENT: ContextVar[datetime | None] = ContextVar("workbench_moment", default=None)
_ANSWERS = "workbench_dates"
_MACRO = (
    "{% set workbench_clock = strftime_now %}{% macro strftime_now(format) %}"
    f"{{{{ {_ANSWERS}[format] if format in {_ANSWERS} else workbench_clock(format) }}}}"
    "{% endmacro +%}"
)


@contextmanager
def moment(when: str | None = None) -> Iterator[str]:
    """Templates rendered inside are told this local time, in ISO format: `when`, or that of a block around, or now."""
    at = _parsed(when) if when is not None else _MOMENT.get() or datetime.now().replace(microsecond=0)
    token = _MOMENT.set(at)
    try:
        yield at.isoformat()
    finally:
        _MOMENT.reset(token)


def planned_at(path: Path, plan: Mapping[str, Any]) -> str:
    """The moment that a `plan.json` records; by the file's own time where an earlier version recorded none."""
    recorded = plan.get("template_date")
    return datetime.fromtimestamp(int(path.stat().st_mtime)).isoformat() if recorded is None else recorded


def _parsed(when: Any) -> datetime:
    try:
        return datetime.fromisoformat(when)
    except (TypeError, ValueError) as error:
        raise WorkbenchError(
            f"The recorded date of a capture or run is {when!r}; it should be a time as workbench wrote it, 2025-01-31T12:00:00."
        ) from error


def asks_the_date(tokenizer: Any) -> bool:
    """Whether a chat template of the tokenizer asks what time it is."""
    return "strftime_now" in str(getattr(tokenizer, "chat_template", None))


def dated(tokenizer: Any, **choice: Any) -> dict[str, Any]:
    """What `apply_chat_template` is given besides, for the moment's date: nothing for a template that does not ask.

    choice  what chooses among several templates (`tools`), as `tokenizer.get_chat_template` takes it
    """
    at = _MOMENT.get()
    if at is None or not asks_the_date(tokenizer):
        return {}
    choose = getattr(tokenizer, "get_chat_template", None)
    template = choose(**choice) if choose else tokenizer.chat_template
    return {"chat_template": _MACRO + template, _ANSWERS: {f: at.strftime(f) for f in _formats(template)}}


def _formats(template: str) -> set[str]:
    """Every string of the template's code that may be a format of dates."""
    from jinja2 import Environment, TemplateSyntaxError

    try:
        strings = [text[1:-1] for _, kind, text in Environment().lex(template) if kind == "string"]
    except TemplateSyntaxError:
        return set()  # the tokenizer says what is wrong with it
    return {text for text in strings if "%" in text}
