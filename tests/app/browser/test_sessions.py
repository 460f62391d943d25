"""Several people at one server: everybody gets their own plan's answers, sees their place, and who leaves frees the model."""

import pytest

from tests.support import families
from workbench import Plan, compare, read_prompts
from workbench.responses import length

PLANS = (
    "off L2E8; off L2E20",
    "off L2E8",
    "mute L3E30",
    "drop L1E16",
    "force L0E3",
    "scale L3E22=4",
    "bias L2E28=2",
    "scale L*E*=0.5 in generated",
)
QUESTIONS = 25


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 200 questions in eight tabs on a machine that does much else
def test_eight_sessions_with_eight_plans_get_the_librarys_answers_to_25_questions_each(browser, dashboard):
    from tests.app.browser.desk import Desk

    asked = read_prompts("refusal_heldout").prompts[:QUESTIONS]
    questions = [p.messages[0]["content"] for p in asked]
    window = browser.new_context(viewport={"width": 700, "height": 500})
    desks = [Desk.at(window, dashboard) for _ in PLANS]
    try:
        for desk, plan in zip(desks, PLANS, strict=True):
            desk.open(plan=plan)
        found = _together(desks, questions)
    finally:
        window.close()
    for plan, answers in zip(PLANS, found, strict=True):
        assert answers == _of_the_library(asked, plan), plan
    assert len({tuple(steered for _, steered in answers) for answers in found}) == len(
        PLANS
    )  # no two plans say the same


def _together(desks, questions):
    """(base, steered) answers of each desk; a desk asks its next question as soon as it has read an answer."""
    found = [[] for _ in desks]
    before = [None] * len(desks)
    for desk in desks:
        desk.ask(questions[0])
    while any(len(answers) < len(questions) for answers in found):
        for i, desk in enumerate(desks):
            n = len(found[i])
            if n == len(questions):
                continue
            last, before[i] = before[i], desk.finished(questions[n])
            if last is not None and last == before[i]:
                found[i].append((last.base, last.steered))
                if n + 1 < len(questions):
                    desk.ask(questions[n + 1])
        desks[0].page.wait_for_timeout(50)
    return found


def _of_the_library(prompts, plan):
    model = families.get("demo")
    said = compare(
        model, list(prompts), Plan.parse(plan, model.anatomy), metrics={"length": length}, controls=0, max_new_tokens=64,
        progress=False,
    ).responses  # fmt: skip
    return list(zip(said["base"], said["steered"], strict=True))


def test_who_waits_sees_the_place_in_the_queue_and_gets_the_model_when_the_other_tab_closes(desk, desk_with):
    other = desk_with()
    other.open()
    desk.open(plan="scale L*E*=-3")  # babbles until it is stopped
    desk.answer_length(480)
    desk.ask("tell a story about a fox")
    desk.page.get_by_role("button", name="Stop", exact=True).wait_for()
    other.ask("calculate 432 + 497?")
    other.page.get_by_text("Waiting for the model, place 1 in the queue.").wait_for()
    desk.page.close()
    assert other.answered("calculate 432 + 497?").base
