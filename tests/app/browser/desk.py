"""A person at the dashboard: what they do with mouse and keyboard, and what they read on the page."""

import re
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

from workbench import ExpertRef

PATIENCE = 600.0
"""Seconds after which a page that does not do what it should has failed; long, for machines that do much else."""
LOCAL = ("127.0.0.1", "localhost")
_WATCH = """
window.presses = 0;
addEventListener('pointerdown', e => { if (e.isTrusted) window.presses += 1; }, true);
"""
_EXCHANGES = """most => {
  const all = (root, found = []) => {
    for (const e of root.querySelectorAll('*')) { if (e.shadowRoot) { found.push(e.shadowRoot); all(e.shadowRoot, found); } }
    return found;
  };
  const answer = e => e && all(e).flatMap(root => [...root.querySelectorAll('.chips > *')].map(c => c.textContent));
  return [...document.querySelectorAll('[class*="st-key-answer-"][class*="-base"]')].slice(0, most).map(base => {
    const number = base.className.match(/st-key-answer-(\\d+)-base/)[1];
    const box = base.closest('[data-testid=stHorizontalBlock]').parentElement.closest('[data-testid=stVerticalBlock]');
    const text = [...box.querySelectorAll('[data-testid=stText]')].map(e => e.innerText);
    const captions = [...box.querySelectorAll('[data-testid=stCaptionContainer]')].map(e => e.innerText);
    const errors = [...box.querySelectorAll('[data-testid=stAlert]')].map(e => e.innerText);
    const sides = [answer(base), answer(box.querySelector(`.st-key-answer-${number}-steered`)) || []];
    const status = text[text.length - 1];
    // the chips are drawn a moment after the text around them, which says how many there are
    const drawn = sides.every((side, i) => side.length === +(captions[i] || '').replace(/.*\\((\\d+) tokens\\).*|.*/s, '$1'));
    return {number: +number, question: text[0], base: sides[0], steered: sides[1],
      plan: (captions[1] || '').replace(/^steered( \\(\\d+ tokens\\))?: /, ''), status, errors,
      active: !drawn || !!box.querySelector(`.st-key-stop-${number}`)};
  });
}"""
_RUNNING = "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState"
_AT = """(canvas, [layer, expert]) => {
  const box = canvas.getBoundingClientRect(), {left, w, rows} = canvas.dataset;
  const [, top, h] = JSON.parse(rows).find(([n]) => n === layer);
  return [box.left + +left + (expert + 0.5) * w, box.top + top + 0.5 * h];
}"""
_POINTS = """gd => {
  const box = gd.getBoundingClientRect(), found = [];
  for (const node of gd.querySelectorAll('.sankey-node rect.node-rect, .bars .point path')) {
    const r = node.getBoundingClientRect();
    if (r.width > 0 && r.height > 0) found.push([r.left + r.width / 2, r.top + r.height / 2]);
  }
  for (const {x, y, xaxis, yaxis, type, hoverinfo} of gd._fullData) {
    if (!type.startsWith('scatter') || hoverinfo === 'skip') continue;
    const {[`xaxis${xaxis?.slice(1) ?? ''}`]: ax, [`yaxis${yaxis?.slice(1) ?? ''}`]: ay} = gd._fullLayout;
    for (let i = 0; i < Math.min(x.length, 4); i += 1) {
      const at = [box.left + ax._offset + ax.d2p(x[i]), box.top + ay._offset + ay.d2p(y[i])];
      if (at.every(Number.isFinite)) found.push(at);
    }
  }
  return found;
}"""
_SAID = """gd => ({
  title: gd.layout.title?.text ?? '',
  axes: gd._fullData.some(t => t.type === 'sankey') ? [] :
    Object.keys(gd._fullLayout).filter(k => /^[xy]axis/.test(k)).map(k => gd.layout[k]?.title?.text ?? ''),
})"""
_LIGHTNESS = """(canvas, [layer, expert]) => {
  const {left, w, rows} = canvas.dataset, scale = devicePixelRatio;
  const [, top, h] = JSON.parse(rows).find(([n]) => n === layer);
  const x = (+left + (expert + 0.2) * w) * scale, y = (top + 0.25 * h) * scale;
  const [r, g, b] = canvas.getContext('2d').getImageData(x, y, 1, 1).data;
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}"""
_MARKED = """() => {
  const roots = [document];
  for (const root of roots) for (const e of root.querySelectorAll('*')) if (e.shadowRoot) roots.push(e.shadowRoot);
  const found = selector => roots.flatMap(root => [...root.querySelectorAll(selector)]);
  return [
    ...found('script').filter(e => e.textContent.includes('alert(')),
    ...found('img, iframe, object, embed, a').filter(e => /invalid|javascript:|\\/x$/.test(e.src || e.href || '')),
    ...found('[onerror]'),
    ...found('b, strong, em, i').filter(e => /^(b|bold)$/.test(e.textContent)),
  ].map(e => e.outerHTML.slice(0, 200));
}"""
_CLEAN = str.maketrans({"\u2423": " ", "\u23ce": "\n", "\u21e5": "\t", "\u2205": ""})


class Exchange(NamedTuple):
    """A question and both answers, as they stand on the page."""

    number: int
    question: str
    base: str
    steered: str
    plan: str
    status: str
    errors: tuple[str, ...]
    active: bool


@dataclass
class Desk:
    """One browser window on one dashboard, and everything it asked for or complained about meanwhile."""

    page: Page
    address: str
    requests: list[str] = field(default_factory=list[str])
    dialogs: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])
    before: int | None = None  # the newest exchange when the last question was asked: no answer to that one

    @classmethod
    def at(cls, context: BrowserContext, address: str) -> "Desk":
        desk = cls(context.new_page(), address)
        desk.page.set_default_timeout(1000 * PATIENCE)
        desk.page.add_init_script(_WATCH)
        desk.page.on("request", lambda request: desk._requested(request))
        desk.page.on("dialog", lambda dialog: (desk.dialogs.append(dialog.message), dialog.dismiss()))
        desk.page.on("console", lambda message: desk._said(message))
        desk.page.on("pageerror", lambda error: desk.complaints.append(str(error)))
        return desk

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        # below a page of its own Streamlit looks for itself at the wrong place first
        if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    # ---- what a person does

    def open(self, path: str = "", **query: str) -> "Desk":
        """Goes to a page of the dashboard and waits until it stands still."""
        self.page.goto(f"{self.address}/{path}{'?' + urlencode(query) if query else ''}")
        self.before = None
        self.page.locator(".stMain").wait_for()  # its test id changes when a chat box is drawn
        return self.settle()

    def ask(self, question: str) -> None:
        self.before = next((found.number for found in self.exchanges()), None)
        box = self.page.get_by_test_id("stChatInputTextArea")
        box.fill(question)
        box.press("Enter")

    def click_expert(self, ref: str) -> None:
        """A real mouse click on an expert's square."""
        self.page.mouse.click(*self.square(ref))

    def box_experts(self, first: str, last: str) -> None:
        """Draws a box with the mouse, from the middle of one square to the middle of another."""
        start, end = self.square(first), self.square(last)
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=6)
        self.page.mouse.up()

    def square(self, ref: str) -> tuple[float, float]:
        """Where an expert is on the screen."""
        board = self.page.locator(".board canvas").first
        board.wait_for()
        board.scroll_into_view_if_needed()
        expert = ExpertRef.parse(ref)
        x, y = board.evaluate(_AT, [expert.layer, expert.expert])
        return x, y

    def chart(self, key: str) -> Any:
        """The Plotly chart of this key, drawn and in sight."""
        found = self.page.locator(f".st-key-{key} .js-plotly-plot")
        found.wait_for()
        found.scroll_into_view_if_needed()
        self.settle()
        return found

    def click_chart(self, key: str) -> str:
        """Clicks a point of a chart with the mouse; what the chart says of it."""
        chart = self.chart(key)
        said = chart.locator(".hoverlayer .hovertext")
        for x, y in chart.evaluate(_POINTS)[:24]:
            self.page.mouse.move(x - 1, y - 1)
            self.page.mouse.move(x, y)
            self.page.wait_for_timeout(120)
            if said.count():
                found = said.first.text_content() or ""
                self.page.mouse.click(x, y)
                self.settle()
                return found
        raise AssertionError(f"no point of the chart '{key}' says anything")

    def labels(self, key: str) -> tuple[str, list[str]]:
        """A chart's title and the titles of its axes."""
        found = self.chart(key).evaluate(_SAID)
        return found["title"], found["axes"]

    def press(self, name: str) -> None:
        """Clicks the button of this name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def chip(self, side: str, token: str) -> None:
        """Clicks a token of the newest answer."""
        newest = self.newest().number
        answer = self.page.locator(f".st-key-answer-{newest}-{side}")
        answer.get_by_role("button", name=token, exact=True).first.click()

    def chip_at(self, side: str, number: int) -> None:
        """Clicks a token of the newest answer, by its place."""
        self.page.locator(f".st-key-answer-{self.newest().number}-{side} .chips > *").nth(number).click()

    def answer_length(self, tokens: int) -> None:
        """Sets how many tokens an answer has at most."""
        self.press("Options")
        box = self.page.get_by_label("Tokens per answer")
        box.fill(str(tokens))
        box.press("Enter")
        self.page.keyboard.press("Escape")
        self.settle()

    # ---- what a person reads

    def chips(self, key: str) -> list[str]:
        """The tokens of a row, as they are shown."""
        return self.page.locator(f".st-key-{key} .chips > *").all_text_contents()

    def exchanges(self) -> list[Exchange]:
        """The questions on the page, the newest first."""
        return [_exchange(found) for found in self.page.evaluate(_EXCHANGES, 99)]

    def newest(self) -> Exchange:
        """The newest exchange, once there is one: while the page is drawn again there is none for a moment."""
        end = time.monotonic() + PATIENCE
        while not (found := self.page.evaluate(_EXCHANGES, 1)) and time.monotonic() < end:
            self.page.wait_for_timeout(20)
        return _exchange(found[0])

    def answered(self, question: str, plan: str | None = None, timeout: float = PATIENCE) -> Exchange:
        """The newest exchange, once it is this question (under this plan) and nothing more comes."""
        end, found = time.monotonic() + timeout, None
        while time.monotonic() < end:
            before, found = found, self.finished(question, plan)
            if found is not None and found == before:  # twice the same: not half of the page before
                return found
            self.page.wait_for_timeout(60)
        raise AssertionError(f"no answer to {question!r} under {plan!r} after {timeout} s; there is {self.exchanges()}")

    def answered_any(self) -> Exchange:
        """The newest exchange once nothing more comes, whatever the page shows of its question."""
        self.page.wait_for_function(f"() => ({_EXCHANGES})(1).some(e => !e.active)")
        return self.settle().newest()

    def finished(self, question: str, plan: str | None = None) -> Exchange | None:
        """The newest exchange if it is this question (under this plan), nothing more comes and the page stands still."""
        found = next(map(_exchange, self.page.evaluate(_EXCHANGES, 1)), None)
        if found is None or found.active or found.number == self.before:
            return None
        if found.question != question or plan not in (None, found.plan):
            return None
        return found if self.page.evaluate(_RUNNING) == "notRunning" else None

    def plan(self) -> str:
        """The plan as the page states it."""
        return self.text_with("Plan: ").removeprefix("Plan: ")

    def until_plan(self, wanted: str, timeout: float = PATIENCE) -> None:
        """Waits until the page states this plan."""
        self.page.get_by_test_id("stText").get_by_text(f"Plan: {wanted}", exact=True).wait_for(timeout=1000 * timeout)

    def text_with(self, start: str) -> str:
        """The text of the page that begins so."""
        return next(t for t in self.page.get_by_test_id("stText").all_inner_texts() if t.startswith(start))

    def errors(self) -> list[str]:
        """The sentences in red."""
        return self.page.get_by_test_id("stAlert").all_inner_texts()

    def presses(self) -> int:
        """How often a mouse button went down since the page was opened."""
        return self.page.evaluate("() => window.presses")

    def abroad(self) -> list[str]:
        """Requests that left this machine."""
        return [u for u in self.requests if urlsplit(u).scheme in ("http", "https", "ws") and not _is_local(u)]

    def lightness(self, ref: str) -> float:
        """Of the upper left part of an expert's square, 0 (black) to 1."""
        self.square(ref)
        expert = ExpertRef.parse(ref)
        board = self.page.locator(".board canvas").first
        return board.evaluate(_LIGHTNESS, [expert.layer, expert.expert])

    def rows(self) -> dict[int, float]:
        """How high each layer of the board is, in pixels."""
        rows = self.page.locator(".board canvas").first.evaluate("canvas => JSON.parse(canvas.dataset.rows)")
        return {layer: height for layer, _, height in rows}

    def ground(self) -> float:
        """How light the page's background is, 0 to 1."""
        colour = self.page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 765

    def marked_up(self) -> list[str]:
        """Elements that the tests' hostile texts make where they are read as HTML or Markdown."""
        return self.page.evaluate(_MARKED)

    def settle(self, timeout: float = PATIENCE) -> "Desk":
        """Waits until the server has drawn the page and nothing is being drawn."""
        end, quiet = time.monotonic() + timeout, 0
        while quiet < 3:
            assert time.monotonic() < end, "the page does not come to rest"
            busy = self.page.evaluate(_RUNNING) != "notRunning" or self.page.get_by_test_id("stSpinner").count()
            quiet = 0 if busy or not self.page.get_by_test_id("stElementContainer").count() else quiet + 1
            self.page.wait_for_timeout(60)
        return self


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOCAL


def _exchange(found: dict[str, Any]) -> Exchange:
    sides = {side: "".join(found[side]).translate(_CLEAN) for side in ("base", "steered")}
    return Exchange(**found | sides | {"errors": tuple(found["errors"])})
