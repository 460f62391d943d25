"""What pages point at is there: links with anchors, files, modules, targets of make; and every folder is told of."""

import importlib.util
import re
import subprocess

import pytest

from tests.docs.pages import PAGES, ROOT, prose, read

PATH = re.compile(r"`((?:workbench|probes|app|data|docs|notebooks|tests)/[\w./*-]*)`")
NAME = re.compile(r"`((?:workbench|probes|workbench_app)(?:\.\w+)+)`")


def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        target, _, anchor = link.partition("#")
        found = (ROOT / page).parent / target if target else ROOT / page
        assert found.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), f"{page} links to {link}"


def test_a_link_to_a_heading_that_is_not_there_would_be_seen():
    assert anchors("# A `b` (c), d\n```\n# no\n```\n## Two words\n") == {"a-b-c-d", "two-words"}


def known(name: str) -> bool:
    """Whether there is a name of this path in a package, or a module."""
    at = importlib.import_module(name.partition(".")[0])
    for part in name.split(".")[1:]:
        if not hasattr(at, part):
            importlib.import_module(f"{at.__name__}.{part}")
        at = getattr(at, part)
    return True


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_are_named_exist(page):
    for path in PATH.findall(prose(page)):
        assert list(ROOT.glob(path.rstrip("/"))), f"{page} names {path}"
    for name in NAME.findall(prose(page)) if page != "docs/moved.md" else ():  # old places: test_moved tries each
        assert known(name), f"{page} names {name}"
    for module in re.findall(r"`python -m ([\w.]+)", prose(page)):
        assert importlib.util.find_spec(module), f"{page} names {module}"


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_that_are_named_exist(page):
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.M))
    assert set(re.findall(r"`make ([a-z]+)", prose(page))) <= targets


# ---- the house


def folders() -> list[str]:
    """Every folder of workbench, probes and app that holds modules."""
    listed = subprocess.run(
        ["git", "ls-files", "workbench", "probes", "app"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [line for line in listed.stdout.splitlines() if line.endswith(".py") and (ROOT / line).exists()]
    return sorted({file.rpartition("/")[0] for file in files})


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_every_folder_is_told_of(page):
    said = read(page)
    missing = [folder for folder in folders() if f"{folder.rpartition('/')[2]}/" not in said]
    assert not missing, f"{page} says nothing about {missing}"


def test_every_folder_that_the_readme_tells_of_exists():
    (tree,) = re.findall(r"```text\n(workbench/.*?)```", read("README.md"), re.S)
    names = set(re.findall(r"(?<![\w/])([a-z_]+)/(?=\s|$)", tree))
    known = {part for folder in folders() for part in folder.split("/")} | {"data", "tests", "docs", "notebooks"}
    assert not names - known


def test_the_readme_can_be_read():
    assert len(read("README.md").splitlines()) <= 180
