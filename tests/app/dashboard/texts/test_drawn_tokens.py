"""The page Tokens, drawn on paper: a coloured text, the token looked at, and its way through the layers."""

import pandas as pd
import pytest
from workbench_app.dashboard.texts import page as tokens_page
from workbench_app.dashboard.texts import path, token_colours, trace
from workbench_app.dashboard.widgets import theme

from tests.app.dashboard.texts.made import LAYERS, layer_of, text_of
from tests.app.paper import assert_drawn, drawn, figure_said, said, write_on
from tests.app.world import view_of
from workbench import Plan


@pytest.mark.parametrize("by", token_colours.COLOURINGS)
def test_a_text_is_coloured_with_a_legend_and_words(by):
    found = [token_colours.coloured(text_of(LAYERS), layer, by, 3) for layer in (0, 1)]
    lines = [f"{said(tuple(c))}" for made in found for c in (*made.chips, (), *made.legend, (made.meaning,), ())]
    assert_drawn(f"colours_{token_colours.COLOURINGS.index(by)}", "\n".join(lines))


def test_experts_beyond_seven_share_a_colour():
    found = layer_of([[e] for e in [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]], [[1.0]] * 10)
    made = token_colours.coloured(
        trace.Trace(tuple("abcdefghij"), ("user",) * 10, 10, {0: found}), 0, token_colours.EXPERT
    )
    colours = [c.colour for c in made.chips]
    assert colours == [f"{theme.SERIES[i]}73" for i in (0, 0, 1, 2, 3, 4, 5, 6)] + ["#99999940"] * 2
    assert [c.text for c in made.legend] == [
        " E0 \u00d7 2 ",
        *(f" E{e} \u00d7 1 " for e in range(1, 7)),
        " others \u00d7 2 ",
    ]
    assert made.legend[-1].tip == "all other experts together"
    one = token_colours.coloured(
        text_of({0: layer_of([[0]] * 4, [[0.5]] * 4)}), 0, "margin between the two largest weights"
    )
    assert one.chips[0].tip.endswith("difference of weights: 0.5")
    assert {c.colour for c in one.chips} == {"rgba(0,114,178,0.06)"}


def test_the_whole_page_of_tokens(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    view = view_of(tmp_path, store)
    tokens_page.show(view)
    paper.lines.append("---- without a store")
    tokens_page.show(view_of(tmp_path))
    paper.lines.append("---- nothing routed, a token that was not routed, a model of one layer")
    tokens_page.draw_text(view, text_of({}), "x")
    tokens_page.draw_token(view, text_of(LAYERS), 3, 0, "x")
    tokens_page.draw_path(text_of({0: LAYERS[0]}), path.path_table(text_of({0: LAYERS[0]}), 0), 0, "title")
    assert_drawn("tokens", drawn(paper))


def test_the_token_looked_at_is_the_one_chosen_in_this_text(monkeypatch):
    paper = write_on(monkeypatch)
    found = text_of(LAYERS)
    assert tokens_page.position_of(found, "x") == 1
    assert tokens_page.position_of(found._replace(n_prompt=0), "x") == 0
    tokens_page.choose_token(3, "x")
    assert [tokens_page.position_of(found, name) for name in "xy"] == [3, 1]
    tokens_page.choose_token(4, "x")
    assert tokens_page.position_of(found, "x") == 1
    paper.session_state["tokens-position"] = 2.0
    tokens_page.typed_position("x")
    assert paper.session_state["tokens-at"] == ("x", 2)
    assert tokens_page.first_shown(1000) == 0
    assert not paper.lines
    assert tokens_page.first_shown(1001) == 0
    paper.answers["tokens-part"] = 3
    assert tokens_page.first_shown(2001) == 2000
    assert paper.lines[1] == "number_input 'Part (of 3, 1,000 tokens each)' 1 3 1 key='tokens-part'"


def test_a_long_text_is_shown_in_parts_and_a_click_counts_from_its_beginning(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"tokens-part": 2}, plan=Plan())
    n = 1500
    found = trace.Trace(("t",) * n, ("user",) * n, n, {0: layer_of([[0, 1]] * n, [[0.75, 0.25]] * n)})
    monkeypatch.setattr(tokens_page, "chips", lambda *given: paper.lines.append((len(given[0]), *given[1:])))
    tokens_page.draw_text(view_of(tmp_path, store), found, "x")
    (_, legend), (_, (shown, key, label, inside, press)) = [
        (i, p) for i, p in enumerate(paper.lines) if isinstance(p, tuple)
    ]
    assert (legend[1:], shown, key, label, inside) == (
        ("tokens-legend", "What the colours mean"),
        500,
        "tokens-text",
        "The text",
        499,
    )
    press(7)
    assert paper.session_state["tokens-at"] == ("x", 1007)
    for at, expected in ((999, None), (1000, 0)):
        tokens_page.choose_token(at, "x")
        paper.lines.clear()
        tokens_page.draw_text(view_of(tmp_path, store), found, "x")
        assert [p for p in paper.lines if isinstance(p, tuple)][1][3] == expected


def test_the_path_of_a_token_is_its_experts_by_weight():
    table = path.path_table(text_of(LAYERS), 0)
    assert said(table) == (
        "<layer: [0, 0, 1, 1]; rank: [1, 2, 1, 2]; expert: [3, 1, 2, 0]; weight: [0.75, 0.25, 0.75, 0.25]; "
        "output_l2: [1, 9, nan, nan]>"
    )
    links = path.path_links(table, [0, 1])
    assert links.to_numpy().tolist() == [
        ["L0E3", "L1E2", 0.5625], ["L0E3", "L1E0", 0.1875], ["L0E1", "L1E2", 0.1875], ["L0E1", "L1E0", 0.0625],
    ]  # fmt: skip
    assert_drawn(
        "path", "\n".join([figure_said(path.expert_chart(table, 1, 4)), figure_said(path.sankey(links, 1, "<t>"))])
    )
    many = layer_of([[0, 1, 2, 3, 4]], [[0.3, 0.1, 0.2, 0.25, 0.15]])
    shares = path.shares_of(path.path_table(text_of({0: many}, "a"), 0), 0)
    assert shares == pytest.approx({0: 1 / 3, 3: 0.25 / 0.9, 2: 0.2 / 0.9, 4: 0.15 / 0.9})  # the four largest
    wide = pd.DataFrame({"layer": range(25), "rank": 1, "expert": 0, "weight": 1.0})
    assert path.expert_chart(wide, 0, 4).layout.xaxis.dtick is None
    assert path.expert_chart(wide[:24], 0, 4).layout.xaxis.dtick == 1
    assert path.shown_layers(range(13), 0) == list(range(12))
    assert path.shown_layers(range(13), 7) == list(range(1, 13))
    assert path.shown_layers(range(20), 10) == list(range(4, 16))


def test_of_many_experts_the_first_are_drawn_large_and_the_others_told(tmp_path, store, monkeypatch):
    weights = [0.3, 0.1, 0.2, 0.25, 0.15] + [0.0625] * 8
    found = text_of({n: layer_of([list(range(13))], [weights]) for n in (0, 1)}, "a")
    table = path.path_table(found, 0)
    others, first = path.expert_chart(table, 1, 13).data
    assert (len(others.x), others.marker.size, len(first.x)) == (18, 3, 8)
    assert set(first.y) == {0, 3, 2, 4}
    assert path.share_shown(table) == pytest.approx(0.9 / 1.5)
    assert (
        token_colours.coloured(found, 0, token_colours.EXPERT).chips[0].tip.endswith("E6 0.062, E7 0.062, and 5 more")
    )
    paper = write_on(monkeypatch, plan=Plan())
    tokens_page.draw_token(view_of(tmp_path, store), found, 0, 0, "x")
    assert any(
        "Each layer selects 13 experts for this token; below are the 4 with" in p and "60% of it" in p
        for p in paper.lines
    )
    shown = next(p for p in paper.lines if "dataframe" in p)
    assert "rank: [1, 2, 3, 4, 1, 2, 3, 4]" in shown
