"""The catalogue holds every probe, each is held to its table, brute force and mistakes, and nothing else lists them."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import probes
from docs.probe_tables import one_by_one
from probes.catalogue import ASKED, METHODS, RANKERS, asked, ranker
from tests.probes.oracle.whole import BRUTE, GOLDENS, MISTAKES
from workbench.errors import WorkbenchError

ROOT = Path(probes.__file__).parents[1]
NAMES = {method.name for method in METHODS}
FOLDERS = (
    "contrasts",
    "associations",
    "utilisation",
    "outputs",
    "traffic",
    "specialisation",
    "importance",
    "structure",
)


def functions(path: Path) -> Iterator[tuple[str, str]]:
    """Public functions of a file, with what they say they return."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
            yield node.name, ast.unparse(node.returns).strip("'\"")


def test_every_function_that_ranks_or_answers_a_table_is_in_it_by_its_place() -> None:
    found = {
        f"{folder}.{path.stem}:{name}": returned
        for folder in FOLDERS
        for path in (ROOT / "probes" / folder).glob("*.py")
        for name, returned in functions(path)
        if returned == "ExpertScores" or returned.endswith("Table")
    }
    assert found == {method.function: method.answers for method in ASKED.values()}


def test_the_names_of_the_package_are_the_catalogue_s() -> None:
    public = {name for name in probes.__all__ if inspect.isfunction(getattr(probes, name))}
    assert public - NAMES == {"writers_of"}  # no probe: it looks into what one of them found
    assert public >= NAMES
    answers = {name: inspect.signature(getattr(probes, name)).return_annotation for name in ASKED}
    assert {name: answer.__name__ for name, answer in answers.items()} == {m.name: m.answers for m in ASKED.values()}
    assert {name for name, method in ASKED.items() if method.ranks} == {*RANKERS}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_an_entry_is_true_of_its_function(method) -> None:
    ask = method.load()
    assert ask is getattr(probes, method.name)
    known = [*inspect.signature(ask).parameters]
    assert known[0] == "store"
    assert known[1 : 1 + len(method.classes)] == [*method.classes]
    assert {*method.goes_with, *method.words} <= {*known}
    assert all({*reading.options} <= {*known} for reading in method.readings)
    assert {*method.units} <= {*known}
    assert method.range[0] < 0 if method.negative_end else method.range[0] >= 0
    written = inspect.getsource(inspect.getmodule(ask))
    assert all(number in written for number in re.findall(r"\d{4}\.\d{5}", method.paper)), (
        "the paper that the file cites"
    )


def test_every_probe_that_is_asked_has_a_table_by_hand_brute_force_and_planted_mistakes() -> None:
    assert {*GOLDENS} == {*MISTAKES} == {*ASKED}
    assert all(any(inspect.isfunction(getattr(loops, name, None)) for loops in BRUTE) for name in ASKED)


def test_a_name_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(WorkbenchError, match=r"There is no method 'ftr'; did you mean 'ftri'\? use ftri, contrast, "):
        ranker("ftr")
    with pytest.raises(AttributeError, match="probes has no 'zzz'; it has ExpertScores, LayerTable, "):
        probes.zzz  # noqa: B018


def test_a_kind_that_does_not_fit_is_one_sentence(monkeypatch) -> None:
    assert asked("usage") is ranker("usage")
    monkeypatch.setitem(ASKED, "usage", replace(ASKED["usage"], answers="SetTable"))
    with pytest.raises(
        WorkbenchError, match="The probe 'usage' answers a SetTable and ranks no experts; rank by one of ftri"
    ):
        ranker("usage")


def test_the_table_has_a_line_for_each() -> None:
    lines = one_by_one().splitlines()
    assert len(lines) == len(METHODS) + 2
    assert {line.count(" | ") for line in lines if "\\|" not in line} == {4}
    assert lines[2].startswith(
        "| `ftri` | selected more in one class of responses than in another | labels or responses |"
    )


def lists(tree: ast.AST) -> Iterator[tuple[int, set[str]]]:
    """Lines with a collection, or a text, that names several probes."""
    listed = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict) and node not in listed:
            words = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            if len(words & NAMES) > 1:
                yield node.lineno, words & NAMES
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = {*re.findall(r"\w+", node.value)} & NAMES
            if len(said) > 3:
                yield node.lineno, said


def test_nothing_else_lists_probes() -> None:
    """A list of a few of them would be forgotten when one is added. `__all__` of a folder and imports are no such lists."""
    files = [f for top in ("workbench", "probes", "app", "docs") for f in sorted((ROOT / top).rglob("*.py"))]
    entries = sorted((ROOT / "probes" / "entries").glob("*.py"))
    entries.append(ROOT / "workbench" / "moved.py")  # modules of before, one of which was called as a probe is now
    found = {
        str(f.relative_to(ROOT)): [*lists(ast.parse(f.read_text(encoding="utf-8")))] for f in files if f not in entries
    }
    assert len(files) > 200
    assert not {file: lines for file, lines in found.items() if lines}
    assert any([*lists(ast.parse(f.read_text(encoding="utf-8")))] for f in entries), (
        "the search finds the list that there is"
    )
    listing = ('X = {"a": ("ftri", 1), "b": ("usage", 2)}', '"One of ftri, npmi, usage, safex."', 'a = "ftri", "npmi"')
    assert all([*lists(ast.parse(planted))] for planted in listing)
