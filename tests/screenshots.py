"""Pictures of every page for the README: `python -m tests.screenshots` writes docs/screens/*.png (needs chromium)."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.app.browser.conftest import CHROMIUM
from tests.app.browser.serving import served

OUT = Path(__file__).parents[1] / "docs" / "screens"
QUESTION = "what happened in 1979 in Banke?"
PLAN = "off L2E8; off L2E20"


def _steer(page: Page) -> None:
    page.get_by_role("button", name=QUESTION).click()
    page.get_by_text("cannot", exact=False).first.wait_for()
    page.get_by_role("button", name="Top 2 by fTRI").click()
    page.get_by_text("slots changed").wait_for()


def _press(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("button", name=name, exact=True).first.click()


def _nothing(page: Page) -> None:
    return None


PAGES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "steer": ("", _steer),
    "atlas": ("atlas", _nothing),
    "tokens": ("tokens", _nothing),
    "probes": ("probes", _press("Run")),
    "super-experts": ("super-experts", _nothing),
    "captures": ("captures", _nothing),
}


def main() -> None:
    """Opens every page of a dashboard on the bundled model and saves what it shows."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address, sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (path, prepare) in PAGES.items():
            page = browser.new_page(viewport={"width": 1280, "height": 1100})
            page.set_default_timeout(120_000)
            page.goto(f"{address}/{path}")
            page.locator("[data-testid=stSidebar] [data-testid=stText]").first.wait_for()
            _settled(page)
            prepare(page)
            _settled(page)
            page.screenshot(path=OUT / f"{name}.png")
            page.close()
        browser.close()


def _settled(page: Page) -> None:
    """Until the script has run to its end and the charts stand."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(2500)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


if __name__ == "__main__":
    main()
