"""A model is opened as asked, and the libraries draw no bars of their own."""

import os

import pytest
from workbench_app.terminal import opening

import workbench
from tests.app.cli.printed import Recorder

pytestmark = pytest.mark.usefixtures("wide")


def test_a_model_is_opened_as_asked_and_without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Recorder("a model")
    monkeypatch.setattr(workbench, "load", loaded)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    from transformers.utils import logging

    logging.enable_progress_bar()
    logging.set_verbosity_info()
    assert opening.open_model("m", "cpu", "float32", "e", revision="r") == "a model"
    assert (loaded.given, loaded.named) == (
        ("m",),
        {"device": "cpu", "dtype": "float32", "engine": "e", "revision": "r"},
    )
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert not logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == logging.ERROR
