"""The page Steer, drawn on paper: every line of it, and what its buttons do."""

import pytest
from workbench_app.dashboard.steer import edits, examples, plan_line, quick_picks
from workbench_app.dashboard.steer import page as steer_page
from workbench_app.dashboard.steer.answering import Answering

from tests.app.dashboard.steer.made import BASE, PLAN, STEERED, Dosed, one
from tests.app.paper import assert_drawn, write_on
from tests.app.world import SHAPE, view_of
from tests.support.stores import random_store
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.anatomy import Anatomy, LayerAnatomy

pytestmark = pytest.mark.usefixtures("texts")


def test_the_whole_page_before_and_after_a_question(page, monkeypatch):
    view, paper, _ = page
    monkeypatch.setitem(examples.EXAMPLES, "tiny", ("what *now*?", "and then?"))
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
           "side' key='question' on_submit=ask_what_was_typed args=[view]" in paper.lines  # fmt: skip
    assert "coloured by the answer just generated" in next(p for p in paper.lines if p.startswith("board"))
    assert any(p.startswith("caption 'No store of this model yet") for p in paper.lines)
    assert [paper.calls[f"example-{text}"]["args"][1] for text in examples.OF_ANY_TEXT] == list(examples.OF_ANY_TEXT)
    assert any(
        "popover| code 'workbench steer tiny --prompt ... --raw --off L0E1' language='bash'" in p for p in paper.lines
    )


def test_a_question_is_asked_with_the_plan_and_the_limit_of_the_session(page):
    view, paper, started = page
    before = [one(view, "running", number=i) for i in range(6)]
    paper.session_state.update(asked=before, question="  ", plan=PLAN, limit=7, token=(1, "base", 0))
    steer_page.ask_what_was_typed(view)
    assert not started
    paper.session_state.question = "why?"
    steer_page.ask_what_was_typed(view)
    (new,) = started
    assert (new.machine, new.question, new.plan, new.limit) == (view.machine, "why?", PLAN, 7)
    assert all(o.stopping for o in before)
    assert paper.session_state.asked == [*before[1:], new]
    assert (paper.session_state.token, paper.session_state.answered_plan) == (None, PLAN)
    del paper.session_state["limit"]
    steer_page.ask_question(view, "again?")
    assert started[1].limit == 64


def test_the_last_question_is_asked_again_when_the_plan_changes(page):
    view, paper, started = page
    other, last = one(view, number=3), one(view, "running", BASE, number=4)
    paper.session_state.update(answered_plan=Plan(), plan=PLAN, token=(4, "base", 1), live=False)
    paper.session_state.asked = [other, last]
    assert steer_page.after_a_change([]) == ([], "")
    running = "The plan changed while an answer is running: it applies from the next answer."
    assert steer_page.after_a_change([other, last]) == ([other, last], running)
    last.state = "done"
    assert steer_page.after_a_change([other, last]) == (
        [other, last], "The plan changed: it applies from the next answer.",
    )  # fmt: skip
    del paper.session_state["live"]
    asked, said = steer_page.after_a_change([other, last])
    assert (asked, said, started) == ([other, asked[1]], "", [asked[1]])
    assert paper.session_state.asked == asked
    assert (asked[1].number, asked[1].plan, asked[1].base, asked[1].base_is_known) == (4, PLAN, list(BASE), True)
    assert (paper.session_state.answered_plan, paper.session_state.token) == (PLAN, None)
    assert steer_page.after_a_change(asked) == (asked, "")
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
    assert quick_picks.chosen_tool(view) == found
    quick_picks.change_plan(view, [ExpertRef(0, 1)])
    written = {"scale": "scale L0E1=3 in prompt", "bias": "bias L0E1=3 in generated", "mute": "mute L0E1"}
    assert str(paper.session_state.plan) == written.get(edit, "off L0E1")
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint


def test_quick_picks_make_the_plan_and_what_cannot_be_done_is_said(page, monkeypatch):
    view, paper, _ = page
    found = [ExpertRef(1, 0)]

    class Scores:
        def flagged(self, flag):
            return found if flag == "super expert" else []

    monkeypatch.setattr(
        quick_picks,
        "scores_of",
        lambda path, method: Scores() if (path, method) == (view.store_path, "super_experts") else 0,
    )
    paper.session_state.plan = Plan.parse("mute L1E2")
    quick_picks.add_edits(view, [ExpertRef(0, 2), ExpertRef(1, 3)])
    assert str(paper.session_state.plan) == "off L0E2; off L1E3"
    quick_picks.pick_super(view)
    assert str(paper.session_state.plan) == "off L1E0"
    found.clear()
    quick_picks.pick_super(view)
    assert paper.session_state.pop("problem").startswith("This model has no super experts by the default rule;")
    quick_picks.pick_random(view, 1)
    assert len(paper.session_state.plan) == 1
    quick_picks.add_edits(view, [ExpertRef(0, e) for e in range(3)])
    assert "selects 2 of 4" in paper.session_state.pop("problem")
    quick_picks.change_plan(view, [ExpertRef(0, e) for e in range(3)])
    assert "selects 2 of 4" in paper.session_state.pop("problem")

    def refuse(*_):
        raise WorkbenchError("no norms")

    monkeypatch.setattr(quick_picks, "scores_of", refuse)
    for look, said in ((view, "no norms"), (view_of(view.catalog.project), "Super experts are found in a store")):
        quick_picks.pick_super(look)
        assert paper.session_state.pop("problem").startswith(said)


def test_random_picks_are_as_many_as_there_are(page, monkeypatch):
    import random

    view, paper, _ = page
    asked = []
    monkeypatch.setattr(random, "sample", lambda refs, n: (asked.append((len(refs), n)), [refs[5], refs[2]])[1])
    quick_picks.pick_random(view, 9)
    assert asked == [(8, 8)]
    assert str(paper.session_state.plan) == "off L0E2; off L1E1"


def test_a_plan_as_text_or_as_a_file_is_taken_or_refused(page):
    view, paper, _ = page
    plan_line.use_text(view, "mute L1E3")
    assert (str(paper.session_state.plan), paper.session_state.plan.fingerprint) == ("mute L1E3", SHAPE.fingerprint)
    plan_line.use_file(view, b"  " + Plan.parse("drop L0E0").to_json().encode())
    assert str(paper.session_state.plan) == "drop L0E0"
    plan_line.use_file(view, b"[]")
    assert paper.session_state.pop("problem").startswith("This file is not a plan; it should be JSON as saved here")
    plan_line.use_file(
        view, Plan.parse("drop L0E0").for_model(SHAPE).to_json().replace(SHAPE.fingerprint, "other").encode()
    )
    assert "problem" in paper.session_state
    plan_line.use_text(view, "off L7E0")
    assert "problem" in paper.session_state
    assert str(paper.session_state.plan) == "drop L0E0"


def test_a_plan_is_offered_as_code_to_paste(page):
    view, paper, _ = page
    paper.answers["plan-file"] = type("File", (), {"getvalue": lambda self: b"{}"})()
    paper.session_state.plan = Plan.parse("scale L0E1=2 in prompt", SHAPE)
    plan_line.plan_menu(view, "why?")
    assert_drawn("plan_menu", "\n".join(paper.lines))


def test_questions_to_begin_with_are_those_of_the_store(tmp_path, store):
    """Two prompts whose user says the same: one example; a store without words has none of its own."""
    assert examples.examples(view_of(tmp_path, store)) == ("in<b>",)
    assert examples.examples(view_of(tmp_path)) == examples.OF_ANY_CHAT
    assert examples.examples(view_of(tmp_path, template=None)) == examples.OF_ANY_TEXT
    assert examples.examples(view_of(tmp_path, random_store(tmp_path / "wordless"))) == examples.OF_ANY_CHAT


@pytest.mark.parametrize(
    ("layers", "experts", "beside"), [(30, 28, True), (48, 128, False), (4, 32, False), (32, 8, True), (16, 64, False)]
)
def test_a_board_stands_beside_the_answers_unless_it_is_wide_or_low(layers, experts, beside):
    shape = Anatomy("m", "f", 8, 9, "w", tuple(LayerAnatomy(n, experts, 2) for n in range(layers)))
    assert steer_page.stands_beside(shape) == beside


def test_a_board_beside_the_answers_has_a_column_of_its_own(page, monkeypatch):
    view, paper, _ = page
    monkeypatch.setattr(steer_page, "stands_beside", lambda anatomy: True)
    steer_page.show(view)
    board = next(p for p in paper.lines if "switchboard" in p)
    box = next(p for p in paper.lines if "chat_input" in p)
    assert (board.startswith("0| container| board"), box.startswith("1| container| chat_input")) == (True, True)
