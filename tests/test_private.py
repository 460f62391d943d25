"""Tests call and patch nothing private of the product: what a name with an underscore holds is tested through its file."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = re.compile(r"(workbench|probes|workbench_app|training|grading|train_demo|grade_demo)\b")
PRIVATE = re.compile(r"_[a-zA-Z]")
IN_CODE = re.compile(r"from [\w.]+ import [\w, ]*\b_[a-zA-Z]\w*")
GIVEN_BY_TUPLES = {"_replace", "_asdict", "_fields"}


def private_uses(source: str) -> list[str]:
    """Private names that a test or its code in a string imports from the product, takes of it, or patches by a path."""
    tree, ours, found = ast.parse(source), set[str](), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and OURS.match(node.module or ""):
            found += [f"{node.module}.{a.name}" for a in node.names if PRIVATE.match(a.name)]
            ours |= {a.asname or a.name for a in node.names}
        elif isinstance(node, ast.Import):
            ours |= {a.asname or a.name.split(".")[0] for a in node.names if OURS.match(a.name)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and OURS.match(node.value):
            found += [node.value] if re.fullmatch(r"[\w.]+\._[a-zA-Z]\w*", node.value) else []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):  # code that another process or page runs
            found += [said for said in IN_CODE.findall(node.value) if OURS.match(said.split()[1])]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.match(node.attr) and node.attr not in GIVEN_BY_TUPLES:
            whole = ast.unparse(node)
            found += [whole] if re.split(r"\W", whole)[0] in ours else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            of, *rest = (ast.unparse(argument) for argument in node.args)
            named = [name for name in rest[:1] if PRIVATE.match(name.strip("'"))]
            found += [f"{of}.{name}" for name in named if re.split(r"\W", of)[0] in ours]
    return found


def test_tests_use_nothing_private_of_the_product() -> None:
    said = subprocess.run(["git", "ls-files", "tests/*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [path for path in said.stdout.split() if (ROOT / path).exists() and ROOT / path != Path(__file__)]
    found = {path: private_uses((ROOT / path).read_text(encoding="utf-8")) for path in files}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from workbench.plan.plan import _merged", ["workbench.plan.plan._merged"]),
        ("from probes.reading import units\nunits._count(1)", ["units._count"]),
        ("import workbench\nmonkeypatch.setattr(workbench, '_HOME', {})", ["workbench.'_HOME'"]),
        ("monkeypatch.setattr('workbench.storage.files._sync', None)", ["workbench.storage.files._sync"]),
        ("CODE = 'from workbench.plan import Plan, _merged; _merged()'", ["from workbench.plan import Plan, _merged"]),
        ("from workbench import Plan\nPlan.off('L0E0').edits[0]._replace(kind='mute')", []),
        ("import torch\ntorch._C._functions", []),
    ],
)
def test_a_private_use_is_found(source: str, found: list[str]) -> None:
    assert private_uses(source) == found
