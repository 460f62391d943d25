"""Everybody reaches everything: by keyboard, in a narrow window; and plans leave the page and come back."""

import json
import re

import pytest

from workbench import Plan

REFUSED = "what happened in 1979 in Banke?"
PAGES = ("", "atlas", "tokens", "probes", "super-experts", "captures")


def tab_to(desk, what):
    """Presses Tab until the element with the focus is `what` (an expression of `e`); fails after 60."""
    for _ in range(60):
        desk.page.keyboard.press("Tab")
        if desk.page.evaluate(
            "what => { let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
            " return new Function('e', 'return ' + what)(e); }",
            what,
        ):
            return
    raise AssertionError(f"Tab does not lead to {what}")


def test_with_the_keyboard_alone_experts_are_chosen_and_a_token_is_opened(desk):
    desk.open()
    tab_to(desk, "e.tagName === 'CANVAS'")
    for key in ("ArrowDown", "ArrowDown", *["ArrowRight"] * 8):
        desk.page.keyboard.press(key)
    desk.page.get_by_text("L2E8: 0.3765 (difference of selection rates)").wait_for()  # what the keys are on is said
    desk.page.keyboard.press("Enter")
    desk.until_plan("off L2E8")
    desk.settle()
    for key in ("Home", "Shift+ArrowRight", "Shift+ArrowUp", "Space"):
        desk.page.keyboard.press(key)
    desk.until_plan("off L1E0; off L1E1; off L2E0; off L2E1; off L2E8")
    desk.settle()
    tab_to(desk, "e.dataset?.testid === 'stChatInputTextArea'")
    desk.page.keyboard.type(REFUSED)
    desk.page.keyboard.press("Enter")
    desk.answered(REFUSED)
    desk.settle()
    tab_to(desk, "!!e.closest('.chips')")
    desk.page.keyboard.press("Enter")
    desk.page.get_by_text("Token 1 of the base answer").wait_for()
    assert desk.presses() == 0


def test_in_a_narrow_window_nothing_sticks_out_and_an_expert_can_be_clicked(desk_with):
    desk = desk_with(viewport={"width": 390, "height": 844})
    for page in PAGES:
        desk.open(page)
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= 390, page
        assert desk.page.locator(".stMain").evaluate("e => e.scrollWidth") <= 390, page
    desk.open().click_expert("L3E31")
    desk.until_plan("off L3E31")


def test_a_plan_is_saved_copied_and_loaded_again(desk):
    desk.open(plan="scale L1E4=8 in generated; off L2E8")
    desk.press("Plan")
    with desk.page.expect_download() as saved:
        desk.press("Save the plan")
    content = saved.value.path().read_bytes()
    assert str(Plan.from_json(content.decode())) == "scale L1E4=8 in generated; off L2E8"
    python, command, as_json = desk.page.get_by_test_id("stCode").all_inner_texts()
    assert "with steered(model, plan):" in python
    assert command.startswith("workbench steer demo --prompt")
    assert json.loads(as_json) == json.loads(content)
    desk.page.keyboard.press("Escape")
    desk.press("Clear")
    desk.until_plan("nothing")
    desk.settle().press("Plan")
    desk.page.locator("input[type=file]").set_input_files(
        {"name": "p.json", "mimeType": "application/json", "buffer": content}
    )
    desk.press("Use this file as the plan")
    desk.until_plan("scale L1E4=8 in generated; off L2E8")
    desk.page.keyboard.press("Escape")
    desk.settle().press("Undo")
    desk.until_plan("nothing")


def test_a_plan_follows_from_page_to_page_and_stands_in_every_url(desk):
    desk.open(plan="off L2E8")
    for page in ("Atlas", "Tokens", "Captures and runs", "Steer"):
        desk.page.get_by_role("link", name=page, exact=True).click()
        desk.page.wait_for_url(re.compile("plan=off"))
        desk.settle()
        assert "store=refusal" in desk.page.url
    assert desk.plan() == "off L2E8"


def test_a_plan_that_changed_nothing_says_so(desk):
    desk.open(plan="scale L0E0=1").ask(REFUSED)
    assert desk.answered(REFUSED).status.startswith("Dose: nothing changed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_marks_of_a_board_stand_out_in_light_and_dark(desk_with, scheme):
    """Cell, edit and ground are told apart by how light they are, whatever colours an eye sees."""
    desk = desk_with(color_scheme=scheme)
    desk.open(plan="off L1E3")
    edited, plain, ground = desk.lightness("L1E3"), desk.lightness("L2E8"), desk.ground()
    assert edited > 0.8
    assert plain < 0.4  # the highest score
    assert ground > 0.9 if scheme == "light" else ground < 0.15
