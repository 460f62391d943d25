"""Edits named by options and a plan's file are one plan."""

from pathlib import Path

import pytest
from workbench_app.cli import edits

from tests.app.cli.printed import SHAPE
from workbench import Plan, WorkbenchError


def test_edits_and_a_plans_file_are_one_plan(tmp_path: Path) -> None:
    Plan.off("L1E0").to_json(tmp_path / "p.json")
    found = edits.asked(tmp_path / "p.json", off=["L1E1", "L1E2"], mute=None, scale=["L1E3=2"])
    assert found.edits == ("off L1E1", "off L1E2", "scale L1E3=2")
    assert found.on(SHAPE) == Plan.parse("off L1E0; off L1E1; off L1E2; scale L1E3=2").for_model(SHAPE)
    assert edits.asked(tmp_path / "p.json").edits == ()
    assert edits.asked(None, off=["L1E1"]).plan == Plan()
    with pytest.raises(WorkbenchError, match="No edit was named, so nothing would change"):
        edits.asked(None, off=None, mute=[])
    with pytest.raises(WorkbenchError, match="Layer 9 does not exist"):
        edits.asked(None, off=["L9E1"]).on(SHAPE)
