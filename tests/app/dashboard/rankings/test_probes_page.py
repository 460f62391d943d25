"""The pages Probes and Super experts, driven without a browser: what they ask, what they say, and that text stays text."""

import io

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.rankings.two_probes import overlap, paired, spearman
from workbench_app.dashboard.rankings.volcano import smallest_p
from workbench_app.dashboard.widgets import named
from workbench_app.dashboard.widgets.ranking_table import as_file

from probes import contrast, ftri, npmi, pathways, super_experts, usage
from probes.outputs import thresholds
from probes.ranking import ExpertScores
from probes.structure import work
from tests.app.pages import HOSTILE, hostile_store, opened, says, texts
from workbench import Plan, load, open_store
from workbench.bundled import bundled_path

pytestmark = pytest.mark.slow  # every test draws pages

NO_STORE = "No store of this model yet; make one under Captures and runs."


@pytest.fixture(scope="module")
def store():
    return open_store(bundled_path("demo-store"))


def run_of(page, method):
    if page.selectbox(key="probe").value != method:
        page.selectbox(key="probe").set_value(method).run()
    return next(b for b in page.button if b.label == "Run").click().run()


def first_table(page):
    return page.dataframe[0].value


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("ftri", lambda s: ftri(s, baseline="answered", tokens="last_prompt")),
        ("npmi", lambda s: npmi(s, role="assistant")),
        ("contrast", lambda s: contrast(s, "sensitive=yes", "sensitive=no", tokens="last_prompt")),
        ("usage", usage),
        ("super_experts", super_experts),
    ],
)
def test_every_probe_runs_on_the_bundled_store_and_ranks_as_the_library_does(tmp_path, store, method, expected):
    page = run_of(opened("probes", tmp_path), method)
    found = expected(store)
    assert first_table(page)["name"].tolist() == named(found)["name"].tolist()
    assert np.allclose(first_table(page)["score"], found.frame["score"], equal_nan=True)
    assert all(says(page, note) for note in found.notes)
    assert says(page, "A score is association with the prompts of a store, not an effect.")


def test_a_ranking_becomes_a_plan_and_the_filters_narrow_the_table(tmp_path, store):
    page = run_of(opened("probes", tmp_path), "ftri")
    page.selectbox(key="rank-edit").set_value("mute").run()
    page.button(key="rank-make").click().run()
    expected = ftri(store, baseline="answered", tokens="last_prompt")
    assert page.session_state["plan"] == Plan.mute(expected.top(2)).for_model(load("demo").anatomy)
    page.text_input(key="ranked-text").set_value("l2e8").run()
    assert first_table(page)["name"].tolist() == ["L2E8"]
    page.text_input(key="ranked-text").set_value("no such expert").run()
    assert says(page, "No expert meets these filters; widen them.")
    page.number_input(key="rank-n").set_value(128).run()
    page.button(key="rank-make").click().run()
    assert any("score above zero" in e.value for e in page.error)


def test_two_probes_are_compared_by_rank(tmp_path, store):
    page = run_of(opened("probes", tmp_path), "ftri")
    assert says(page, "Run a second probe")
    page = run_of(page, "usage")
    one, other = usage(store), ftri(store, baseline="answered", tokens="last_prompt")
    both = paired(one, other)
    scipy = pytest.importorskip("scipy.stats")
    assert spearman(both) == pytest.approx(scipy.spearmanr(both["score_first"], both["score_second"]).statistic)
    assert says(page, f"Spearman's rank correlation {spearman(both):+.3f} over 128 experts")
    same = overlap(paired(one, one))
    assert (same["in both"] == same["n"]).all()
    shared = len({str(r) for r in one.top(10)} & {str(r) for r in other.top(10)})
    assert overlap(both).set_index("n").loc[10, "in both"] == shared


def test_downloads_hold_what_the_library_writes(store, tmp_path):
    found = usage(store, n_bootstrap=0)
    for ending, read in (("csv", ExpertScores.from_csv), ("parquet", ExpertScores.from_parquet)):
        path = tmp_path / f"scores.{ending}"
        path.write_bytes(as_file(found, ending))
        back = read(path)
        pd.testing.assert_frame_equal(back.frame, found.frame)
        assert (back.notes, back.fingerprint) == (found.notes, found.fingerprint)
    assert len(pd.read_parquet(io.BytesIO(as_file(found, "parquet")))) == 128


def test_no_p_value_is_below_the_smallest_that_is_named(store):
    found = ftri(store, baseline="answered", tokens="last_prompt", n_permutations=99)
    assert smallest_p(found) == 0.01
    assert found.frame["p"].min() == pytest.approx(0.01)
    assert smallest_p(usage(store)) is None


def test_a_question_that_cannot_be_asked_is_a_sentence_and_is_forgotten(tmp_path, store):
    page = opened("probes", tmp_path)
    page.selectbox(key="probe").set_value("npmi").run()
    page.selectbox(key="npmi-kind").set_value("a token")
    page = run_of(page, "npmi")
    tokens = store.table("tokens")  # routed: all but the last of each response, which is special here
    spoken = int((~tokens["role"].isin(["special", "template"])).sum())
    assert spoken == 2870
    assert says(page, f"The marker '<think>' is at none of the {spoken} tokens read")
    assert says(page.run(), "Choose a probe and press Run.")


def test_what_a_question_takes_is_said_as_soon_as_its_options_are_chosen(tmp_path, monkeypatch, capsys, store):
    monkeypatch.setattr(work, "SMALL", 0)
    page = opened("probes", tmp_path)
    page.selectbox(key="probe").set_value("pathways").run()
    assert says(page, "3,072 pairs of experts over 2,870 tokens: 1.5 MB of memory and about 1 s.")
    page.selectbox(key="pathways-tokens").set_value("last_prompt").run()
    pathways(store, tokens="last_prompt")
    (said,) = capsys.readouterr().err.splitlines()  # what the command line says; the page wrote nothing there
    assert said in texts(page)
    assert says(page, "Choose a probe and press Run.")
    page.number_input(key="pathways-limit_mb").set_value(0).run()
    assert says(page, "which is over limit_mb=0; read fewer tokens")
    assert page.button(key="run-pathways").disabled
    page.number_input(key="pathways-limit_mb").set_value(2000).run()
    assert says(run_of(page, "pathways"), "pathways of 1,000 rows")


@pytest.mark.parametrize("page", ["probes", "super-experts"])
def test_without_a_store_the_page_says_what_to_do(tmp_path, page):
    assert NO_STORE in texts(opened(page, tmp_path, "tiny/olmoe"))


@pytest.mark.parametrize("name", ["probes", "super-experts"])
def test_hostile_texts_of_a_store_stay_text(tmp_path, name):
    hostile_store(tmp_path / "stores" / "odd")
    page = opened(name, tmp_path, "tiny/olmoe")
    if name == "probes":
        assert any(HOSTILE.split("\x1b")[0] in option for option in page.selectbox(key="ftri-target").options)
        page = run_of(page, "ftri")
        assert first_table(page)["name"].str.match(r"L\d+E\d+").all()
    else:
        page.button(key="sinks-run").click().run()
        assert says(page, "Dose: ")
    assert all("<script" not in m.value and "![" not in m.value for m in page.markdown)
    assert not any("\x1b" in said or "\u202e" in said for said in texts(page))


def test_sinks_are_measured_with_eager_attention_which_is_taken_back(tmp_path, store):
    from workbench_app.dashboard.session.machines import machine
    from workbench_app.dashboard.super_experts.sinks_panel import measured, prompt_ids

    page = opened("super-experts", tmp_path)
    assert says(page, "No expert is a super expert by this rule")
    page.button(key="sinks-run").click().run()
    assert says(page, "Plan: mute L2E8; mute L2E19; mute L2E20")
    model = machine("demo").model
    assert model.hf.config._attn_implementation == "sdpa"
    prompts = prompt_ids(store, 2)
    found = measured(model, prompts, Plan.mute("L2E8,L2E19,L2E20"), lambda done: None)
    base, muted = found.base.share, found.muted.share
    assert (base[:3] == muted[:3]).all()  # layers up to the muted one attend as before
    assert (base[3] != muted[3]).any()
    assert found.dose.tokens == sum(map(len, prompts))
    with pytest.raises(RuntimeError, match="stop"):
        measured(model, prompts, Plan(), stop)
    assert model.hf.config._attn_implementation == "sdpa"


def stop(done):
    raise RuntimeError("stop")


def test_the_thresholds_drawn_are_those_that_flag(store):
    found = super_experts(store, "fifty_times_mean", guard=False)
    limits = thresholds(store, found)
    passes = (found.frame["score"] > limits.limits["50 x mean"]) & found.frame["layer"].isin(limits.layers)
    assert passes.tolist() == ["super expert" in flags for flags in found.frame["flags"]]
    medians = found.frame.groupby("layer")["score"].median()
    assert limits.guards == {int(n): pytest.approx(10 * v) for n, v in medians.items()}
    assert limits.layers == (0, 1, 2)
