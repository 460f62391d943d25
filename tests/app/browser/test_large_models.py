"""Models of many layers and experts: the board stands on one screen with the question and both answers."""

import pytest

from tests.app.browser.desk import Desk
from tests.app.browser.serving import outlined

_INSIDE = """() => {
  const roots = [document];
  for (const root of roots) for (const e of root.querySelectorAll('*')) if (e.shadowRoot) roots.push(e.shadowRoot);
  const found = {board: '.board', question: '[data-testid=stChatInput]', answer: '.chips'};
  return Object.entries(found).flatMap(([name, selector]) => roots.flatMap(root => [...root.querySelectorAll(selector)])
    .map(e => [name, e.getBoundingClientRect()])
    .map(([n, r]) => [n, r.left, r.top, r.right, r.bottom].map(x => x.toFixed?.(0) ?? x)));
}"""


@pytest.fixture(params=["30x28", "48x128"])
def large(request, browser, tmp_path):
    """A window of 1440 x 900 on a model of this many layers and experts."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    with outlined(tmp_path, request.param) as address:
        desk = Desk.at(context, address).open()
        for drawn in (".board canvas", "[data-testid=stChatInput]", ".chips >> nth=1"):
            desk.page.locator(drawn).first.wait_for()
        yield desk.settle(), *map(int, request.param.split("x"))
    context.close()


def test_board_question_and_both_answers_are_on_one_screen(large):
    desk, layers, experts = large
    found = [(name, *map(int, sides)) for name, *sides in desk.page.evaluate(_INSIDE)]
    assert [name for name, *_ in found] == ["board", "question", "answer", "answer"]
    for name, left, top, right, bottom in found:
        assert left >= 0, name
        assert top >= 0, name
        assert right <= 1440, name
        assert bottom <= 900, name
    last = f"L{layers - 1}E{experts - 1}"
    x, y = desk.square(last)
    assert 0 < x < 1440
    assert 0 < y < 900
    desk.click_expert(last)
    desk.until_plan(f"off L3E4; off L3E5; off {last}")


def test_on_a_phone_the_question_is_on_the_first_screen(browser, tmp_path):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    with outlined(tmp_path, "30x28") as address:
        desk = Desk.at(context, address).open()
        box = desk.page.locator("[data-testid=stChatInput]")
        box.wait_for()
        desk.settle()
        for _ in range(2):  # on the first screen, and at the end of the page
            place = box.bounding_box()
            assert place["y"] > 400
            assert place["y"] + place["height"] <= 844
            assert place["x"] + place["width"] <= 390
            desk.page.locator(".stMain").evaluate("e => e.scrollTo(0, e.scrollHeight)")
        answer = desk.page.locator(".chips").last.bounding_box()
        assert answer["y"] + answer["height"] <= place["y"]  # the box covers nothing that cannot be scrolled to
    context.close()


def test_a_board_is_zoomed_and_folded(large):
    desk, layers, _ = large
    pane = desk.page.locator(".board .scroll")
    before = desk.page.locator(".board canvas").bounding_box()
    desk.press("Zoom in")
    after = desk.page.locator(".board canvas").bounding_box()
    assert after["width"] > 1.3 * before["width"]
    assert pane.bounding_box()["width"] <= before["width"] + 50  # the page stays as it is, and the board scrolls
    desk.press("Zoom out")
    desk.press("Fold layers")
    first = f"L{layers - 1}E0"
    heights = desk.rows()
    assert heights[3] > 10  # an edited layer stays open
    assert sum(h < 10 for h in heights.values()) >= layers - 4
    closed = next(n for n, h in heights.items() if h < 10)
    desk.click_expert(f"L{closed}E0")
    assert desk.rows()[closed] > 10  # a click on a folded layer opens it, and edits nothing
    assert desk.plan() == "off L3E4; off L3E5"
    desk.press("Unfold layers")
    assert len(set(desk.rows().values())) == 1
    assert desk.square(first)


def test_a_line_break_breaks_the_line_and_is_a_sign_on_demand(large):
    desk, *_ = large
    key = f"answer-{desk.newest().number}-base"
    shown = desk.chips(key)
    assert shown[10] == "\n"
    assert shown[20:26] == [
        "\n",
        "\n",
        "\u23ce",
        "\u23ce",
        "\u23ce",
        "\u23ce",
    ]  # an answer of these alone fills no page
    before, after = (desk.page.locator(f".st-key-{key} .chips > *").nth(i).bounding_box() for i in (9, 11))
    assert after["y"] > before["y"]
    assert after["x"] < before["x"]
    desk.press("Options")
    desk.page.get_by_text("Show spaces and line breaks").click()
    desk.settle()
    assert desk.chips(key)[10] == "\u23ce\n"
    assert any(text.startswith("\u00b7") for text in desk.chips(key))


def test_the_card_of_a_token_says_first_what_matters(large):
    desk, *_ = large
    desk.chip_at("steered", 0)
    desk.page.get_by_text("Largest weight (steered): L").wait_for()
    desk.settle()
    assert "Selected beside those of base: " in desk.text_with("Largest weight")
    assert desk.page.get_by_text("Every expert of every layer").count() == 1
    assert desk.page.locator(".stMain").evaluate("e => e.scrollWidth") <= 1440
