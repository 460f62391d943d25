"""The dashboard's times, measured in a real browser: first paint, toggle to first changed token, 48 x 128 experts.

Each is the median of `pairs` rounds on one tab's page or on fresh tabs of one browser, after one round that is not counted.
The clock is the page's own: from the mouse going down, or from the start of the navigation, to the frame that shows the result.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.app.browser.conftest import CHROMIUM, missing
from tests.app.browser.desk import Desk
from tests.app.browser.serving import served

QUESTION, REFUSED = "what happened in 1979 in Banke?", "I cannot talk about that."
# the moment when `ready` first holds after a mouse button goes down, looked at after every frame
_CLOCK = """([ready, timeout]) => new Promise((done, failed) => {
  const holds = new Function('return ' + ready), from = window.pressed ?? 0;
  const look = () => {
    const now = performance.now();
    if (holds()) requestAnimationFrame(() => done((performance.now() - from) / 1000));
    else if (now - from > timeout) failed(new Error('not within ' + timeout + ' ms: ' + ready));
    else requestAnimationFrame(look);
  };
  look();
})"""
_PRESSED = "addEventListener('pointerdown', () => { window.pressed = performance.now(); }, true);"
_DEEP = """
window.deep = (selector, root = document) => {
  const found = [...root.querySelectorAll(selector)];
  for (const e of root.querySelectorAll('*')) if (e.shadowRoot) found.push(...window.deep(selector, e.shadowRoot));
  return found;
};
window.steered = () => {
  const box = document.querySelector('[class*="st-key-answer-"][class*="-steered"]');
  return box ? window.deep('.chips > *', box).map(e => e.textContent).join('') : '';
};
window.painted = () => { const c = window.deep('.board canvas')[0]; return !!c && !!c.dataset.w; };
window.plan = () => [...document.querySelectorAll('[data-testid=stText]')]
  .map(e => e.textContent).find(t => t.startsWith('Plan: '));
"""


class Seconds(NamedTuple):
    """How long something takes: the median and quartiles of its rounds, and what the issue allows."""

    what: str
    median: float
    low: float
    high: float
    limit: float

    @property
    def verdict(self) -> str:
        return "met" if self.median < self.limit else "MISSED"


def times(rounds: int) -> Iterator[Seconds]:
    """One row per time. Raises `RuntimeError` where there is no browser."""
    reason = missing()
    if reason:
        raise RuntimeError(f"The dashboard is measured in a browser: {reason}.")
    with _browsers() as (browser, private), tempfile.TemporaryDirectory() as folder:
        with served(Path(folder)) as address:
            for window, where in ((browser, "a new tab"), (private, "a private window")):
                once = partial(_first_paint, window, address)
                yield _row(f"first paint of the switchboard in {where}", 2.0, rounds, once)
            with _desk(browser, address) as desk:
                yield _row("toggle to first changed token, bundled model", 0.5, rounds, _toggles(desk))
        with served(Path(folder), model=str(_large(Path(folder)))) as address, _desk(browser, address) as desk:
            yield _row("48 x 128 experts: from another page to the drawn board", 1.0, rounds, _drawings(desk))
            yield _row("48 x 128 experts: from a click to the changed plan", 1.0, rounds, _clicks(desk))


def _row(what: str, limit: float, rounds: int, once: Callable[[], float]) -> Seconds:
    once()
    found = sorted(once() for _ in range(rounds))
    return Seconds(what, statistics.median(found), found[rounds // 4], found[-1 - rounds // 4], limit)


# ---- what is timed


def _first_paint(browser: Any, address: str) -> float:
    """From the start of the navigation, in a browser that has seen the page before."""
    with _desk(browser, address, opened=False) as desk:
        desk.page.goto(address, wait_until="commit")
        seconds = _until(desk, "window.painted()")
        desk.settle()
        return seconds


def _toggles(desk: Desk) -> Callable[[], float]:
    """Two experts on and off in turn, while the answer of the base model stands there."""
    desk.ask(QUESTION)
    assert desk.answered(QUESTION).base == REFUSED
    desk.click_expert("L2E20")
    desk.answered(QUESTION, "off L2E20")

    def once() -> float:
        """L2E8 beside L2E20 changes the answer's first token from `I` to `Singers`."""
        desk.settle()
        _until(desk, "!window.steered().startsWith('Sing')")  # the answer before is off the page
        desk.click_expert("L2E8")
        seconds = _until(desk, "window.steered().startsWith('Sing')")
        desk.answered(QUESTION, "off L2E8; off L2E20")
        desk.settle().click_expert("L2E8")
        desk.answered(QUESTION, "off L2E20")
        return seconds

    return once


def _drawings(desk: Desk) -> Callable[[], float]:
    def once() -> float:
        desk.page.get_by_role("link", name="Captures and runs").click()
        desk.page.get_by_role("heading", name="Captures and runs").wait_for()
        desk.settle()
        desk.page.get_by_role("link", name="Steer").click()
        seconds = _until(desk, "window.painted()")
        desk.settle()
        return seconds

    return once


def _clicks(desk: Desk) -> Callable[[], float]:
    places = iter(range(1, 120))

    def once() -> float:
        ref = f"L24E{next(places)}"
        desk.click_expert(ref)
        seconds = _until(desk, f"(window.plan() || '').endsWith('{ref}')")
        desk.settle()
        return seconds

    return once


def _until(desk: Desk, ready: str) -> float:
    return desk.page.evaluate(_CLOCK, [ready, 60_000])


# ---- on what


@contextmanager
def _browsers() -> Iterator[tuple[Any, Any]]:
    """A browser as people have it, which keeps the compiled scripts of pages it knows, and one that keeps nothing on disk."""
    from playwright.sync_api import sync_playwright

    how: dict[str, Any] = {"executable_path": CHROMIUM, "args": ["--no-sandbox", "--disable-gpu"]}
    size: Any = {"width": 1280, "height": 1000}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        usual = playwright.chromium.launch_persistent_context(profile, viewport=size, **how)
        private = playwright.chromium.launch(**how)
        yield usual, private.new_context(viewport=size)
        private.close()
        usual.close()


@contextmanager
def _desk(context: Any, address: str, *, opened: bool = True) -> Iterator[Desk]:
    desk = Desk.at(context, address)
    desk.page.add_init_script(_PRESSED + _DEEP)
    if opened:
        desk.open()
    yield desk
    desk.page.close()


def _large(folder: Path) -> Path:
    """A random Qwen3-MoE of 48 layers with 128 experts each, as transformers saves one; its experts are small."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from workbench.loading import tiny_tokenizer

    config = Qwen3MoeConfig(
        vocab_size=512, hidden_size=16, num_hidden_layers=48, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=16, moe_intermediate_size=4, num_experts=128, num_experts_per_tok=8, norm_topk_prob=True,
        max_position_embeddings=512, pad_token_id=0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    path = folder / "random-48x128"
    Qwen3MoeForCausalLM(config).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path
