"""A pytest plugin: how the tests of one mistake ended, in the file that WORKBENCH_VERDICT names.

caught    an assertion failed, a `pytest.raises` was not met, or the product refused in its own words (a WorkbenchError)
crashed   some test ended with another error, and none of them was caught
survived  all passed
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

_SEEN: dict[str, str] = {}


def _is_noticed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_noticed, error.exceptions))
    names = {c.__name__ for c in type(error).__mro__}
    return isinstance(error, AssertionError | pytest.fail.Exception) or "WorkbenchError" in names


def pytest_exception_interact(node: Any, call: Any, report: Any) -> None:
    """Notes what a test ended with, and stops at the first that noticed."""
    if call.excinfo is None:
        return
    kind = "caught" if _is_noticed(call.excinfo.value) and "Timeout" not in str(call.excinfo.value)[:20] else "crashed"
    _SEEN.setdefault(kind, f"{node.nodeid}: {call.excinfo.exconly()[:300]}")
    if kind == "caught":
        node.session.shouldstop = "noticed"


def pytest_sessionfinish(session: Any) -> None:
    """Writes the verdict."""
    outcome = next((kind for kind in ("caught", "crashed") if kind in _SEEN), "survived")
    found = {"outcome": outcome, "by": _SEEN.get(outcome, ""), "tests": session.testscollected}
    Path(os.environ["WORKBENCH_VERDICT"]).write_text(json.dumps(found))
