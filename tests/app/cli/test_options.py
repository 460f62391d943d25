"""Options that several commands share: edits and a plan file become one plan; the page's script takes the command's arguments."""

import sys

import pytest
import typer
from workbench_app.cli import options

from tests.app.world import SHAPE
from workbench import Plan, WorkbenchError


def test_options_become_one_plan(tmp_path):
    path = tmp_path / "plan.json"
    Plan.parse("mute L0E2").to_json(path)
    found = options.asked(path, off=["L0E1"], scale=["L1E2=3"], drop=None)
    assert found == options.Asked(Plan.parse("mute L0E2"), ("off L0E1", "scale L1E2=3"))
    assert str(found.on(SHAPE)) == str(Plan.parse("mute L0E2; off L0E1; scale L1E2=3"))
    assert found.on(SHAPE).fingerprint == SHAPE.fingerprint
    assert options.asked(None, off=["L0E1"]).plan == Plan()
    assert options.asked(path).edits == ()
    with pytest.raises(
        WorkbenchError, match="No edit was named, so nothing would change; name one, such as --off L0E15"
    ):
        options.asked(None, off=None, force=[])
    with pytest.raises(WorkbenchError, match="selects 2 of 4"):
        options.asked(None, off=["L0E0,L0E1,L0E2"]).on(SHAPE)
    made = options._edit("L0E15", "words")
    assert isinstance(made, typer.models.OptionInfo)
    assert (made.metavar, made.help) == ("L0E15", "words")


def test_the_script_of_the_page_runs_with_the_arguments_of_the_command(monkeypatch):
    import runpy

    from workbench_app.dashboard import navigation

    ran = []
    monkeypatch.setattr(navigation, "run", ran.append)
    monkeypatch.setattr(sys, "argv", ["page.py", "--model=a", "--project=b"])
    runpy.run_module("workbench_app.page", run_name="__main__")
    assert ran == [["--model=a", "--project=b"]]
