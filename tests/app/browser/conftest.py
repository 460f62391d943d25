"""A dashboard and a real browser for the tests of this folder; without chromium they are skipped, in CI they fail."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.app.browser.serving import served
from tests.app.pages import hostile_store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
IN_CI = any(os.environ.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "WORKBENCH_CI"))


def missing() -> str | None:
    """Why no browser can be started; None when one can."""
    if CHROMIUM is None:
        return "chromium is not installed (Debian: apt-get install chromium)"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install -c constraints.txt playwright)"
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    """A run of their own, in one process (see the Makefile): one server and one chromium serve them in turn."""
    item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, headless."""
    reason = missing()
    if reason and IN_CI:
        pytest.fail(f"In CI the browser tests have to run: {reason}.")
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def dashboard(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dashboard on the bundled model and a tiny one, whose store is hostile; started when a browser has."""
    folder = tmp_path_factory.mktemp("dashboard")
    hostile_store(folder / "hostile")
    with served(folder, "--model=tiny/olmoe", f"--store={folder / 'hostile'}") as address:
        yield address


@pytest.fixture(scope="session")
def tabs(browser: Any) -> Iterator[Any]:
    """One browser profile, 1280 x 1000, light: its tabs share what was downloaded, each is a session of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context
    context.close()


@pytest.fixture
def desk(tabs: Any, dashboard: str) -> Iterator[Any]:
    """A tab of its own on the dashboard, not yet opened."""
    from tests.app.browser.desk import Desk

    found = Desk.at(tabs, dashboard)
    yield found
    found.page.close()


@pytest.fixture
def desk_with(browser: Any, dashboard: str) -> Iterator[Callable[..., Any]]:
    """Makes windows of another size or colour scheme, each with a profile of its own."""
    from tests.app.browser.desk import Desk

    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | options))
        return Desk.at(made[-1], dashboard)

    yield make
    for context in made:
        context.close()
