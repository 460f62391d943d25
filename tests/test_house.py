"""The house rules: folders of at most 13 files, each of which its folder names; short files, short functions."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("workbench", "probes", "app", "data", "tests")
NAMED = HOUSES[:3]  # whose folders say what they hold
FILES, LINES, MEDIAN, BODY = 13, 350, 130, 40


def tracked(root: Path, house: str) -> list[str]:
    """The Python files of a house that are in git, by their path from the root."""
    said = subprocess.run(["git", "ls-files", f"{house}/*.py"], cwd=root, capture_output=True, text=True, check=True)
    return [path for path in said.stdout.split() if (root / path).exists()]


def length(root: Path, path: str) -> int:
    return len((root / path).read_text(encoding="utf-8").splitlines())


def crowded(root: Path, house: str) -> list[str]:
    """Folders that hold more than 13 files beside `__init__`."""
    held: dict[Path, int] = defaultdict(int)
    for path in map(Path, tracked(root, house)):
        held[path.parent] += path.name != "__init__.py"
    return [f"{folder} holds {n} files" for folder, n in held.items() if n > FILES]


def long_files(root: Path, house: str) -> list[str]:
    """Files of more than 350 lines; blank lines, comments and docstrings count."""
    lengths = {path: length(root, path) for path in tracked(root, house)}
    return [f"{path} has {n} lines" for path, n in lengths.items() if n > LINES]


def high_median(root: Path, house: str) -> list[str]:
    """The house itself, where half of its files (without `__init__`) have more than 130 lines."""
    lengths = [length(root, path) for path in tracked(root, house) if Path(path).name != "__init__.py"]
    return [f"{house}: half of its files have more than {MEDIAN} lines"] if median(lengths) > MEDIAN else []


def long_bodies(root: Path, house: str) -> list[str]:
    """Functions whose body has more than 40 lines.

    A body goes from its first statement after the docstring to the end of its last one: comments and blank lines in between
    count, and so do the functions that it holds.
    """
    found = []
    for path in tracked(root, house):
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[ast.get_docstring(node, clean=False) is not None :]
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                found += [f"{path}:{node.lineno} {node.name} has {lines} lines"] if lines > BODY else []
    return found


def unnamed(root: Path, house: str) -> list[str]:
    """Files and folders that the docstring of their folder's `__init__` does not name; a folder without one names nothing."""
    folders: dict[Path, set[str]] = defaultdict(set)
    for path in map(Path, tracked(root, house)):
        folders[path.parent].add(path.stem)
        for inner in path.parents[:-2]:
            folders[inner.parent].add(inner.name)
    found = []
    for folder, names in folders.items():
        init = root / folder / "__init__.py"
        said = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) if init.exists() else None
        missing = [name for name in sorted(names - {"__init__"}) if not re.search(rf"(?<!\w){name}(?!\w)", said or "")]
        found += [f"{folder} does not name {', '.join(missing)}"] if missing else []
    return found


RULES = [(rule, house) for rule in (crowded, long_files, high_median, long_bodies) for house in HOUSES]
RULES += [(unnamed, house) for house in NAMED]


@pytest.mark.parametrize(("rule", "house"), RULES)
def test_the_house_keeps_its_rules(rule: Callable[[Path, str], list[str]], house: str) -> None:
    assert rule(ROOT, house) == []


# ---- every rule is broken once in a small house


@pytest.fixture
def small(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Writes files into a repository of their own and tracks them."""

    def written(files: dict[str, str]) -> Path:
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
        return tmp_path

    return written


Small = Callable[[dict[str, str]], Path]


def test_thirteen_files_are_a_folder_and_fourteen_are_too_many(small: Small) -> None:
    root = small({f"probes/a/f{i}.py": "" for i in range(13)} | {"probes/a/__init__.py": "", "probes/a/notes.md": ""})
    assert crowded(root, "probes") == []
    small({"probes/a/f13.py": ""})
    assert crowded(root, "probes") == ["probes/a holds 14 files"]
    assert crowded(root, "app") == []


def test_a_file_may_have_350_lines(small: Small) -> None:
    root = small({"data/a.py": "#\n" * 350, "data/b.py": "#\n" * 351})
    assert long_files(root, "data") == ["data/b.py has 351 lines"]


def test_half_of_the_files_may_be_longer_than_the_median(small: Small) -> None:
    root = small({"app/a.py": "#\n" * 10, "app/b.py": "#\n" * 130, "app/c.py": "#\n" * 340, "app/__init__.py": "#\n"})
    assert high_median(root, "app") == []
    small({"app/a.py": "#\n" * 131, "app/b.py": "#\n" * 131})
    assert high_median(root, "app") == ["app: half of its files have more than 130 lines"]


def function(lines: int, inside: str = "") -> str:
    return "def f():\n" + '    """A sentence.\n\n    More.\n    """\n' + inside + "    x = 1\n" * lines


def test_a_body_may_have_40_lines_beside_its_docstring(small: Small) -> None:
    inner = "    def g():\n" + "        x = 1\n" * 20 + "\n    # why\n"
    root = small({"tests/a.py": function(40), "tests/b.py": function(41), "tests/c.py": function(18, inner)})
    assert long_bodies(root, "tests") == [
        "tests/b.py:1 f has 41 lines",
        "tests/c.py:1 f has 41 lines",  # 21 of the function inside, a blank line, a comment, 18
    ]


def test_a_folder_names_its_files_and_folders_by_whole_words(small: Small) -> None:
    files = {"app/a/b/c.py": "", "app/a/b/__init__.py": '"""c is here."""', "app/a/store.py": "", "app/a/rows.py": ""}
    root = small({**files, "app/__init__.py": '"""a/ holds it."""', "app/a/__init__.py": '"""rows.py, b/, stores."""'})
    assert unnamed(root, "app") == ["app/a does not name store"]
    small({"app/a/__init__.py": "", "app/__init__.py": '"""Nothing."""'})
    assert sorted(unnamed(root, "app")) == ["app does not name a", "app/a does not name b, rows, store"]
    (root / "app/a/__init__.py").unlink()
    assert "app/a does not name b, rows, store" in unnamed(root, "app")
