"""A model without a chat template goes on with a text, on the Steer page and on the command line."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.dashboard.steer.edits import as_command

from tests.app.dashboard.steer.test_steer_page import errors, finished, page_of
from tests.reported.texts.test_what_can_be_said import tokenizer
from workbench import Plan, compare, load
from workbench.loading import tiny_model


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer has no chat template."""
    folder = tmp_path_factory.mktemp("untold") / "m"
    tiny_model("olmoe").save_pretrained(folder)
    tokenizer("").save_pretrained(folder)
    assert not load(folder, check=False).tokenizer.chat_template
    return folder


def test_the_steer_page_goes_on_with_a_text(untold: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = page_of(str(untold), monkeypatch, tmp_path, plan="force L0E3")
    assert "No chat template" in page.chat_input[0].placeholder
    finished(page.chat_input[0].set_value("once upon").run())
    assert not page.exception
    assert not errors(page)
    asked = page.session_state["asked"][-1]
    how: dict[str, Any] = {"metrics": {"n": lambda r: 1.0}, "controls": 0, "max_new_tokens": 64, "progress": False}
    wanted = compare(load(untold), ["once upon"], Plan.force(["L0E3"]), **how).responses.iloc[0]
    assert (asked.text("base"), asked.text("steered")) == (wanted["base"], wanted["steered"])
    assert "--raw" in as_command(Plan.off(["L0E1"]), "m", "hi", raw=True).split()
    assert "--raw" not in as_command(Plan.off(["L0E1"]), "m", "hi").split()


def test_the_steer_page_asks_in_a_chat_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert page_of("tiny/olmoe", monkeypatch, tmp_path).chat_input[0].placeholder.startswith("Ask the model")


def test_the_command_line_says_what_to_do_without_a_template(untold: Path) -> None:
    words = ["steer", str(untold), "--prompt", "once upon", "--force", "L0E3", "--tokens", "2"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "add --raw" in " ".join(refused.stderr.split())
    assert CliRunner().invoke(app, [*words, "--raw"]).exit_code == 0
