"""A folder's `__init__` is its face: what others import from it, and where its files are named in reading order."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"workbench": "workbench", "probes": "probes"}
"""Import name of each package whose folders have faces, and where it lies."""
FOLDERS = [
    pytest.param(package, init.parent.name, id=f"{package}.{init.parent.name}")
    for package, path in PACKAGES.items()
    for init in sorted((ROOT / path).glob("*/__init__.py"))
]


def imports(file: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Module and names of every import in a file, those inside functions and TYPE_CHECKING included."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    found = [
        (n.module or "", tuple(a.name for a in n.names)) for n in nodes if isinstance(n, ast.ImportFrom) and not n.level
    ]
    return found + [(alias.name, ()) for n in nodes if isinstance(n, ast.Import) for alias in n.names]


def face(package: str, folder: str) -> ast.Module:
    return ast.parse((ROOT / PACKAGES[package] / folder / "__init__.py").read_text(encoding="utf-8"))


def public(package: str, folder: str) -> list[str]:
    """What the face lists in `__all__`."""
    (listed,) = [
        n.value
        for n in face(package, folder).body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
    ]
    return ast.literal_eval(listed)


def outside(package: str, folder: str) -> list[Path]:
    """Product code that lies elsewhere."""
    files = [f for top in ("workbench", "probes", "app", "data") for f in sorted((ROOT / top).rglob("*.py"))]
    return [f for f in files if ROOT / PACKAGES[package] / folder not in f.parents]


def wrong(package: str, folder: str, files: list[Path]) -> list[str]:
    """What the files import from inside the folder, past its face."""
    whole = f"{package}.{folder}"
    inner = {p.parent.name for p in (ROOT / PACKAGES[package] / folder).glob("*/__init__.py")}
    offered = {whole: public(package, folder)} | {
        f"{whole}.{name}": public(package, f"{folder}/{name}") for name in inner
    }
    return [
        f"{file.name}: from {module} import {', '.join(taken)}"
        for file in files
        for module, taken in imports(file)
        if (f"{module}.".startswith(f"{whole}.") and not {*taken} <= {*offered.get(module, ()), "*"})
        or (module.startswith(f"{whole}.") and module not in offered)
    ]


@pytest.mark.parametrize(("package", "folder"), FOLDERS)
def test_only_the_face_of_a_folder_is_imported_elsewhere(package: str, folder: str) -> None:
    assert not wrong(package, folder, outside(package, folder))


@pytest.mark.parametrize(("package", "folder"), FOLDERS)
def test_a_face_names_each_file_and_stays_short(package: str, folder: str) -> None:
    said = ast.get_docstring(face(package, folder)) or ""
    files = {f.name for f in (ROOT / PACKAGES[package] / folder).glob("*.py")} - {"__init__.py"}
    named = {line.split()[0] for line in said.splitlines() if line.split() and line.split()[0].endswith(".py")}
    assert named == files
    assert len(said.splitlines()) <= 16


def test_a_deep_import_is_found(tmp_path: Path) -> None:
    file = tmp_path / "deep.py"
    file.write_text(
        "def f():\n    from probes.reading.tokens import select\n    from probes.reading import select, tokens\n",
        "utf-8",
    )
    assert wrong("probes", "reading", [file]) == [
        "deep.py: from probes.reading.tokens import select",
        "deep.py: from probes.reading import select, tokens",
    ]
    file.write_text("import probes.reading.tokens\n", "utf-8")
    assert wrong("probes", "reading", [file]) == ["deep.py: from probes.reading.tokens import "]
