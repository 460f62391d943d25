"""Pictures of every page for the docs: `python -m tests.app.browser.screenshots` writes docs/screens/*.png (needs chromium).

python -m tests.app.browser.screenshots [--model smollm2-moe] [--out DIR] [--dark] [--width N] [--height N]

On the real model the Steer page shows what muting the super expert does to an answer; the store is of texts of three kinds.
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
REAL_QUESTION, REAL_PLAN = "Why is the sky blue?", "off L11E0"
Steps = dict[str, tuple[str, Callable[[Desk], None]]]


def _steer(desk: Desk) -> None:
    """A refusal and what two experts make of it, with the card of a token."""
    desk.press(QUESTION)
    desk.answered(QUESTION)
    desk.settle().press("Top 2 by fTRI")
    desk.answered(QUESTION, PLAN)
    desk.settle().chip("steered", "Singers")
    desk.chart("alternatives")


def _collapse(desk: Desk) -> None:
    """An answer with and without the expert that writes the massive activation."""
    desk.answer_length(48)
    desk.ask(REAL_QUESTION)
    desk.answered(REAL_QUESTION)
    desk.settle().click_expert("L11E0")
    desk.answered(REAL_QUESTION, REAL_PLAN)


def _volcano(desk: Desk) -> None:
    desk.press("Run")
    desk.page.get_by_role("tab", name="Volcano").click()
    desk.chart("volcano")


def _nothing(desk: Desk) -> None:
    return None


def _pages(steer: Callable[[Desk], None], expert: str) -> Steps:
    return {
        "steer": ("", steer),
        "atlas": ("atlas", lambda desk: desk.click_expert(expert)),
        "tokens": ("tokens", _nothing),
        "probes": ("probes", _volcano),
        "super-experts": ("super-experts", _nothing),
        "captures": ("captures", _nothing),
    }


BELOW = ("probes",)
"""Pages whose answer stands below what was asked: the picture is of where the last step led."""
PAGES: dict[str, Steps] = {"demo": _pages(_steer, "L2E8"), "smollm2-moe": _pages(_collapse, "L11E0")}


def main() -> None:
    """Opens every page of a dashboard and saves what it shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=PAGES, default="smollm2-moe")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stores = [] if asked.model == "demo" else [f"--store={_store(asked.model, Path(folder) / 'texts')}"]
        with served(Path(folder), *stores, model=asked.model) as address, sync_playwright() as playwright:
            browser: Any = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            context = browser.new_context(
                viewport={"width": asked.width, "height": asked.height}, color_scheme="dark" if asked.dark else "light"
            )
            for name, (path, prepare) in PAGES[asked.model].items():
                desk = Desk.at(context, address).open(path)
                prepare(desk)
                desk.settle()
                if name not in BELOW:
                    desk.page.locator(".stMain").evaluate("e => e.scrollTo(0, 0)")
                desk.page.wait_for_timeout(700)  # charts fade in
                desk.page.screenshot(path=asked.out / f"{name}.png")
                desk.page.close()
            browser.close()


def _store(name: str, folder: Path) -> Path:
    """A store of texts of three kinds, with what the super experts' page needs."""
    from workbench import capture, load, read_prompts

    capture(load(name), read_prompts("kinds"), folder, keep={"norms", "residual"})
    return folder


if __name__ == "__main__":
    main()
