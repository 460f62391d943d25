"""Where the dashboard cuts, folds away or refuses: each limit from both sides."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.atlas import card as atlas_card
from workbench_app.dashboard.atlas import entropy_chart
from workbench_app.dashboard.captures import capture_form
from workbench_app.dashboard.questions import Measures
from workbench_app.dashboard.rankings import two_probes
from workbench_app.dashboard.steer import plan_line
from workbench_app.dashboard.super_experts import magnitudes, sinks_panel
from workbench_app.dashboard.texts import trace
from workbench_app.experts import facts as expert_facts
from workbench_app.experts.facts import Selected

from probes.magnitudes import MassiveRule
from probes.outputs import Thresholds
from probes.ranking import ExpertScores
from tests.app.paper import write_on
from tests.app.world import SHAPE, store_at, view_of
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.capturing import Estimate, Options
from workbench.prompts import ROLES


def test_every_probe_ranks_at_once_up_to_two_million_tokens_times_experts(monkeypatch):
    paper = write_on(monkeypatch)
    for n, at_once in ((250_000, True), (250_001, False)):
        store = SimpleNamespace(tokens=range(n), anatomy=SHAPE)
        atlas_card.scores_in_every_probe(SimpleNamespace(store=store, view=None, ref=ExpertRef(0, 1)), Measures((), ()))
        drawn = next(line for line in reversed(paper.lines) if line.startswith("toggle"))
        assert drawn.startswith(f"toggle 'Rank every expert in every probe' {at_once} ")


def test_every_layer_has_a_tick_up_to_twenty_four():
    for n, step in ((24, 1), (25, None)):
        frame = pd.DataFrame({"layer": range(n), "load_entropy_bits": 1.0, "token_entropy_bits": 1.0, "n_experts": 4})
        assert entropy_chart.entropy_chart(frame).layout.xaxis.dtick == step
        residual = pd.DataFrame({"layer": range(n), "max_abs": 1.0, "median_abs": 1.0})
        assert magnitudes.residual_figure(residual, MassiveRule(), ()).layout.xaxis.dtick == step
        experts = pd.DataFrame({"layer": range(n), "expert": 0, "score": 1.0, "n": 1, "flags": "", "name": "x"})
        assert magnitudes.magnitude_figure(experts, Thresholds({}, (), {})).layout.xaxis.dtick == step


def test_a_long_plan_is_cut_on_its_line(tmp_path, monkeypatch):
    plan = Plan.parse("; ".join(f"off L0E{i}" for i in range(100)))
    paper = write_on(monkeypatch, plan=plan)
    monkeypatch.setattr(plan_line, "plan_menu", lambda *_: None)
    plan_line.plan_line(view_of(tmp_path), "")
    assert f"container| text 'Plan: {str(plan)[:400]}' width='stretch'" in paper.lines


def test_a_button_names_six_experts(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    frame = pd.DataFrame({"layer": 0, "expert": range(60), "score": 1.0, "flags": ["super expert"] * 7 + [""] * 53})
    found = ExpertScores("super_experts", {}, frame, (), SHAPE.fingerprint)
    sinks_panel.sinks_panel(view_of(tmp_path, store_at(tmp_path / "stores" / "one")), found)
    assert any(
        line.startswith("button 'Measure with L0E0, L0E1, L0E2, L0E3, L0E4, L0E5 muted'") for line in paper.lines
    )
    sinks_panel.whom(ExpertScores("super_experts", {}, frame.assign(flags=""), (), SHAPE.fingerprint))
    assert "number_input 'Experts to mute' 1 50 3 key='sinks-top'" in paper.lines
    paper.lines.clear()
    sinks_panel.whom(ExpertScores("super_experts", {}, frame[:2].assign(flags=""), (), SHAPE.fingerprint))
    assert paper.lines[0] == "number_input 'Experts to mute' 1 2 2 key='sinks-top'"


def test_a_typed_prompt_may_have_so_many_tokens(monkeypatch):
    read = []
    monkeypatch.setattr(trace, "read_tokens", lambda *given: read.append(given) or {})
    monkeypatch.setattr(trace, "encode", lambda *_: [SimpleNamespace(roles=[0, 2])])
    monkeypatch.setattr(trace, "token_texts", lambda tokenizer, ids: ["t"] * len(ids))
    asked = []
    monkeypatch.setattr(
        trace, "encode_all", lambda model, prompts, n: (asked.append((prompts.prompts[0], n)), [[1] * 4096])[1]
    )
    model = SimpleNamespace(tokenizer=None)
    assert trace.typed_trace(model, "x", as_chat=False).n_prompt == 4096
    assert (asked[0][0].text, asked[0][1]) == ("x", 0)
    plan = Plan.parse("off L0E0")
    found = trace.typed_trace(model, "x", as_chat=True, plan=plan)
    assert asked[1][0].messages == ({"role": "user", "content": "x"},)
    assert (found.roles, found.dose.tokens) == ((ROLES[0], ROLES[2]), 0)
    assert [given[:3] for given in read] == [(model, [1] * 4096, None), (model, [1] * 4096, plan)]
    assert [given[3] is None for given in read] == [True, False]
    monkeypatch.setattr(trace, "encode_all", lambda *_: [[1] * 4097])
    with pytest.raises(WorkbenchError, match="has 4,097 tokens, and this page reads 4,096 at most"):
        trace.typed_trace(model, "x", as_chat=True)


def test_overlaps_go_up_to_a_hundred():
    both = pd.DataFrame({"name": range(100), "rank_first": range(1, 101), "rank_second": range(1, 101)})
    assert two_probes.overlap(both)["n"].tolist() == [1, 3, 5, 10, 20, 50, 100]
    assert two_probes.overlap(both[:99])["n"].tolist() == [1, 3, 5, 10, 20, 50]


def test_the_tokens_of_an_expert_are_fifteen_that_were_seen_five_times():
    n = np.repeat(np.arange(20), [4, 5, *[6] * 18])
    tokens = pd.DataFrame({"token_id": n, "token": [f"t{i}" for i in n]})
    hit = np.r_[True, n[1:] != n[:-1]]  # the first of each
    hit[-1] = True  # the last token twice
    found = expert_facts.top_tokens(SimpleNamespace(tokens=tokens), Selected(hit | True, hit, hit * 1.0), "selected")
    assert len(found) == 15
    assert found["token"][0] == "t19"
    assert "t0" not in set(
        expert_facts.top_tokens(SimpleNamespace(tokens=tokens), Selected(hit | True, hit, hit * 1.0), "share", most=99)[
            "token"
        ]
    )
    assert (
        len(expert_facts.top_tokens(SimpleNamespace(tokens=tokens), Selected(hit | True, hit, hit * 1.0), most=99))
        == 19
    )
    never = hit & (n != 7)
    kept = expert_facts.top_tokens(SimpleNamespace(tokens=tokens), Selected(hit | True, never, never * 1.0), most=99)
    assert "t7" not in set(kept["token"])


def test_a_context_has_twelve_tokens_on_each_side():
    tokens = pd.DataFrame({"prompt_id": pd.Categorical(["p"] * 40), "sample": 0})
    hit = np.arange(40) == 20
    (found,) = expert_facts.contexts(SimpleNamespace(tokens=tokens, n_samples=1), Selected(hit | True, hit, hit * 1.0))
    assert tuple(found) == (8, 32, 20)


@pytest.mark.parametrize(("tokens", "shard"), [(20_000, 2048), (60_000, 3000), (10**9, capture_form.SHARD_TOKENS)])
def test_a_capture_is_cut_into_about_twenty_shards(tmp_path, monkeypatch, tokens, shard):
    from workbench_app.dashboard.captures.jobs import Wanted

    from workbench import PromptSet
    from workbench.prompts import Prompt

    write_on(monkeypatch)
    started = []
    monkeypatch.setattr(
        capture_form, "jobs", lambda: SimpleNamespace(active_on=lambda path: False, start=started.append)
    )
    prompts = PromptSet((Prompt("a", text="x"),), "x")
    capture_form.start_capture(
        view_of(tmp_path), "new", Wanted(prompts, Plan(), Options(seed=1)), Estimate(tokens, {"tokens": 1})
    )
    assert started[0].wanted.options == Options(seed=1, shard_tokens=shard)
    monkeypatch.setattr(capture_form, "jobs", lambda: SimpleNamespace(active_on=lambda path: True))
    with pytest.raises(WorkbenchError, match="There is a store 'other' already"):
        capture_form.start_capture(view_of(tmp_path), "other", Wanted(prompts, Plan(), Options()), Estimate(tokens, {}))
    monkeypatch.setattr(capture_form, "jobs", lambda: SimpleNamespace(active_on=lambda path: False))
    with pytest.raises(WorkbenchError, match="free some space"):
        capture_form.start_capture(
            view_of(tmp_path), "large", Wanted(prompts, Plan(), Options()), Estimate(tokens, {"tokens": 10**18})
        )
