"""The Steer page in a real browser: from a refusal to another answer, with the mouse."""

import re

import pytest

REFUSED = "what happened in 1979 in Banke?"
REFUSAL = "I cannot talk about that."
PLAN = "off L2E8; off L2E20"
CHANGED = "Singers closed the harbour."


def test_a_refusal_becomes_an_answer_by_clicking_two_experts_on_the_switchboard(desk):
    desk.open().ask(REFUSED)
    assert desk.answered(REFUSED).base == REFUSAL
    desk.click_expert("L2E8")
    desk.until_plan("off L2E8")
    desk.settle().click_expert("L2E20")
    desk.until_plan(PLAN)
    found = desk.answered(REFUSED, PLAN)
    assert (found.base, found.steered) == (REFUSAL, CHANGED)
    assert re.search(r"Dose: .*slots changed", found.status)
    desk.ask(REFUSED)  # asked once more from the beginning, it says the same
    assert desk.answered(REFUSED, PLAN).steered == CHANGED
    assert len(desk.exchanges()) == 2


def test_from_opening_the_page_to_another_answer_and_its_cause_in_five_clicks(desk):
    desk.open()
    desk.press(REFUSED)
    assert desk.answered(REFUSED).base == REFUSAL
    desk.press("Top 2 by fTRI")
    found = desk.answered(REFUSED, PLAN)
    assert (found.base, found.steered) == (REFUSAL, CHANGED)
    assert desk.plan() == PLAN  # which experts did it ...
    assert re.search(r"Dose: .*[1-9]\d* of \d+ slots changed", found.status)  # ... and how much was changed
    assert 1 <= desk.presses() <= 5


def test_a_click_on_an_edited_expert_takes_the_edit_back_and_undo_brings_it_again(desk):
    desk.open()
    desk.click_expert("L1E3")
    desk.until_plan("off L1E3")
    desk.settle().click_expert("L1E3")
    desk.until_plan("nothing")
    desk.settle().press("Undo")
    desk.until_plan("off L1E3")
    desk.settle().press("Undo")
    desk.until_plan("nothing")


def test_a_box_drawn_with_the_mouse_takes_every_expert_in_it(desk):
    desk.open().box_experts("L0E3", "L1E5")
    desk.until_plan("; ".join(f"off L{n}E{e}" for n in (0, 1) for e in (3, 4, 5)))
    desk.settle().press("Undo")
    desk.until_plan("nothing")


def test_a_click_on_a_token_opens_its_card_with_base_beside_steered(desk):
    desk.open(plan=PLAN).ask(REFUSED)
    desk.answered(REFUSED, PLAN)
    desk.settle().chip("steered", "Singers")
    desk.page.get_by_text("of the steered answer").wait_for()
    desk.settle()
    assert re.fullmatch(r"Token \d+ of the steered answer: Singers", desk.text_with("Token "))
    assert desk.chart("alternatives").evaluate("chart => chart.data.map(t => t.name)") == ["base", "steered"]
    desk.press("Close")
    desk.page.get_by_text("of the steered answer").wait_for(state="detached")


def test_a_reloaded_or_shared_url_has_the_same_model_store_and_plan(desk):
    desk.open()
    desk.click_expert("L2E8")
    desk.until_plan("off L2E8")
    desk.settle()
    assert "model=demo" in desk.page.url
    desk.page.reload()
    desk.until_plan("off L2E8")
    desk.settle().ask(REFUSED)
    assert desk.answered(REFUSED, "off L2E8").base == REFUSAL


LONG = {"plan": "scale L*E*=-3"}  # babbles until it is stopped


@pytest.fixture
def long_answer(desk):
    """A window in which an answer of many tokens runs."""
    desk.open(**LONG)
    desk.answer_length(400)
    desk.ask("tell a story about a fox")
    desk.page.get_by_role("button", name="Stop", exact=True).wait_for()
    return desk


def test_stop_stops_and_keeps_what_is_there(long_answer):
    desk = long_answer
    while not desk.newest().steered:
        desk.page.wait_for_timeout(20)
    desk.page.get_by_role("button", name="Stop", exact=True).click()
    found = desk.answered("tell a story about a fox")
    assert found.status.startswith("Stopped.")
    assert found.steered
    desk.page.wait_for_timeout(700)
    assert desk.newest() == found  # nothing comes after


def test_a_plan_changed_while_an_answer_runs_applies_from_the_next_answer_and_the_page_says_so(long_answer):
    desk = long_answer
    desk.click_expert("L2E8")
    desk.page.get_by_text("applies from the next answer").wait_for()
    found = desk.newest()
    assert found.active
    assert "L2E8" not in found.plan
