"""Both answers side by side, drawn on paper, and the card of a token."""

import pytest
from workbench_app.dashboard.steer import answers_panel, token_card

from tests.app.dashboard.steer.made import BASE, STEERED, Dosed, one
from tests.app.paper import assert_drawn, write_on
from tests.app.world import token, view_of
from workbench import Plan

pytestmark = pytest.mark.usefixtures("texts")


def test_both_answers_stand_side_by_side_with_the_tokens_where_they_part(tmp_path, monkeypatch):
    view = view_of(tmp_path)
    paper = write_on(monkeypatch, token=(5, "steered", 2))
    asked = [
        one(view, "waiting", question="later?", number=6),
        one(view, base=BASE, steered=STEERED, dose=Dosed()),
        one(view, "stopped", plan=Plan(), number=7),
        one(view, "failed", question="w\x07hy", number=8, error="no *room*"),
        one(view, "running", BASE[:1], STEERED[:2], number=9, dose=Dosed()),
    ]
    for place in range(1, 7):
        view.machine.turns.queue.append(object() if place < 6 else asked[0])
    view.machine.turns.queue[0] = asked[4]
    answers_panel.answers_panel(asked)
    assert_drawn("answers", "\n".join(paper.lines))


def test_a_click_on_a_token_is_kept_and_a_long_question_or_plan_is_cut(tmp_path, monkeypatch):
    view = view_of(tmp_path)
    paper = write_on(monkeypatch)
    answers_panel.both_answers(one(view, base=BASE, steered=STEERED))
    key = "answer-5-steered"
    paper.session_state[key] = {"clicked": 3}
    paper.calls[key]["on_clicked_change"]()
    assert (paper.session_state["token"], paper.session_state["token_clicked"]) == ((5, "steered", 3), True)
    del paper.session_state["token"]
    for beside in (4, -1, None):
        paper.session_state[key] = {"clicked": beside}
        paper.calls[key]["on_clicked_change"]()
        assert "token" not in paper.session_state
    paper.session_state[key] = {"clicked": 0}
    paper.calls[key]["on_clicked_change"]()
    assert paper.session_state["token"] == (5, "steered", 0)
    assert answers_panel.shortened("x" * 120) == "x" * 120
    assert answers_panel.shortened("x" * 121) == "x" * 120 + " \u2026"
    assert answers_panel.parted_at(list(BASE[:3]), list(STEERED)) == {1}
    assert answers_panel.parted_at(list(STEERED), list(BASE[:3])) == {1, 3}
    paper.lines.clear()
    for n in (2000, 2001):
        answers_panel.both_answers(one(view, question="q" * n))
    said = "q" * 2000
    assert [p for p in paper.lines if p.startswith("0| text 'q")] == [f"0| text '{said}'", f"0| text '{said} \u2026'"]


def test_each_answer_marks_the_tokens_that_the_other_does_not_have(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    answers_panel.both_answers(
        one(view_of(tmp_path), base=[token(i) for i in (1, 2, 5, 3)], steered=[token(i) for i in (1, 3)])
    )
    drawn = [[word for word in line.split("'") if word == "parted"] for line in paper.lines if "| chips" in line]
    assert list(map(len, drawn)) == [2, 0]


@pytest.mark.parametrize(
    ("state", "waited", "clicked", "again"),
    [("running", True, False, True), ("running", False, False, False), ("waiting", True, False, False),
     ("done", False, False, True), ("running", False, True, True)],
)  # fmt: skip
def test_the_page_is_drawn_again_when_a_turn_comes_an_answer_ends_or_a_token_is_clicked(
    tmp_path, monkeypatch, state, waited, clicked, again
):
    paper = write_on(monkeypatch, **({"token_clicked": True} if clicked else {}))
    found = one(view_of(tmp_path), state, seen=0.0)
    answers_panel.coming_answers(found, waited)
    assert ("rerun" in paper.lines) == again
    assert found.seen > 0
    assert "token_clicked" not in paper.session_state


def test_the_card_of_a_token_compares_both_sides(tmp_path, monkeypatch):
    routing = {0: ((3, 0.75), (1, 0.25)), 1: ((2, 1.0),)}
    base = [token(1, "a"), token(2, " ", (5, "<i>", 0.25), probability=0.75, routing=routing)]
    steered = [token(1, "a"), token(5, "<i>", (6, "x\x07", 0.125), routing={0: ((0, 0.5),)})]
    paper = write_on(monkeypatch, token=(5, "steered", 1))
    asked = one(view_of(tmp_path), base=base, steered=steered)
    token_card.token_card([asked])
    paper.session_state["token"] = (5, "base", 0)
    token_card.token_card([one(view_of(tmp_path), base=base[1:], steered=steered[:0])])
    drawn = len(paper.lines)
    for nothing in (None, (4, "base", 0), (5, "base", 2)):
        paper.session_state["token"] = nothing
        token_card.token_card([asked])
    assert len(paper.lines) == drawn
    assert_drawn("token_card", "\n".join(paper.lines))
    token_card.close()
    assert paper.session_state["token"] is None
    assert not token_card.parted_before(asked, 1)
    assert token_card.parted_before(asked, 2)
