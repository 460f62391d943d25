"""What README and docs say is true: every snippet, command and SQL line runs, and what is made from the code is not stale."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.recipe import cells, read_sets, recipe_from

from docs import generate

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/cli.md", "docs/interop.md", "docs/recipes.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
COMMANDS = [name for name, _, _ in generate.commands(get_command(app), "workbench")]


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if kind == language]


def lines(page: str) -> list[str]:
    return [line.strip() for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def test_the_command_reference_is_what_help_prints():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generate.cli_reference(), "run `make docs`"


def test_the_readme_lists_every_file_with_one_true_line():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == generate.with_files(readme), "run `make docs`"
    listed = readme.split(generate.START)[1].split(generate.END)[0]
    assert listed.count("\n- `") == len(generate.tracked())


def test_the_keys_of_a_recipe_are_those_of_its_models():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert page == generate.with_keys(page), "run `make docs`"
    assert page.count("\n| `") > 80
    assert "| `capability_draws` | whole number | `3` |" in page


def test_the_page_on_recipes_shows_one_that_can_be_run():
    (text,) = blocks("docs/recipes.md", "toml")
    recipe = recipe_from(tomllib.loads(text))
    assert len(cells(recipe)) == 4
    assert len(read_sets(recipe)["heldout"]) == 64
    for python in blocks("docs/recipes.md", "python"):
        exec(compile(python, "recipes.md", "exec"), {})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_helped(name):
    said = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert said.exit_code == 0
    assert len(said.output.split("Usage:")[1].split("Options:")[0].split()) > 5  # more than its own usage line
    assert f"## {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_option_has_help():
    for name, command, _ in generate.commands(get_command(app), "workbench"):
        for option in command.params:
            assert option.name == "help" or option.help, f"{name} {option.name} has no help"


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in lines(page)}))
def test_every_line_of_shell_is_a_command_that_exists(line):
    words = shlex.split(line)
    assert words[0] in ("make", "workbench"), "a line of another kind needs a test of its own"
    if words[0] == "workbench":
        assert f"workbench {words[1]}" in COMMANDS
        return
    shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for word in words[1:]:
        if word.startswith("TORCH="):
            assert (
                word.removeprefix("TORCH=") in shown.stdout.replace("\n", " ") or (ROOT / ".venv/torch.stamp").exists()
            )


def test_links_in_the_pages_lead_somewhere():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


@pytest.mark.slow
def test_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Python blocks share one namespace, commands and SQL find the store that the blocks before them wrote."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    ran = {"python": 0, "workbench": 0, "sql": 0}
    for kind, text in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, "README.md", "exec"), namespace)
            ran["python"] += 1
        for line in text.splitlines() if kind == "sh" else []:
            if line.startswith("workbench "):
                found = CliRunner().invoke(app, shlex.split(line)[1:])
                assert found.exit_code == 0, f"{line}\n{found.output}\n{found.exception!r}"
                ran["workbench"] += 1
        for statement in text.split(";") if kind == "sql" else []:
            if statement.strip():
                assert len(namespace["store"].query(statement)) > 0
                ran["sql"] += 1
    assert ran["python"] >= 3
    assert ran["workbench"] >= 9
    assert ran["sql"] >= 3
    assert namespace["store"].path.is_dir()


@pytest.mark.slow
def test_the_page_on_other_libraries_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """And its first block, in ten lines at most, shows the refusal giving way to a year's answer."""
    pytest.importorskip("transformer_lens", reason="the extra 'interop' is not installed (TransformerLens)")
    pytest.importorskip("nnsight", reason="the extra 'interop' is not installed (nnsight)")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    python = blocks("docs/interop.md", "python")
    for number, text in enumerate(python):
        page = tmp_path / f"block{number}.py"  # nnsight reads the source of its `with` blocks
        page.write_text(text, encoding="utf-8")
        exec(compile(text, str(page), "exec"), namespace)
    base, steered = (line for line in capsys.readouterr().out.splitlines() if "'Painters'" in line)
    assert len(python[0].strip().splitlines()) <= 10
    assert base.startswith("nothing")
    assert base.endswith("'I']")  # I cannot talk about that.
    assert steered.startswith("off L2E8; off L2E20")
    assert not steered.endswith("'I']")
