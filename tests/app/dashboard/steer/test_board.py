"""The board of experts: its colours, by what was asked, and the edits on it."""

import pytest
from workbench_app.dashboard.questions import colours
from workbench_app.dashboard.session import Catalog, Machine, View
from workbench_app.dashboard.steer import page as steer_page
from workbench_app.dashboard.widgets import expert_board as board

from tests.app.dashboard.steer.made import BASE, STEERED, one
from tests.app.paper import assert_drawn, write_on
from tests.app.world import token, view_of
from workbench import ExpertRef, Plan

pytestmark = pytest.mark.usefixtures("texts")


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
        steer_page.draw_board(view, asked)
    paper.session_state.colour = "load"
    steer_page.draw_board(view, [first, last])
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
    assert board.rgb("#0a10ff") == (10, 16, 255)
    assert board.rgb("rgb(1, 2, 3)") == (1, 2, 3)
