"""The page Steer, drawn on paper: every line of it, what its buttons do, both answers, and the card of a token."""

import pytest
from workbench_app.dashboard.questions import colours
from workbench_app.dashboard.session import Catalog, Machine, View
from workbench_app.dashboard.steer import answering, answers_panel, edits, token_card
from workbench_app.dashboard.steer import page as steer_page
from workbench_app.dashboard.steer.answering import Answering
from workbench_app.dashboard.widgets import expert_board as board

from tests.app.paper import assert_drawn, write_on
from tests.app.world import SHAPE, store_at, token, view_of
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.routing import DoseCounts

PLAN = Plan.parse("off L0E1", SHAPE)


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "stores" / "one")


@pytest.fixture(autouse=True)
def _texts(monkeypatch):
    """A token adds its id in brackets, and 9 is half a character; whether the answer ended stands at its end."""
    monkeypatch.setattr(
        answering, "pieces", lambda tokenizer, ids, ended: ["" if i == 9 else f"[{i}{'.' * ended}]" for i in ids]
    )


def one(view, state="done", base=(), steered=(), plan=PLAN, question="why?", number=5, **more):
    found = Answering(view.machine, question, plan, 64, list(base), list(steered), number=number, **more)
    found.state = state
    return found


class Dosed:
    def counts(self):
        return DoseCounts(4, 2, 16, 3, 0)


BASE = (token(1, "a"), token(2, "b"), token(3, "c", probability=0.125), token(0, "</s>", end=True))
STEERED = (token(1, "a"), token(9, "\ufffd"), token(3, "c"), token(4, "d\n"))


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
        view.machine.turns._queue.append(object() if place < 6 else asked[0])
    view.machine.turns._queue[0] = asked[4]
    answers_panel.answers_panel(asked)
    assert_drawn("answers", "\n".join(paper.lines))


def test_a_click_on_a_token_is_kept_and_a_long_question_or_plan_is_cut(tmp_path, monkeypatch):
    view = view_of(tmp_path)
    paper = write_on(monkeypatch)
    answers_panel._both(one(view, base=BASE, steered=STEERED))
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
    assert answers_panel._short("x" * 120) == "x" * 120
    assert answers_panel._short("x" * 121) == "x" * 120 + " \u2026"
    assert answers_panel._parted(list(BASE[:3]), list(STEERED)) == {1}
    assert answers_panel._parted(list(STEERED), list(BASE[:3])) == {1, 3}
    paper.lines.clear()
    for n in (2000, 2001):
        answers_panel._both(one(view, question="q" * n))
    said = "q" * 2000
    assert [p for p in paper.lines if p.startswith("0| text 'q")] == [f"0| text '{said}'", f"0| text '{said} \u2026'"]


def test_each_answer_marks_the_tokens_that_the_other_does_not_have(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    answers_panel._both(
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
    answers_panel._coming(found, waited)
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
    token_card._close()
    assert paper.session_state["token"] is None
    assert not token_card._parted_before(asked, 1)
    assert token_card._parted_before(asked, 2)


# ---- the page


@pytest.fixture
def page(tmp_path, store, monkeypatch):
    """A view of the store, the paper of its page, and what was started instead of a thread."""
    started = []
    monkeypatch.setattr(Answering, "start", lambda self: (started.append(self), self)[1])
    paper = write_on(monkeypatch, plan=Plan())
    return view_of(tmp_path, store), paper, started


def test_the_whole_page_before_and_after_a_question(page, monkeypatch):
    view, paper, _ = page
    monkeypatch.setitem(steer_page.EXAMPLES, "tiny", ("what *now*?", "and then?"))
    paper.session_state.colour = "largest output"
    steer_page.show(view)
    paper.lines.append("---- after a question, under a plan")
    paper.answers |= {"colour": "load", "edit": "scale", "written": "mute L0E2"}
    paper.session_state.update(
        plan=PLAN, past=[Plan()], colour="load", problem="no *such* expert", edit="scale", answered_plan=PLAN
    )
    paper.session_state.asked = [one(view, base=BASE, steered=STEERED, dose=Dosed())]
    steer_page.show(view)
    assert "problem" not in paper.session_state
    assert_drawn("steer", "\n".join(paper.lines))


def test_a_model_without_a_template_or_a_store_says_so(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, plan=PLAN)
    view = view_of(tmp_path, template=None)
    steer_page.show(view)
    assert "container| chat_input 'No chat template: the model goes on with what you write; both answers stand side by " \
           "side' key='question' on_submit=_asked args=[view]" in paper.lines  # fmt: skip
    assert "coloured by fTRI, refused against answered" in next(p for p in paper.lines if p.startswith("board"))
    assert (
        "caption 'This model has no store yet, so nothing is ranked; make one under Captures and runs\\\\.'"
        in paper.lines
    )
    assert any(
        "popover| code 'workbench steer tiny --prompt ... --raw --off L0E1' language='bash'" in p for p in paper.lines
    )


def test_a_question_is_asked_with_the_plan_and_the_limit_of_the_session(page):
    view, paper, started = page
    before = [one(view, "running", number=i) for i in range(6)]
    paper.session_state.update(asked=before, question="  ", plan=PLAN, limit=7, token=(1, "base", 0))
    steer_page._asked(view)
    assert not started
    paper.session_state.question = "why?"
    steer_page._asked(view)
    (new,) = started
    assert (new.machine, new.question, new.plan, new.limit) == (view.machine, "why?", PLAN, 7)
    assert all(o.stopping for o in before)
    assert paper.session_state.asked == [*before[1:], new]
    assert (paper.session_state.token, paper.session_state.answered_plan) == (None, PLAN)
    del paper.session_state["limit"]
    steer_page._ask(view, "again?")
    assert started[1].limit == 64


def test_the_last_question_is_asked_again_when_the_plan_changes(page):
    view, paper, started = page
    other, last = one(view, number=3), one(view, "running", BASE, number=4)
    paper.session_state.update(answered_plan=Plan(), plan=PLAN, token=(4, "base", 1), live=False)
    paper.session_state.asked = [other, last]
    assert steer_page._after_a_change([]) == ([], "")
    running = "The plan changed while an answer is running: it applies from the next answer."
    assert steer_page._after_a_change([other, last]) == ([other, last], running)
    last.state = "done"
    assert steer_page._after_a_change([other, last]) == (
        [other, last], "The plan changed: it applies from the next answer.",
    )  # fmt: skip
    del paper.session_state["live"]
    asked, said = steer_page._after_a_change([other, last])
    assert (asked, said, started) == ([other, asked[1]], "", [asked[1]])
    assert paper.session_state.asked == asked
    assert (asked[1].number, asked[1].plan, asked[1].base, asked[1].base_is_known) == (4, PLAN, list(BASE), True)
    assert (paper.session_state.answered_plan, paper.session_state.token) == (PLAN, None)
    assert steer_page._after_a_change(asked) == (asked, "")
    paper.session_state.update(asked=[last], answered_plan=Plan(), live=False)
    steer_page.show(view)
    assert "caption 'The plan changed: it applies from the next answer.'" in paper.lines
    elsewhere = one(view_of(view.catalog.project), number=1)
    paper.session_state.update(asked=[elsewhere], plan=Plan())
    paper.lines.clear()
    steer_page.show(view)  # another model's questions are not shown
    assert not [p for p in paper.lines if "Stop" in p or "text 'why?'" in p]


def test_an_answer_that_had_stopped_is_known_only_in_part(tmp_path):
    view = view_of(tmp_path)
    assert one(view, "stopped", BASE).again(PLAN).base == []
    assert not one(view, "stopped", BASE).again(PLAN).base_is_known
    assert one(view, "stopped", BASE, base_is_known=True).again(PLAN).base == list(BASE)
    again = Answering(view.machine, "q", Plan(), 3, number=8).again(PLAN)
    assert (again.question, again.limit, again.number) == ("q", 3, 8)


@pytest.mark.parametrize(
    ("edit", "phase", "found"),
    [(None, None, edits.Tool("off", 2.0)), ("scale", "prompt", edits.Tool("scale", 3.0, "prompt")),
     ("bias", "generated", edits.Tool("bias", 3.0, "generated")), ("mute", "everywhere", edits.Tool("mute", 3.0))],
)  # fmt: skip
def test_a_click_does_what_the_boxes_say(page, edit, phase, found):
    view, paper, _ = page
    paper.session_state.update({k: v for k, v in {"edit": edit, "phase": phase}.items() if v})
    if edit:
        paper.session_state.value = 3
    assert steer_page._tool() == found
    steer_page._change(view, [ExpertRef(0, 1)])
    written = {"scale": "scale L0E1=3 in prompt", "bias": "bias L0E1=3 in generated", "mute": "mute L0E1"}
    assert str(paper.session_state.plan) == written.get(edit, "off L0E1")
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint


def test_quick_picks_make_the_plan_and_what_cannot_be_done_is_said(page, monkeypatch):
    view, paper, _ = page
    found = {"ftri": [ExpertRef(1, 3), ExpertRef(0, 2)], "super_experts": [ExpertRef(1, 0)]}

    class Scores:
        def __init__(self, method):
            self.method = method

        def top(self, n):
            return found[self.method][:n]

        def flagged(self, flag):
            return found[self.method] if flag == "super expert" else []

    monkeypatch.setattr(steer_page, "ranked", lambda asked, method: Scores(method) if asked is view else None)
    paper.session_state.plan = Plan.parse("mute L1E2")
    steer_page._pick_top(view, 2)
    assert str(paper.session_state.plan) == "off L0E2; off L1E3"
    steer_page._pick_super(view)
    assert str(paper.session_state.plan) == "off L1E0"
    found["super_experts"] = []
    steer_page._pick_super(view)
    assert paper.session_state.pop("problem").startswith("This model has no super experts by the default rule;")
    steer_page._pick_random(view, 1)
    assert len(paper.session_state.plan) == 1
    steer_page._add(view, [ExpertRef(0, e) for e in range(3)])
    assert "selects 2 of 4" in paper.session_state.pop("problem")
    steer_page._change(view, [ExpertRef(0, e) for e in range(3)])
    assert "selects 2 of 4" in paper.session_state.pop("problem")

    def refuse(*_):
        raise WorkbenchError("no store")

    monkeypatch.setattr(steer_page, "ranked", refuse)
    for pick in (lambda: steer_page._pick_top(view, 2), lambda: steer_page._pick_super(view)):
        pick()
        assert paper.session_state.pop("problem") == "no store"


def test_random_picks_are_as_many_as_there_are(page, monkeypatch):
    import random

    view, paper, _ = page
    asked = []
    monkeypatch.setattr(random, "sample", lambda refs, n: (asked.append((len(refs), n)), [refs[5], refs[2]])[1])
    steer_page._pick_random(view, 9)
    assert asked == [(8, 8)]
    assert str(paper.session_state.plan) == "off L0E2; off L1E1"


def test_a_plan_as_text_or_as_a_file_is_taken_or_refused(page):
    view, paper, _ = page
    steer_page._use_text(view, "mute L1E3")
    assert (str(paper.session_state.plan), paper.session_state.plan.fingerprint) == ("mute L1E3", SHAPE.fingerprint)
    steer_page._use_file(view, b"  " + Plan.parse("drop L0E0").to_json().encode())
    assert str(paper.session_state.plan) == "drop L0E0"
    steer_page._use_file(view, b"[]")
    assert paper.session_state.pop("problem").startswith("This file is not a plan; it should be JSON as saved here")
    steer_page._use_file(
        view, Plan.parse("drop L0E0").for_model(SHAPE).to_json().replace(SHAPE.fingerprint, "other").encode()
    )
    assert "problem" in paper.session_state
    steer_page._use_text(view, "off L7E0")
    assert "problem" in paper.session_state
    assert str(paper.session_state.plan) == "drop L0E0"


def test_a_plan_is_offered_as_code_to_paste(page):
    view, paper, _ = page
    paper.answers["plan-file"] = type("File", (), {"getvalue": lambda self: b"{}"})()
    paper.session_state.plan = Plan.parse("scale L0E1=2 in prompt", SHAPE)
    steer_page._plan_menu(view, "why?")
    assert_drawn("plan_menu", "\n".join(paper.lines))


# ---- the colours of the board


def test_the_board_is_coloured_by_what_was_asked(tmp_path, store, monkeypatch):
    view = view_of(tmp_path, store)
    load = colours.colouring(view, "load", [])
    # layer 0: expert 0 has 3 of 8 slots, 1 has 2, 2 has 3; layer 1 the same, one further
    assert load.values == {
        ExpertRef(n, (e + n) % 4): s for n in (0, 1) for e, s in enumerate((0.375, 0.25, 0.375, 0.0))
    }
    assert (load.unit, load.palette, load.note) == ("share of the layer's selections", "Cividis", "")
    largest = colours.colouring(view, "largest output", [])
    assert {str(ref): v for ref, v in largest.values.items()} == {
        f"L{n}E{(e + n) % 4}": 100.0 * (e + 1) for n in (0, 1) for e in range(3)
    }
    none = colours.colouring(view_of(tmp_path), "load", [])
    assert none == colours.Colouring({}, load.unit, "Cividis", "This model has no store yet, so nothing is ranked; make one "
                                     "under Captures and runs.")  # fmt: skip
    tokens = [token(1, routing={0: ((1, 0.5), (2, 0.5))}), token(2, routing={0: ((1, 1.0),), 1: ((3, 1.0),)})]
    said = colours.colouring(view, colours.THIS_ANSWER, tokens)
    assert said == colours.Colouring(
        {ExpertRef(0, 1): 1.0, ExpertRef(0, 2): 0.5, ExpertRef(1, 3): 0.5},
        "share of this answer's tokens",
        "Cividis",
        "",
    )
    assert colours.colouring(view, colours.THIS_ANSWER, []).note == "Nothing was generated yet."
    assert colours.options_of(view, "usage") == {}
    assert colours.options_of(view, "ftri") == {"target": "refused", "baseline": "answered", "tokens": "last_prompt"}
    monkeypatch.setattr(colours, "committed_choice", lambda: type("C", (), {"options": {"tokens": "prompt"}})())
    assert colours.options_of(view, "ftri")["tokens"] == "last_prompt"
    demo = View(Catalog({}, {}, tmp_path), "demo", Machine(None), None, None)
    assert colours.options_of(demo, "ftri") == {"target": "refused", "baseline": "answered", "tokens": "prompt"}


def test_the_page_colours_by_the_steered_answer_else_by_the_base(page, monkeypatch):
    view, paper, _ = page
    seen = []
    monkeypatch.setattr(
        steer_page,
        "colouring",
        lambda v, choice, tokens: (
            seen.append((choice, [t.chosen.id for t in tokens])),
            colours.Colouring({}, "", "Cividis", "*"),
        )[1],
    )
    monkeypatch.setattr(steer_page, "switchboard", lambda *given: paper.draw("switchboard", *given[1:4]))
    first, last = one(view, base=BASE[:1]), one(view, base=BASE[:2], steered=STEERED[:3])
    paper.session_state.colour = colours.THIS_ANSWER
    for asked in ([], [last, first], [first, last]):
        steer_page._board(view, asked)
    paper.session_state.colour = "load"
    steer_page._board(view, [first, last])
    assert seen == [
        (colours.THIS_ANSWER, []),
        (colours.THIS_ANSWER, [1]),
        (colours.THIS_ANSWER, [1, 9, 3]),
        ("load", []),
    ]
    assert paper.lines[-1] == "caption '\\\\*'"


def test_the_board_gets_numbers_colours_and_edits_and_takes_only_experts_that_are_on_it(monkeypatch):
    paper, picked = write_on(monkeypatch), []
    rows = {0: [0.5, None, -2.0], 3: [1.0]}
    shown = board.Board("<b>\x07", rows, "u\x07", "PuOr_r", {0: [1, 0, 2], 3: [4]}, ExpertRef(0, 2), "hint")
    board.board(shown, Plan.parse("off L0E1; mute L3E0; scale L0S0=2"), "key", picked.append)
    assert_drawn("board", paper.lines[0].replace("}, {", "},\n{"))
    press = paper.calls["key"]["on_picked_change"]
    for names in (["L0E1", "L3E0", "L0E1"], ["L0E3", "L9E0", "nonsense", "L0S0", 7], None, ["L0E2", "L3E1"]):
        paper.session_state["key"] = {"picked": names}
        press()
    assert picked == [[ExpertRef(0, 1), ExpertRef(3, 0)], [ExpertRef(0, 2)]]


@pytest.mark.parametrize(
    ("values", "palette", "found"),
    [([0.5, None, -2.0], "PuOr_r", (-2.0, 2.0)), ([None], "Cividis", (0.0, 1.0)), ([None], "PuOr_r", (-1.0, 1.0)),
     ([1.0, 4.0], "Cividis", (0.0, 4.0)), ([2.0, 4.0], "Cividis", (0.0, 4.0)), ([2.5, 4.0], "Cividis", (2.5, 4.0)),
     ([4.0, 4.0], "Cividis", (0.0, 4.0)), ([0.0], "Cividis", (0.0, 1.0))],
)  # fmt: skip
def test_the_colours_end_at_the_largest_value_and_begin_at_zero_unless_all_are_far_from_it(values, palette, found):
    assert board.scale(board.Board("", {0: values}, "", palette)) == found


def test_colours_of_a_palette_are_numbers():
    assert board._rgb("#0a10ff") == (10, 16, 255)
    assert board._rgb("rgb(1, 2, 3)") == (1, 2, 3)
