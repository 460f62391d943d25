"""The pages Probes and Tokens, drawn on paper: questions, tables, plots, plans, and one token's way through the layers."""

import math

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.questions import Offer, offer, option_widgets
from workbench_app.dashboard.rankings import page as probes_page
from workbench_app.dashboard.rankings import probe_options, ranking_plan, two_probes, volcano
from workbench_app.dashboard.rankings.probe_options import Asked
from workbench_app.dashboard.texts import page as tokens_page
from workbench_app.dashboard.texts import path, text_sources, token_colours, trace
from workbench_app.dashboard.widgets import ranking_table as ranked_table
from workbench_app.dashboard.widgets import theme

from probes.ranking import ExpertScores
from tests.app.paper import assert_drawn, figure_said, said, write_on
from tests.app.world import SHAPE, store_at, view_of
from workbench import Plan, WorkbenchError
from workbench.routing import DoseCounts

NAN = float("nan")


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "stores" / "one")


def drawn(paper):
    return "\n".join(paper.lines)


def scores(rows, method="ftri", notes=("note \x07",), fingerprint=SHAPE.fingerprint, **options):
    columns = ["layer", "expert", "score", "n", "p", "p_adjusted", "flags"]
    frame = pd.DataFrame(rows, columns=columns).assign(low=NAN, high=NAN)
    return ExpertScores(method, options, frame, notes, fingerprint)


FOUND = scores(
    [(0, 1, 0.5, 1200, 0.001, 0.01, "super expert; ties"), (1, 2, 0.25, 20, 0.01, 0.25, "<ties>"),
     (0, 3, 0.1, 9, 0.05, 0.05, ""), (1, 0, -0.5, 5, 0.5, 0.75, ""), (1, 3, NAN, 0, NAN, NAN, "dead")],
    n_permutations=999, target="a\x07", roles=None,
)  # fmt: skip
OTHER = scores([(1, 2, 4.0, 1, 1.0, 1.0, ""), (0, 1, 3.0, 1, 1.0, 1.0, ""), (0, 3, 3.0, 1, 1.0, 1.0, ""),
                (1, 0, NAN, 1, NAN, NAN, "")], "usage")  # fmt: skip


# ---- questions


@pytest.mark.parametrize("method", list(probe_options.PROBES))
def test_the_options_of_every_probe_and_what_is_asked_as_they_stand(store, monkeypatch, method):
    paper = write_on(monkeypatch)
    asked = probe_options.ask(method, offer(store.path))
    assert_drawn(f"ask_{method}", "\n".join([*paper.lines, str(asked)]))


def test_what_is_chosen_is_asked(store, monkeypatch):
    answers = {
        "ftri-reduce": "weight",
        "ftri-contrast": "standardized",
        "ftri-roles": ["user"],
        "ftri-where": "odd=yes",
        "ftri-permutations": 7.0,
        "ftri-seed": 3.0,
        "ftri-adjust": "maxT",
        "ftri-permute": "pairs",
        "ftri-tokens": "prompt",
        "ftri-target": "odd=yes",
        "ftri-baseline": None,
        "npmi-kind": "a label",
        "npmi-label": "odd=yes",
        "npmi-role": "user",
        "npmi-token": "x",
        "contrast-pooling": "any",
        "usage-measure": "weight",
        "usage-roles": ["user", "assistant"],
        "super_experts-guard": False,
        "super_experts-shared": False,
        "super_experts-rule": "paper",
    }
    write_on(monkeypatch, answers)
    ask, found = probe_options.ask, offer(store.path)
    assert ask("ftri", found).options == (
        ("adjust", "maxT"), ("contrast", "standardized"), ("n_permutations", 7), ("permute", "pairs"), ("reduce", "weight"),
        ("roles", ("user",)), ("seed", 3), ("target", "odd=yes"), ("where", "odd=yes"),
    )  # fmt: skip
    assert ask("npmi", found).options == (("label", "odd=yes"),)
    for kind, option in (("a token", ("token", "x")), ("a role", ("role", "user")), ("<think> against </think>", None)):
        answers["npmi-kind"] = kind
        assert ask("npmi", found).options == ((option,) if option else ())
    assert dict(ask("contrast", found).options) == {
        "pooling": "any",
        "positive": "odd=yes",
        "negative": "odd=no",
        "tokens": "last_prompt",
    }
    assert ask("usage", found).options == (("measure", "weight"), ("roles", ("user", "assistant")))
    assert ask("super_experts", found).options == (("guard", False), ("rule", "paper"), ("shared", False))


def test_a_question_with_a_gap_is_a_sentence():
    for method, name in (
        ("ftri", "target"),
        ("contrast", "positive"),
        ("npmi", "label"),
        ("npmi", "token"),
        ("npmi", "role"),
    ):
        with pytest.raises(WorkbenchError, match=f"{method} needs a {name} and has none; choose or type one"):
            probe_options.check(Asked(method, ((name, ""),)))
    whole = Asked("ftri", (("baseline", None), ("seed", 0), ("target", "x")))
    assert probe_options.check(whole) is whole
    assert str(whole) == "ftri (seed=0, target=x)"


def test_a_store_offers_its_labels_splits_and_roles(store, tmp_path):
    assert offer(store.path) == Offer(
        ("refused", "answered", "odd=yes", "odd=no"), ("odd=yes", "odd=no"), ("user", "assistant"), False
    )


def test_widgets_begin_with_what_is_there(monkeypatch):
    paper = write_on(monkeypatch)
    none = Offer((), (), (), True)
    assert option_widgets.one_of("L", "a", ["x", "y"], "y") == "y"
    assert option_widgets.one_of("L", "b", ["x", "y"], "z") == "x"
    assert option_widgets.one_of("L", "c", [], "z") is None
    assert option_widgets.two_classes("m", ("one", "two"), none, paper.columns(2)) == {"one": None, "two": None}
    alone = none._replace(classes=("x",))
    assert option_widgets.two_classes("n", ("one", "two"), alone, paper.columns(2)) == {"one": "x", "two": None}
    assert option_widgets.choice("usage", "measure") == "load"
    assert option_widgets.choice("contrast", "tokens", "shared_end") == "shared_end"
    assert option_widgets.choice("usage", "measure", "weight") == "weight"
    assert option_widgets.default_of("npmi", "role") is None
    assert_drawn("widgets", drawn(paper))


# ---- the page


def test_the_whole_page_of_probes(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    view = view_of(tmp_path, store)
    probes_page.show(view_of(tmp_path))
    probes_page.show(view)
    paper.lines.append("---- asked")
    given = []
    monkeypatch.setattr(
        probes_page,
        "scores_of",
        lambda path, method, **how: (given.append((path, method, how)), FOUND if method == "ftri" else OTHER)[1],
    )
    paper.session_state["probes-asked"]["tiny stores/one"][:] = [Asked("ftri", (("target", "x"),)), Asked("usage", ())]
    probes_page.show(view)
    assert_drawn("probes", drawn(paper))
    assert given == [(store.path, "ftri", {"target": "x"}), (store.path, "usage", {})]


def test_questions_are_remembered_by_store_and_forgotten_when_they_cannot_be_asked(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"run-usage": True, "probe": "usage"}, plan=Plan())
    view, other = view_of(tmp_path, store), view_of(tmp_path, store, name="other")
    assert probes_page._form(view) == Asked("usage", ())
    asked = [Asked("usage", (("n", i),)) for i in range(9)]
    for one in asked:
        history = probes_page._history(view, one)
    assert history == asked[:0:-1]
    assert probes_page._history(view, asked[3]) == [asked[3], *(a for a in asked[:0:-1] if a != asked[3])]
    assert probes_page._history(other, None) == []
    paper.answers.clear()
    paper.session_state["probes-asked"] = {"tiny stores/one": [Asked("ftri", (("target", ""),)), asked[0]]}
    probes_page.show(view)
    assert paper.lines[-1].startswith("error 'ftri needs a target and has none")
    assert paper.session_state["probes-asked"] == {"tiny stores/one": [asked[0]]}


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        ({}, ["L0E1", "L1E2", "L0E3", "L1E0", "L1E3"]),
        ({"k-least": 9}, ["L0E1", "L1E2", "L0E3"]),
        ({"k-layers": [1]}, ["L1E2", "L1E0", "L1E3"]),
        ({"k-flags": ["ties"]}, ["L0E1"]),
        ({"k-flags": ["no flag", "dead"]}, ["L0E3", "L1E0", "L1E3"]),
        ({"k-text": " TIES "}, ["L0E1", "L1E2"]),
        ({"k-text": "l0", "k-least": 10}, ["L0E1"]),
        ({"k-text": "nothing"}, []),
    ],
)
def test_filters_keep_what_they_say(monkeypatch, answers, kept):
    paper = write_on(monkeypatch, answers)
    ranked_table.ranked_table(FOUND, "k")
    assert f"text '{len(kept)} of 5 experts'" in paper.lines
    assert ("text 'No expert meets these filters; widen them.'" in paper.lines) == (not kept)
    table = next(p for p in paper.lines if p.startswith("dataframe"))
    assert f"name: {said(kept)};" in table or not kept
    assert "multiselect 'Flags' ['<ties>', 'dead', 'super expert', 'ties', 'no flag']" in drawn(paper)
    if kept:
        assert "low" not in table.split("hide_index")[0]  # no expert has an interval here


def test_names_say_which_experts_are_shared():
    shared = OTHER.frame.assign(is_shared=[True, False, False, False])
    found = ranked_table.named(ExpertScores("usage", {}, shared, (), ""))
    assert found[["rank", "name"]].to_numpy().tolist() == [[1, "L1S2"], [2, "L0E1"], [3, "L0E3"], [4, "L1E0"]]


# ---- plots


def test_the_volcano_draws_and_says_who_passes(monkeypatch):
    paper = write_on(monkeypatch)
    monkeypatch.setattr(volcano, "chart", lambda figure, *given: paper.lines.extend([said(given), figure_said(figure)]))
    volcano.volcano(FOUND, test_the_volcano_draws_and_says_who_passes)
    weak = scores([(0, 1, 0.5, 3, 0.04, 0.05, ""), (1, 0, 0.1, 2, 0.05, 0.5, "")])
    volcano.volcano(weak, print)
    volcano.volcano(scores([(0, 1, 0.5, 3, NAN, NAN, "")], notes=("a", "no p-value: \x07")), print)
    volcano.volcano(scores([(0, 1, NAN, 3, 0.5, 0.5, "")]), print)
    assert_drawn("volcano", drawn(paper))
    assert volcano.smallest_p(FOUND) == 0.001
    assert volcano.smallest_p(scores([], n_permutations=0)) is None


def test_two_probes_are_compared_over_the_experts_that_both_rank(monkeypatch):
    paper = write_on(monkeypatch)
    two_probes.two_probes(FOUND, OTHER)
    paper.answers["compare-ranks"] = True
    two_probes.two_probes(FOUND, OTHER)
    one = scores([(0, 1, 3.0, 1, 1.0, 1.0, ""), (1, 0, NAN, 1, 1.0, 1.0, "")])
    two_probes.two_probes(FOUND, one)
    assert_drawn("two_probes", drawn(paper))
    two_probes.two_probes(FOUND, scores([(0, 1, 3.0, 1, 1.0, 1.0, ""), (1, 0, 2.0, 1, 1.0, 1.0, "")]))
    assert "fewer than two" not in paper.lines[-1]


def test_overlaps_are_counted_at_the_sizes_that_fit():
    both = pd.DataFrame(
        {"name": list("abcdefghij"), "rank_first": range(1, 11), "rank_second": [2, 1, 4, 3, 10, 9, 8, 7, 6, 5]}
    )
    assert two_probes.overlap(both).to_numpy().tolist() == [
        [1, 0, 0.0, 0.1], [3, 2, pytest.approx(2 / 3), 0.9], [5, 4, 0.8, 2.5], [10, 10, 1.0, 10.0],
    ]  # fmt: skip


def test_what_is_selected_in_a_chart_is_named_once(monkeypatch):
    points = [
        {"customdata": ["L0E1", 3]},
        {"customdata": "L1E2"},
        {"customdata": ("L0E1",)},
        {"x": 1},
        {"customdata": []},
    ]
    write_on(monkeypatch, volcano={"selection": {"points": points}}, empty={})
    assert theme.selected("volcano") == ["L0E1", "L1E2"]
    assert theme.selected("empty") == theme.selected("missing") == []
    assert theme.text("<b>&\x07") == "\u2039b>\uff06\u2407"


def test_a_chart_offers_its_numbers(monkeypatch):
    import plotly.graph_objects as go

    paper = write_on(monkeypatch)
    data = pd.DataFrame({"a": [1, 2]})
    figure = theme.titled(go.Figure(), "<t>", 99, barmode="group")
    monkeypatch.setattr(
        paper, "plotly_chart", lambda f, **how: paper.lines.append(f"{figure_said(f)} {said(how)}"), raising=False
    )
    theme.chart(figure, "key", data)
    theme.chart(figure, "other", data, test_a_chart_offers_its_numbers)
    assert_drawn("chart", drawn(paper))
    assert theme._csv(data) == "a\n1\n2\n"


# ---- from a ranking to a plan


@pytest.mark.parametrize(
    ("answers", "chosen", "made"),
    [
        ({}, [], "off L0E1; off L1E2"),
        ({"rank-n": 1, "rank-edit": "scale"}, [], "scale L0E1=0.5"),
        ({"rank-n": 1, "rank-edit": "bias", "rank-bias": 3.0, "rank-whom": ranking_plan.LAST}, [], "bias L1E0=3"),
        ({"rank-whom": ranking_plan.SELECTED, "rank-edit": "mute"}, ["L1E3", "L0E0"], "mute L0E0; mute L1E3"),
        ({"rank-join": True, "rank-edit": "drop"}, [], "drop L0E1; force L0E2; drop L1E2"),
    ],
)
def test_a_ranking_becomes_a_plan(tmp_path, monkeypatch, answers, chosen, made):
    paper = write_on(monkeypatch, {"rank-make": True, **answers}, plan=Plan.parse("force L0E2"))
    ranking_plan.ranking_plan(view_of(tmp_path), FOUND, chosen)
    assert sorted(str(paper.session_state.plan).split("; ")) == sorted(made.split("; "))
    assert paper.session_state["rank-made"] == paper.session_state.plan
    assert paper.session_state.plan.fingerprint == SHAPE.fingerprint
    assert "success 'The plan is made; ask something under Steer.' icon=':material/check:'" in paper.lines
    assert paper.lines[-1] == f"text 'Plan: {paper.session_state.plan}'"


def test_the_form_of_a_plan(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    view = view_of(tmp_path)
    ranking_plan.ranking_plan(view, FOUND, [])
    paper.answers.update({"rank-edit": "scale", "rank-whom": ranking_plan.SELECTED})
    ranking_plan.ranking_plan(
        view, scores(FOUND.frame.iloc[:1, :7].to_numpy().tolist()), [f"L0E{i}" for i in range(21)]
    )
    paper.session_state.update({"rank-made": Plan.parse("off L0E1"), "plan": Plan.parse("off L0E2")})
    paper.answers["rank-whom"] = ranking_plan.LAST
    ranking_plan.ranking_plan(view, FOUND, [f"L0E{i}" for i in range(20)])
    assert_drawn("ranking_plan", drawn(paper))


# ---- tokens


def text_of(layers, tokens=("a", " b", "\n", "<d>"), n_prompt=2, dose=None):
    roles = ("system", "user", "assistant", "assistant")[: len(tokens)]
    return trace.Trace(tuple(tokens), roles, n_prompt, layers, dose)


def layer_of(expert, weight, l2=None, most=None):
    expert, weight = np.array(expert), np.array(weight)
    filled = np.full(weight.shape, NAN)
    return trace.LayerTrace(
        expert, weight, filled if l2 is None else np.array(l2), filled if most is None else np.array(most)
    )


LAYERS = {
    0: layer_of([[3, 1], [1, 3], [2, 1], [-1, -1]], [[0.75, 0.25], [0.5, 0.5], [1.0, 0.0], [0.0, 0.0]],
                [[1.0, 9.0], [4.0, 3.0], [2.0, NAN], [NAN, NAN]]),
    1: layer_of([[0, 2], [2, 0], [0, 1], [-1, -1]], [[0.25, 0.75], [0.125, 0.875], [0.5, 0.5], [0.0, 0.0]]),
}  # fmt: skip


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
    tokens_page._draw(view, text_of({}), "x")
    tokens_page._token(view, text_of(LAYERS), 3, 0, "x")
    tokens_page._path(text_of({0: LAYERS[0]}), path.path_table(text_of({0: LAYERS[0]}), 0), 0, "title")
    assert_drawn("tokens", drawn(paper))


def test_the_token_looked_at_is_the_one_chosen_in_this_text(monkeypatch):
    paper = write_on(monkeypatch)
    found = text_of(LAYERS)
    assert tokens_page._position(found, "x") == 1
    assert tokens_page._position(found._replace(n_prompt=0), "x") == 0
    tokens_page._choose(3, "x")
    assert [tokens_page._position(found, name) for name in "xy"] == [3, 1]
    tokens_page._choose(4, "x")
    assert tokens_page._position(found, "x") == 1
    paper.session_state["tokens-position"] = 2.0
    tokens_page._typed_position("x")
    assert paper.session_state["tokens-at"] == ("x", 2)
    assert tokens_page._part(1000) == 0
    assert not paper.lines
    assert tokens_page._part(1001) == 0
    paper.answers["tokens-part"] = 3
    assert tokens_page._part(2001) == 2000
    assert paper.lines[1] == "number_input 'Part (of 3, 1,000 tokens each)' 1 3 1 key='tokens-part'"


def test_a_long_text_is_shown_in_parts_and_a_click_counts_from_its_beginning(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"tokens-part": 2}, plan=Plan())
    n = 1500
    found = trace.Trace(("t",) * n, ("user",) * n, n, {0: layer_of([[0, 1]] * n, [[0.75, 0.25]] * n)})
    monkeypatch.setattr(tokens_page, "chips", lambda *given: paper.lines.append((len(given[0]), *given[1:])))
    tokens_page._draw(view_of(tmp_path, store), found, "x")
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
        tokens_page._choose(at, "x")
        paper.lines.clear()
        tokens_page._draw(view_of(tmp_path, store), found, "x")
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
    shares = path._shares(path.path_table(text_of({0: many}, "a"), 0), 0)
    assert shares == pytest.approx({0: 1 / 3, 3: 0.25 / 0.9, 2: 0.2 / 0.9, 4: 0.15 / 0.9})  # the four largest
    wide = pd.DataFrame({"layer": range(25), "expert": 0, "weight": 1.0})
    assert path.expert_chart(wide, 0, 4).layout.xaxis.dtick is None
    assert path.expert_chart(wide[:24], 0, 4).layout.xaxis.dtick == 1
    assert path.shown_layers(range(13), 0) == list(range(12))
    assert path.shown_layers(range(13), 7) == list(range(1, 13))
    assert path.shown_layers(range(20), 10) == list(range(4, 16))


# ---- where a text comes from


def test_a_stored_text_is_found_by_its_words(store, monkeypatch):
    paper = write_on(monkeypatch)
    found, name = text_sources.stored_text(store)
    assert (name, found.tokens) == ("a, sample 0", (" in", "<b>", "!"))
    for wanted, kept in (("SECOND", "b"), ("B", "b"), ("c", "b")):
        paper.answers["tokens-find"] = wanted
        assert text_sources.stored_text(store)[1] == f"{kept}, sample 0"
    paper.answers["tokens-find"] = "none"
    assert text_sources.stored_text(store) is None
    assert_drawn("stored_text", drawn(paper))


def test_only_so_many_prompts_are_listed(store, monkeypatch):
    paper = write_on(monkeypatch)
    many = pd.DataFrame({"prompt_id": [f"p{i:03}" for i in range(1201)], "text": ["x" * 81] + [None] * 1200})
    some = type("Store", (), {"prompts": many, "n_samples": 3, "path": store.path})()
    monkeypatch.setattr(text_sources, "_read", lambda path, now, prompt, sample: (prompt, sample))
    paper.answers["tokens-sample"] = 2
    assert text_sources.stored_text(some) == (("p000", 2), "p000, sample 2")
    listed = next(p for p in paper.lines if "selectbox" in p)
    assert listed.startswith(f"1| selectbox 'Prompt' ['p000: {'x' * 80}', 'p001: ', ")
    assert listed.endswith("'p199: '] key='tokens-prompt'")
    assert paper.lines[-2:] == [
        "caption 'The first 200 of 1,201 prompts are listed; find others by their text.'",
        "number_input 'Sample' 0 2 0 key='tokens-sample'",
    ]
    paper.lines.clear()
    some.prompts = many[:200]
    text_sources.stored_text(some)
    assert not [p for p in paper.lines if p.startswith("caption")]


def test_a_typed_text_is_read_in_turn_and_under_the_plan_asked_for(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan.parse("off L0E1"))
    view, asked = view_of(tmp_path), []

    def read(model, prompt, *, as_chat, plan):
        asked.append((model is view.machine.model, prompt, as_chat, plan, view.machine.turns.waiting))
        return text_of(LAYERS, dose=DoseCounts(4, 2 * bool(plan), 16, 3, 0) if plan else None)

    monkeypatch.setattr(text_sources, "typed_trace", read)
    assert text_sources.typed_text(view) is None
    paper.answers.update({"tokens-typed": "why?", "Read it": True})
    assert text_sources.typed_text(view)[1] == "your prompt"
    paper.answers["tokens-steered"] = True
    assert text_sources.typed_text(view)[1] == "your prompt under off L0E1"
    assert asked == [(True, "why?", True, None, 1), (True, "why?", True, Plan.parse("off L0E1"), 1)]
    paper.answers["Read it"] = False
    assert text_sources.typed_text(view)[0] == text_of(LAYERS, dose=DoseCounts(4, 2, 16, 3, 0))
    assert text_sources.typed_text(view_of(tmp_path, name="other", template=None)) is None
    paper.session_state.plan = Plan()
    paper.answers["Read it"] = True
    assert text_sources.typed_text(view)[1] == "your prompt"
    paper.answers["tokens-typed"] = ""
    text_sources.typed_text(view)
    assert len(asked) == 3
    text_sources._said(text_of(LAYERS, dose=DoseCounts(4, 0, 16, 0, 0)), "off *\x07*")
    assert_drawn("typed_text", drawn(paper))


def test_a_stored_sample_is_read_slot_by_slot(store):
    found = trace.stored_trace(store, "b", 0)
    assert (found.tokens, found.roles, found.n_prompt) == ((" in", "<b>", "!"), ("user", "user", "assistant"), 2)
    assert found.at(0, 0) == [(1, 0.75, 20.0, 200.0), (2, 0.25, 30.0, 300.0)]
    assert found.at(1, 1) == [(3, 0.75, 31.0, 300.0), (1, 0.25, 11.0, 100.0)]
    assert found.at(0, 2) == []
    assert np.isnan(found.layers[0].l2[2]).all()
    assert found.layers[0].weight[2].tolist() == [0.0, 0.0]
    assert math.isclose(found.layers[1].expert[2].sum(), -2)
