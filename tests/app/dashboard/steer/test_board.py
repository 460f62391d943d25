"""The board of experts: its colours, by what was asked, and the edits on it."""

import pytest
from workbench_app.dashboard.questions import colours
from workbench_app.dashboard.steer import edits, quick_picks
from workbench_app.dashboard.widgets import expert_board as board

from tests.app.dashboard.steer.made import one
from tests.app.paper import assert_drawn, write_on
from tests.app.world import token, view_of
from tests.support.stores import random_store
from workbench import ExpertRef, Plan

pytestmark = pytest.mark.usefixtures("texts")


def test_the_board_is_coloured_by_what_was_asked(tmp_path, store):
    view = view_of(tmp_path, store)
    offered = colours.colour_choices(view)
    load = colours.colouring(view, offered["load"])
    # layer 0: expert 0 has 3 of 8 slots, 1 has 2, 2 has 3; layer 1 the same, one further
    assert load.values == {
        ExpertRef(n, (e + n) % 4): s for n in (0, 1) for e, s in enumerate((0.375, 0.25, 0.375, 0.0))
    }
    # a quarter of its layer's selections is what each of four experts has of an even router
    assert load[1:] == ("share of the layer's selections", "PuOr_r", "", 0.25)
    assert offered["share of tokens"].middle == 0.5
    largest = colours.colouring(view, offered["largest output"])
    assert {str(ref): v for ref, v in largest.values.items()} == {
        f"L{n}E{(e + n) % 4}": 100.0 * (e + 1) for n in (0, 1) for e in range(3)
    }
    assert largest.middle is None
    assert colours.strongest(largest, 3) == [ExpertRef(0, 2), ExpertRef(1, 3), ExpertRef(0, 1)]
    assert len(colours.strongest(load, 8)) == 6  # the others were never selected
    tokens = [token(1, routing={0: ((1, 0.5), (2, 0.5))}), token(2, routing={0: ((1, 1.0),), 1: ((3, 1.0),)})]
    share = {ExpertRef(0, 1): 1.0, ExpertRef(0, 2): 0.5, ExpertRef(1, 3): 0.5}
    assert colours.answer_colouring(tokens) == colours.Colouring(share, "share of this answer's tokens", "Cividis")
    assert "tell none apart" in colours.answer_colouring(tokens[:1]).note
    assert colours.answer_colouring([]).note == "Nothing was generated yet."


def test_a_board_begins_with_what_tells_the_experts_of_its_store_apart(tmp_path, store):
    """Classes that the store has, before load; nothing that is the same for every expert."""
    assert next(iter(colours.colour_choices(view_of(tmp_path, store)))) == "fTRI: odd=yes against the others"
    bare = random_store(tmp_path / "bare")
    view = view_of(tmp_path, bare)
    assert next(iter(colours.colour_choices(view))) == "load"
    assert colours.colour_choices(view_of(tmp_path)) == {}


def test_where_every_expert_is_selected_sizes_tell_them_apart_and_none_can_be_off(tmp_path, everybody):
    view, _ = everybody
    offered = colours.colour_choices(view)
    assert next(iter(offered)) == "largest output"
    load = colours.colouring(view, offered["load"])
    assert (load.note, load.palette, load.middle) == (colours.ALIKE, "Cividis", None)  # not as white as no board at all
    assert len(load.values) == 6
    assert colours.strongest(load, 2) == []  # nothing comes first
    assert edits.possible(view.anatomy) == ("mute", "drop", "scale", "bias", "replace")


def test_a_button_that_has_nothing_to_take_says_why(everybody, monkeypatch):
    view, _ = everybody
    paper = write_on(monkeypatch, colour="load")
    for name, why in (("load", colours.ALIKE), ("largest output", None)):
        paper.session_state.colour = name
        quick_picks.quick_picks(view, quick_picks.shown(view, []))
        assert (paper.calls["pick-top"]["disabled"], paper.calls["pick-top"]["help"]) == (why is not None, why)


def test_without_a_store_the_board_waits_for_an_answer(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    view = view_of(tmp_path)
    found = quick_picks.shown(view, [])
    assert (found.name, found.choices, found.colours.values) == (colours.THIS_ANSWER, (colours.THIS_ANSWER,), {})
    assert found.colours.note == colours.NO_STORE
    tokens = [token(1, routing={0: ((1, 0.5), (2, 0.5)), 1: ((1, 1.0),)}), token(2, routing={0: ((1, 1.0),)})]
    found = quick_picks.shown(view, [one(view, base=tokens)])
    assert found.colours.values
    quick_picks.quick_picks(view, found)
    assert "button 'Top 2 by this answer'" in next(p for p in paper.lines if "pick-top" in p)
    assert paper.calls["pick-top"]["args"] == (view, [ExpertRef(0, 1), ExpertRef(0, 2)])
    assert not paper.calls["pick-top"]["disabled"]


def test_the_page_colours_by_the_steered_answer_else_by_the_base(page):
    view, paper, _ = page
    paper.session_state.colour = colours.THIS_ANSWER
    base, steered = [token(1, routing={0: ((1, 1.0),)})], [token(1, routing={0: ((2, 1.0),)})]
    first, last = one(view, base=base), one(view, base=base, steered=steered)
    for asked, shown in (([], {}), ([last, first], {ExpertRef(0, 1): 1.0}), ([first, last], {ExpertRef(0, 2): 1.0})):
        assert quick_picks.shown(view, asked).colours.values == shown
    paper.session_state.colour = "load"
    assert quick_picks.shown(view, [first, last]).colours.unit == "share of the layer's selections"
    paper.session_state.colour = "of another store"
    assert quick_picks.shown(view, []).name == "fTRI: odd=yes against the others"


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


def test_colours_around_a_middle_show_what_is_nearly_even_as_nearly_white():
    rows = {0: [0.25, 0.26, 0.24, None]}
    assert board.scale(board.Board("t", rows, "u", "PuOr_r", middle=0.25)) == (0.0, 0.5)
    assert board.scale(board.Board("t", {0: [0.9, 0.1]}, "u", "PuOr_r", middle=0.25)) == (0.0, 0.9)


@pytest.mark.parametrize(
    ("values", "palette", "found"),
    [([1.0, 2.0, 61.0], "Cividis", True), ([1.0, 2.0, 60.0], "Cividis", False), ([0.0, 2.0, 61.0], "Cividis", False),
     ([1.0, 2.0, 61.0], "PuOr_r", False), ([None], "Cividis", False)],
)  # fmt: skip
def test_colours_go_by_factors_where_a_few_sizes_are_far_above_the_others(values, palette, found):
    assert board.grows_by_factors(board.Board("t", {0: values}, "u", palette)) == found


def test_colours_of_a_palette_are_numbers():
    assert board.rgb("#0a10ff") == (10, 16, 255)
    assert board.rgb("rgb(1, 2, 3)") == (1, 2, 3)
