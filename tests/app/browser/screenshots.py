"""Pictures of every page for the README: `python -m tests.app.browser.screenshots` writes docs/screens/*.png (needs chromium).

python -m tests.app.browser.screenshots [--out DIR] [--dark] [--width N] [--height N]
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.app.browser.conftest import CHROMIUM
from tests.app.browser.desk import Desk
from tests.app.browser.serving import served

OUT = Path(__file__).parents[3] / "docs" / "screens"
QUESTION, PLAN = "what happened in 1979 in Banke?", "off L2E8; off L2E20"


def _steer(desk: Desk) -> None:
    """A refusal and what two experts make of it, with the card of a token."""
    desk.press(QUESTION)
    desk.answered(QUESTION)
    desk.settle().press("Top 2 by fTRI")
    desk.answered(QUESTION, PLAN)
    desk.settle().chip("steered", "Singers")
    desk.chart("alternatives")


def _volcano(desk: Desk) -> None:
    desk.press("Run")
    desk.page.get_by_role("tab", name="Volcano").click()
    desk.chart("volcano")


def _nothing(desk: Desk) -> None:
    return None


PAGES: dict[str, tuple[str, Callable[[Desk], None]]] = {
    "steer": ("", _steer),
    "atlas": ("atlas", lambda desk: desk.click_expert("L2E8")),
    "tokens": ("tokens", _nothing),
    "probes": ("probes", _volcano),
    "super-experts": ("super-experts", _nothing),
    "captures": ("captures", _nothing),
}


def main() -> None:
    """Opens every page of a dashboard on the bundled model and saves what it shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1100)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address, sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": asked.width, "height": asked.height}, color_scheme="dark" if asked.dark else "light"
        )
        for name, (path, prepare) in PAGES.items():
            desk = Desk.at(context, address).open(path)
            prepare(desk)
            desk.settle().page.locator(".stMain").evaluate("e => e.scrollTo(0, 0)")
            desk.page.wait_for_timeout(700)  # charts fade in
            desk.page.screenshot(path=asked.out / f"{name}.png")
            desk.page.close()
        browser.close()


if __name__ == "__main__":
    main()
