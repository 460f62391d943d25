"""An old place of a module is answered with the new one, row by row of the table; docs/moved.md is that table."""

import subprocess
import sys
from importlib import import_module

import pytest

from tests.docs.pages import read
from workbench.moved import MOVED


@pytest.mark.parametrize("row", MOVED, ids=lambda row: row.old)
def test_the_old_place_says_the_new_one(row):
    with pytest.raises(ModuleNotFoundError) as said:
        import_module(row.old)
    assert str(said.value) == f"{row.old} is {row.new} now: from {row.new} import {', '.join(row.names)}."


@pytest.mark.parametrize("row", MOVED, ids=lambda row: row.old)
def test_the_new_place_has_the_names(row):
    module = import_module(row.new)
    assert [name for name in row.names if not hasattr(module, name)] == []


def test_the_page_has_a_row_for_each():
    rows = [line for line in read("docs/moved.md").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{m.old}` | `from {m.new} import {', '.join(m.names)}` |" for m in MOVED]


@pytest.mark.parametrize(
    "code",
    [
        "import workbench.attention",
        "from workbench import attention",
        "from workbench.attention import sink_share",
        "import workbench_app.experiments.running",
    ],
)
def test_however_it_is_imported(code):
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "now: from workbench" in said.stderr.splitlines()[-1]


def test_what_never_was_is_not_found_as_ever():
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'workbench.atention'$"):
        import_module("workbench.atention")
