"""What README and docs show runs: every snippet, command and SQL line."""

import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.recipe import cells, read_sets, recipe_from

from tests.docs.pages import BLOCK, PAGES, ROOT, blocks, read, shell

WORKBENCH = get_command(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_is_python(page):
    for text in blocks(page, "python"):
        compile(text, page, "exec")


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in shell(page)}))
def test_every_line_of_shell_is_a_command_that_exists(line):
    words = shlex.split(line)
    assert words[0] in ("make", "workbench"), "a line of another kind needs a test of its own"
    if words[0] == "workbench":
        return parses(WORKBENCH, words)
    shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for word in words[1:]:
        if word.startswith("TORCH="):
            assert (
                word.removeprefix("TORCH=") in shown.stdout.replace("\n", " ") or (ROOT / ".venv/torch.stamp").exists()
            )
    return None


def parses(command: Any, words: list[str]) -> None:
    """Command, options and arguments are known and of the right kind; nothing is run."""
    name, *rest = words
    while getattr(command, "commands", None) and not (command.invoke_without_command and not rest):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)


@pytest.mark.parametrize("line", ["workbench compares demo", "workbench rank ftri stores/x --tops 2", "workbench run"])
def test_a_line_that_is_no_command_would_be_seen(line):
    with pytest.raises(Exception, match=r"compares|tops|recipe"):
        parses(WORKBENCH, line.split())


def run_page(page: str) -> dict[str, Any]:
    """Runs a page from top to bottom where the process stands; Python blocks share one namespace. What ran, and the namespace."""
    namespace: dict[str, Any] = {}
    ran = {"python": 0, "workbench": 0, "sql": 0}
    for kind, text in BLOCK.findall(read(page)):
        if kind == "python":
            exec(compile(text, page, "exec"), namespace)
            ran["python"] += 1
        for line in text.splitlines() if kind == "sh" else []:
            if line.startswith("workbench ") and not line.startswith("workbench app"):
                words = shlex.split(line.replace("s3://", "memory://"))  # a bucket that needs no server
                found = CliRunner().invoke(app, words[1:])
                assert found.exit_code == 0, f"{line}\n{found.output}\n{found.exception!r}"
                ran["workbench"] += 1
        for statement in text.split(";") if kind == "sql" else []:
            if statement.strip():
                assert len(namespace["store"].query(statement)) > 0
                ran["sql"] += 1
    return namespace | {"ran": ran}


@pytest.mark.slow
def test_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Commands find the store that the blocks before them wrote."""
    monkeypatch.chdir(tmp_path)
    found = run_page("README.md")
    assert found["ran"] == {"python": 2, "workbench": 4, "sql": 0}
    assert found["store"].path.is_dir()


def test_the_page_on_stores_runs_on_the_bundled_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data" / "demo-store", tmp_path / "stores" / "refusal")
    assert run_page("docs/store.md")["ran"] == {"python": 1, "workbench": 4, "sql": 3}


def test_the_page_on_probes_runs_on_the_bundled_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data" / "demo-store", tmp_path / "stores" / "refusal")
    found = run_page("docs/probes.md")
    assert found["ran"] == {"python": 2, "workbench": 3, "sql": 0}
    assert found["sizes"].empty  # nothing massive in the bundled model
    assert list(found["scores"].frame.columns[:8]) == [
        "layer",
        "expert",
        "score",
        "n",
        "low",
        "high",
        "p",
        "p_adjusted",
    ]


@pytest.mark.slow
def test_the_page_on_models_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_page("docs/models.md")["ran"] == {"python": 1, "workbench": 2, "sql": 0}
    assert "torch.Size([1, 5, 384])" in capsys.readouterr().out


def test_the_page_on_recipes_shows_one_that_can_be_run():
    (text,) = blocks("docs/recipes.md", "toml")
    recipe = recipe_from(tomllib.loads(text))
    assert len(cells(recipe)) == 4
    assert len(read_sets(recipe)["heldout"]) == 64
    for python in blocks("docs/recipes.md", "python"):
        exec(compile(python, "recipes.md", "exec"), {})


@pytest.mark.slow
def test_the_page_on_other_libraries_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """And its first block, in ten lines at most, shows the refusal giving way to a year's answer."""
    pytest.importorskip("transformer_lens", reason="the extra 'interop' is not installed (TransformerLens)")
    pytest.importorskip("nnsight", reason="the extra 'interop' is not installed (nnsight)")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    python = blocks("docs/interop.md", "python")
    for number, text in enumerate(python):
        page: Path = tmp_path / f"block{number}.py"  # nnsight reads the source of its `with` blocks
        page.write_text(text, encoding="utf-8")
        exec(compile(text, str(page), "exec"), namespace)
    base, steered = (line for line in capsys.readouterr().out.splitlines() if "'Painters'" in line)
    assert len(python[0].strip().splitlines()) <= 10
    assert base.startswith("nothing")
    assert base.endswith("'I']")  # I cannot talk about that.
    assert steered.startswith("off L2E8; off L2E20")
    assert not steered.endswith("'I']")
