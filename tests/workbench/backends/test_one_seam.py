"""Nothing but backends/ and the loader knows which engines there are: no name of one, no isinstance on one, no way past one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENGINES = {"native", "nnsight", "ndif", "nnsight on NDIF", "Native", "Nnsight"}
MAY = ("workbench/backends/", "workbench/loading/", "workbench/loading/loader.py")
# what recognises nnsight's own objects where a user put a model into one, or stands inside of its traces: not its engine
LIBRARY = ("workbench/model/wrapped.py", "workbench/model/wrapped.py", "workbench/hooks/guards.py")

# attention weights are read off the transformers model itself; on another engine `.hf` refuses in its sentence
ATTENTION = ("app/dashboard/super_experts/sinks.py", "workbench/comparison/sinks.py")


def names(tree: ast.AST) -> Iterator[str]:
    """What code names: identifiers, attributes, imports, and whole strings that are no docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)


def found(text: str) -> set[str]:
    return ENGINES & set(names(ast.parse(text)))


def files() -> list[str]:
    places = [path for folder in ("workbench", "probes", "app") for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in places)


@pytest.mark.parametrize("file", [f for f in files() if not f.startswith((*MAY, *LIBRARY))])
def test_no_engine_is_named(file: str) -> None:
    assert not found((ROOT / file).read_text(encoding="utf-8"))


def test_a_name_is_found_however_it_is_said() -> None:
    for line in (
        "if backend == 'native': pass",
        "isinstance(x, Nnsight)",
        "from workbench.backends.native import Native",
        "import a; a.Native(3)",
    ):
        assert found(line), line
    assert not found('"""On nnsight a trace is native."""')


@pytest.mark.parametrize(
    "file", [f for f in files() if f.startswith(("app/", "workbench/capturing", "workbench/comparison"))]
)
def test_nobody_generates_past_the_seam(file: str) -> None:
    """A face calls neither `generate` nor the forward of `model.hf`."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    past = [
        c
        for c in calls
        if isinstance(c, ast.Attribute) and (c.attr == "hf" or (c.attr == "generate" and _is_hf(c.value)))
    ]
    assert not past or file in ATTENTION


def _is_hf(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "hf"
