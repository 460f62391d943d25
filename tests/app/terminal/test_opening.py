"""A model is opened as the options say, and edits and a plan's file are one plan."""

import os
from pathlib import Path

import pytest
from workbench_app import options

import workbench
from tests.app.cli.printed import SHAPE, Recorder
from workbench import Plan, WorkbenchError

pytestmark = pytest.mark.usefixtures("wide")


def test_a_model_is_opened_as_asked_and_without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Recorder("a model")
    monkeypatch.setattr(workbench, "load", loaded)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    from transformers.utils import logging

    logging.enable_progress_bar()
    logging.set_verbosity_info()
    assert options.open_model("m", "cpu", "float32", revision="r") == "a model"
    assert (loaded.given, loaded.named) == (("m",), {"device": "cpu", "dtype": "float32", "revision": "r"})
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert not logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == logging.ERROR


def test_edits_and_a_plans_file_are_one_plan(tmp_path: Path) -> None:
    Plan.off("L1E0").to_json(tmp_path / "p.json")
    found = options.asked(tmp_path / "p.json", off=["L1E1", "L1E2"], mute=None, scale=["L1E3=2"])
    assert found.edits == ("off L1E1", "off L1E2", "scale L1E3=2")
    assert found.on(SHAPE) == Plan.parse("off L1E0; off L1E1; off L1E2; scale L1E3=2").for_model(SHAPE)
    assert options.asked(tmp_path / "p.json").edits == ()
    assert options.asked(None, off=["L1E1"]).plan == Plan()
    with pytest.raises(WorkbenchError, match="No edit was named, so nothing would change"):
        options.asked(None, off=None, mute=[])
    with pytest.raises(WorkbenchError, match="Layer 9 does not exist"):
        options.asked(None, off=["L9E1"]).on(SHAPE)
