"""The page Probes, drawn on paper: the ranked table, its filters, and questions that are remembered."""

from dataclasses import replace

import pytest
from workbench_app.dashboard.rankings import page as probes_page
from workbench_app.dashboard.rankings.probe_options import Asked
from workbench_app.dashboard.widgets import ranking_table as ranked_table

from probes.catalogue import ASKED
from probes.ranking import ExpertScores
from probes.structure import work
from tests.app.dashboard.rankings.made import FOUND, LAYERS, OTHER
from tests.app.paper import assert_drawn, drawn, said, write_on
from tests.app.world import everybody_at, store_at, view_of
from workbench import Plan


def test_the_whole_page_of_probes(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    monkeypatch.setattr(probes_page, "getdoc", lambda probe: f"what {probe.__name__} computes")
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
    assert probes_page.question_form(view) == Asked("usage", ())
    asked = [Asked("usage", (("n", i),)) for i in range(9)]
    for one in asked:
        history = probes_page.asked_before(view, one)
    assert history == asked[:0:-1]
    assert probes_page.asked_before(view, asked[3]) == [asked[3], *(a for a in asked[:0:-1] if a != asked[3])]
    assert probes_page.asked_before(other, None) == []
    paper.answers.clear()
    paper.session_state["probes-asked"] = {"tiny stores/one": [Asked("ftri", (("target", ""),)), asked[0]]}
    probes_page.show(view)
    assert paper.lines[-1].startswith("error 'ftri needs a target and has none")
    assert paper.session_state["probes-asked"] == {"tiny stores/one": [asked[0]]}


def test_the_other_store_is_one_that_this_server_serves(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"run-drift": True, "probe": "drift", "drift-other": "stores/two"}, plan=Plan())
    view, other = view_of(tmp_path, store), store_at(tmp_path / "stores" / "two")
    probes_page.show(view)
    form = next(line for line in paper.lines if "drift-other" in line)
    assert "'stores/one', 'stores/two'" in form
    assert any(line.startswith("subheader 'drift of 8 experts'") for line in paper.lines)
    assert any("both stores are of one model" in line for line in paper.lines)
    assert any(line.startswith("text 'other=stores/two, what=use") for line in paper.lines)
    assert not any(str(tmp_path) in line for line in paper.lines)
    assert other.path == tmp_path / "stores" / "two"
    for name in ("stores/none", str(other.path)):  # a path is no name
        paper.answers["drift-other"] = name
        probes_page.show(view)
        assert paper.lines[-1].startswith('error "This server has no store ')
        assert paper.session_state["probes-asked"]["tiny stores/one"] == [Asked("drift", (("other", "stores/two"),))]


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


def test_an_answer_that_ranks_no_experts_is_a_table_and_compared_with_nothing(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    view = view_of(tmp_path, store)
    monkeypatch.setitem(ASKED, "usage", replace(ASKED["usage"], answers="LayerTable"))
    monkeypatch.setattr(probes_page, "scores_of", lambda path, method: LAYERS if method == "usage" else FOUND)
    paper.session_state["probes-asked"] = {"tiny stores/one": [Asked("usage", ()), Asked("safex", ())]}
    probes_page.show(view)
    assert_drawn(
        "answer_table", "\n".join(paper.lines[paper.lines.index("subheader 'usage of 2 rows' divider='gray'") :])
    )
    paper.session_state["probes-asked"] = {"tiny stores/one": [Asked("safex", ()), Asked("usage", ())]}
    probes_page.show(view)
    assert any(line.startswith("Compare two probes| text 'Run a second probe") for line in paper.lines)


def test_of_many_notes_the_last_are_folded_and_an_answer_without_rows_says_so(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    monkeypatch.setitem(ASKED, "usage", replace(ASKED["usage"], answers="LayerTable"))
    nothing = replace(LAYERS, frame=LAYERS.frame.iloc[:0], notes=tuple(f"note {i}" for i in range(18)))
    monkeypatch.setattr(probes_page, "scores_of", lambda *_: nothing)
    paper.session_state["probes-asked"] = {"tiny stores/one": [Asked("usage", ())]}
    probes_page.show(view_of(tmp_path, store))
    assert paper.lines[-3:] == [
        "expander '2 more notes'", r"expander| text '• note 16\n• note 17'", "text 'No row; the notes above say why.'"
    ]  # fmt: skip


def shown_of(paper, view, method, **options):
    """What the page draws of an answer, from its heading on."""
    paper.session_state["probes-asked"] = {"tiny stores/one": [Asked(method, tuple(options.items()))]}
    paper.lines.clear()
    probes_page.show(view)
    at = next(i for i, line in enumerate(paper.lines) if line.startswith("subheader"))
    return [line for line in paper.lines[at:] if "•" not in line]


def test_the_tables_of_use_are_drawn_with_their_numbers(tmp_path, store, monkeypatch):
    paper, view = write_on(monkeypatch, plan=Plan()), view_of(tmp_path, store)
    heading, options, table = shown_of(paper, view, "routing_entropy")[:3]
    assert heading == "subheader 'routing\\\\_entropy of 2 rows' divider='gray'"
    assert options == "text 'tokens=content, cluster=auto, n_bootstrap=1000, seed=0'"
    assert "<layer: [0, 1]; n: [4, 4]; n_experts: [4, 4]; load_entropy_bits: [1.56128, 1.56128]; evenness: " in table
    assert "token_entropy_bits: {type_config: {type: 'number', format: '%.4g'}}" in table
    *_, table = shown_of(paper, view, "co_selection", layer=0)[:3]
    # layer 0 of four tokens: {0,1} {0,2} {1,2} {2,0}
    assert "expert: [0, 0, 1, 0, 1, 2]; other_layer: [0, 0, 0, 0, 0, 0]; other_expert: [2, 1, 2, 3, 3, 3]" in table
    assert "n: [2, 1, 1, 0, 0, 0]; share: [0.5, 0.25, 0.25, 0, 0, 0]" in table
    assert "lift: [0.888889, 0.666667, 0.666667, nan, nan, nan]" in table
    *_, table = shown_of(paper, view, "dead_experts")[:3]
    assert "<set: ['dead', 'dead']; layer: [0, 1]; expert: [3, 0]; n: [4, 4]>" in table
    assert any("'dead_experts.csv'" in line for line in paper.lines)


def test_where_no_expert_is_dead_the_page_says_over_how_many_tokens(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, plan=Plan())
    view = view_of(tmp_path, everybody_at(tmp_path / "stores" / "one"))
    assert shown_of(paper, view, "dead_experts")[2:] == ["text 'No row; the notes above say why.'"]
    said = "no expert is dead: each of 6 was selected by some of the 4 tokens of 2 responses read"
    assert any(said in line for line in paper.lines)


def test_what_a_question_takes_stands_beside_its_button_before_it_is_run(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"probe": "pathways"}, plan=Plan())
    view = view_of(tmp_path, store)
    assert probes_page.question_form(view) is None
    assert paper.lines[-2:] == [
        "container| columns [1, 5]", "container| 0| button 'Run' type='primary' key='run-pathways' disabled=False"
    ]  # fmt: skip
    monkeypatch.setattr(work, "SMALL", 0)
    paper.answers |= {"pathways-tokens": "prompt", "run-pathways": True}
    assert probes_page.question_form(view) == Asked("pathways", (("tokens", "prompt"),))
    assert paper.lines[-2:] == [
        "container| 1| text '16 pairs of experts over 4 tokens: 0.0 MB of memory and about 1 s.'",
        "container| 0| button 'Run' type='primary' key='run-pathways' disabled=False",
    ]


def test_a_question_that_takes_too_much_is_refused_before_it_is_run(tmp_path, store, monkeypatch):
    paper = write_on(monkeypatch, {"probe": "pathways", "pathways-limit_mb": 0}, plan=Plan())
    probes_page.show(view_of(tmp_path, store))
    at = next(i for i, line in enumerate(paper.lines) if "key='run-pathways'" in line)
    assert paper.lines[at].endswith("disabled=True")
    assert paper.lines[at - 1].replace("\\", "") == (
        "container| 1| error '16 pairs of experts over 4 tokens: 0.0 MB of memory and about 1 s, which is over limit_mb=0; read "
        "fewer tokens, or keep fewer rows with first=100, or raise limit_mb.' icon=':material/error:'"
    )
    assert paper.lines[-1] == "text 'Choose a probe and press Run.'"
