"""What the docs say about the code is made from the code: commands from `--help`, keys, families and moves from their tables."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner
from workbench_app.cli import app

from docs import generate
from tests.docs.pages import read

COMMANDS = [name for name, _, _ in generate.commands(get_command(app), "workbench")]


def test_the_command_reference_is_what_help_prints():
    assert read("docs/cli.md") == generate.cli_reference(), "run `make docs`"


@pytest.mark.parametrize("page", generate.MADE)
def test_what_stands_between_the_marks_is_what_the_code_says(page):
    assert read(page) == generate.page(page), "run `make docs`"


def test_the_keys_of_a_recipe_are_those_of_its_models():
    assert read("docs/recipes.md").count("\n| `") > 80
    assert "| `capability_draws` | whole number | `3` |" in read("docs/recipes.md")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_helped(name):
    said = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert said.exit_code == 0
    assert len(said.output.split("Usage:")[1].split("Options:")[0].split()) > 5  # more than its own usage line
    assert f"## {name}\n" in read("docs/cli.md")


def test_every_option_has_help():
    for name, command, _ in generate.commands(get_command(app), "workbench"):
        for option in command.params:
            assert option.name == "help" or option.help, f"{name} {option.name} has no help"
