"""A run's tables out of unit files written here by hand, and what a unit hands to the library: no model is loaded."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workbench_app.experiments import run as running
from workbench_app.experiments.engine import (
    Arm,
    Measuring,
    about_unit,
    arms_path,
    measuring,
    ranking,
    read_arms,
    read_unit,
)
from workbench_app.experiments.engine.arms import Ranked, to_rows
from workbench_app.experiments.engine.unit_files import write_unit
from workbench_app.experiments.engine.units import Unit
from workbench_app.experiments.recipe import Recipe, own_metric, recipe_from
from workbench_app.experiments.run import Models
from workbench_app.experiments.tables import read_table, read_tables, write_table
from workbench_app.experiments.tables.schema import as_table
from workbench_app.experiments.tables.tables import _left_out, stacked, write_tables

from tests.support.stores import random_store
from workbench import Plan, PromptSet, WorkbenchError
from workbench.capturing import Options
from workbench.progress import Meter, Progress
from workbench.prompts import Prompt

NAN = math.nan
RECIPE: dict[str, Any] = {
    "name": "made", "models": ["some/model"],
    "prompts": {
        "ranked": {"source": "r", "role": "ranking"},
        "held": {"source": "h", "role": "target", "metrics": ["length", "kl_first"], "max_new_tokens": 4},
        "other": {"source": "o", "role": "capability", "metrics": ["choice", "choice_margin"]},
        "given": {"source": "g", "role": "target"},
    },
    "rankings": [{"name": "cats", "method": "usage", "prompts": "ranked"},
                 {"name": "dogs", "method": "ftri", "prompts": "ranked"}],
    "plans": [{"text": "off L1E1"}, {"text": "mute L1E1"}, {"text": "off L9E9"}],
    "controls": {"count": 1, "layer": 0, "usage": 0}, "statistics": {"bootstrap": 50, "permutations": 50},
    "measure": {"perplexity": "given", "sinks": "given"},
}  # fmt: skip
ARMS = (
    Arm("base", "base"),
    Arm("P01", "explicit", plan="off L1E1", json=Plan.off("L1E1").to_json(), experts=("L1E1",), n=1),
    Arm(
        "P01.count.0",
        "random",
        of="P01",
        match="count",
        draw=0,
        plan="off L1E1",
        json=Plan.off("L1E1").to_json(),
        experts=("L1E1",),
    ),
    Arm("P02", "explicit", plan="mute L1E1", json=Plan.mute("L1E1").to_json(), experts=("L1E1",)),
    Arm("P03", "explicit", reason="no such layer"),
    Arm("P03.count.0", "random", of="P03", match="count", draw=0, reason="P03 cannot be run"),
)
RUN = ("base", "P01", "P02")  # P01.count.0 has the plan of P01
SETS = {
    name: PromptSet(tuple(Prompt(f"{name}{i}", text=f"{name} words {i}", cluster=f"c{i // 2}") for i in range(3)), name)
    for name in ("ranked", "held", "other", "given")
}


def ids(prompts: str) -> list[str]:
    return [f"{prompts}{i}" for i in range(3)]


def several(prompts: str, **columns: Any) -> pd.DataFrame:
    """A unit file of several arms: each column's value of prompt i under arm a is its start + i + 10 a."""
    rows = [
        {"prompt_id": f"{prompts}{i}", "arm": arm, **{name: start + i + 10 * a for name, start in columns.items()}}
        for a, arm in enumerate(RUN)
        for i in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("run")
    write_unit(run, arms_path(0), pd.DataFrame(to_rows(ARMS)).astype(object))
    assert read_arms(run, 0) == ARMS
    scores = pd.DataFrame({"layer": [1, 1], "expert": [4, 2], "score": [0.5, 0.25], "n": [3, 2], "low": NAN, "high": NAN,
                           "p": NAN, "p_adjusted": NAN, "flags": ""})  # fmt: skip
    from probes.ranking import ExpertScores

    ExpertScores("usage", {}, scores, ("a note",), "f").to_parquet(run / "units" / "00-scores-00.parquet")
    write_unit(run, "units/00-scores-01.parquet", pd.DataFrame(), {"failed": "no labels."})
    for a, arm in enumerate(RUN):
        answers = pd.DataFrame({"prompt_id": ids("held"), "answer": [f"{arm} {i}" for i in range(3)], "ids": [[1]] * 3,
                                "metric.length": [NAN if i + a > 2 else 5.0 + i + 10 * a for i in range(3)]})  # fmt: skip
        dose = {"tokens": 100 + a, "tokens_changed": a, "slots": 200 + a, "slots_changed": 2 * a, "tokens_emptied": 9}
        write_unit(run, f"units/00-01-answers-{arm}.parquet", answers, {"dose": dose})
        # two prompts, two layers, two heads: prompt 0 has 3 queries, prompt 1 has 1
        share = [0.5, 0.25, 1.0, 0.5, 0.1, 0.05, 0.2, 0.1]
        sinks = pd.DataFrame({"prompt_id": ["given0"] * 4 + ["given1"] * 4, "layer": [0, 0, 3, 3] * 2, "head": [0, 1] * 4,
                              "share": [s / (a + 1) for s in share], "n_queries": [3] * 4 + [1] * 4})  # fmt: skip
        write_unit(run, f"units/00-03-sinks-{arm}.parquet", sinks)
    kl = {"kl_first_nats": 0.5, "kl_nats": 0.25, "nll_nats": 1.5, "n_tokens": 4}
    write_unit(run, "units/00-01-distributions-base.parquet", several("held", **kl))
    write_unit(
        run, "units/00-02-choice-base.parquet", several("other", choice=0.0, choice_normalised=0.5, choice_margin=2.0)
    )
    write_unit(run, "units/00-03-perplexity-base.parquet", several("given", **{**kl, "nll_nats": 7.5}))
    write_tables(run, recipe_from(RECIPE), SETS)
    return read_tables(run)


def test_values_are_those_of_the_files_under_the_arms_own_names(tables: dict[str, Any]) -> None:
    values = tables["values"].set_index(["arm", "prompts", "metric", "prompt_id"])["value"]
    number = {"base": 0, "P01": 1, "P01.count.0": 1, "P02": 2}
    expected: dict[Any, float] = {}
    for arm, a in number.items():
        for i in range(3):
            expected[arm, "held", "length", f"held{i}"] = NAN if i + a > 2 else 5.0 + i + 10 * a
            expected[arm, "held", "kl_first", f"held{i}"] = 0.5 + i + 10 * a
            expected[arm, "other", "choice", f"other{i}"] = i + 10 * a
            expected[arm, "other", "choice_margin", f"other{i}"] = 2.0 + i + 10 * a
            expected[arm, "given", "nll", f"given{i}"] = 7.5 + i + 10 * a
        for i, mean in ((0, 2.25 / 4), (1, 0.45 / 4)):
            expected[arm, "given", "sink_share", f"given{i}"] = mean / (a + 1)
    assert values.to_dict() == pytest.approx(expected, nan_ok=True)
    assert set(tables["values"]["model"]) == {"some/model"}
    clusters = tables["values"].set_index("prompt_id")["cluster"].to_dict()
    assert clusters == {f"{name}{i}": f"c:c{i // 2}" for name in ("held", "other", "given") for i in range(3)}


def test_answers_stand_beside_their_prompts(tables: dict[str, Any]) -> None:
    found = tables["answers"].set_index(["arm", "prompt_id"])[["prompts", "prompt", "answer"]].to_numpy().tolist()
    files = {"P01": "P01", "P01.count.0": "P01", "P02": "P02", "base": "base"}
    assert found == [["held", f"held words {i}", f"{file} {i}"] for file in files.values() for i in range(3)]
    assert tables["doses"].drop(columns="model").to_numpy().tolist() == [
        [arm, "held", 100 + a, a, 200 + a, 2 * a]
        for arm, a in (("P01", 1), ("P01.count.0", 1), ("P02", 2), ("base", 0))
    ]


def test_distributions_are_over_answers_and_over_given_text(tables: dict[str, Any]) -> None:
    found = tables["distributions"].set_index(["arm", "prompts", "prompt_id"])
    assert len(found) == 4 * 6
    names = ["kl_first_nats", "kl_nats", "nll_nats", "n_tokens"]
    assert found.loc[("P02", "held", "held1"), names].tolist() == [21.5, 21.25, 22.5, 25]
    assert found.loc[("P01.count.0", "given", "given2"), names].tolist() == [12.5, 12.25, 19.5, 16]


def test_sinks_are_over_all_queries_of_all_prompts(tables: dict[str, Any]) -> None:
    rows = tables["sinks"].set_index(["arm", "layer"])
    # layer 0: heads (3 * 0.5 + 0.1) / 4 and (3 * 0.25 + 0.05) / 4; layer 3 twice that
    first = ((1.5 + 0.1) / 4 + (0.75 + 0.05) / 4) / 2
    for a, arm in enumerate(RUN):
        for layer, share in ((0, first), (3, 2 * first)):
            assert rows.loc[(arm, layer), "share"] == pytest.approx(share / (a + 1))
            assert rows.loc[(arm, layer), "decay"] == pytest.approx(1 - 1 / (a + 1))
    assert len(rows) == 8


def test_effects_are_worked_out_from_the_values(tables: dict[str, Any]) -> None:
    rows = tables["effects"].set_index(["arm", "prompts", "metric"])
    length = rows.loc[("P01", "held", "length")]  # prompts 0 and 1: 5, 6 and 15, 16
    assert length[["base", "steered", "difference", "n", "n_clusters"]].tolist() == [5.5, 15.5, 10.0, 2, 1]
    assert rows.loc[("P02", "held", "length"), ["base", "steered", "n"]].tolist() == [5.0, 25.0, 1]
    assert rows.loc[("P02", "other", "choice"), ["base", "steered", "difference", "n", "n_clusters"]].tolist() == [
        1,
        21,
        20,
        3,
        2,
    ]
    assert rows.loc[("P01", "other", "choice"), ["random_median_count", "beats_random"]].tolist() == [10.0, 0.0]
    assert pd.isna(rows.loc[("P01", "other", "choice"), "random_median_layer"])
    assert pd.isna(rows.loc[("P02", "other", "choice"), "beats_random"])  # no draws of its own
    assert set(rows["role"][rows.index.get_level_values("prompts") == "other"]) == {"capability"}
    # clusters of two and one: of four sign patterns the observed and its mirror are as large
    assert rows.loc[("P01", "other", "choice"), "p"] == pytest.approx(0.5)
    assert pd.isna(rows.loc[("P01", "held", "kl_first"), "p"])
    assert not {"base", "P03"} & set(rows.index.get_level_values("arm"))


def test_scores_notes_and_units_are_told(tables: dict[str, Any]) -> None:
    scores = tables["scores"][["model", "ranking", "method", "rank", "layer", "expert", "is_shared", "score", "n"]]
    assert scores.to_numpy().tolist() == [
        ["some/model", "cats", "usage", 1, 1, 4, False, 0.5, 3], ["some/model", "cats", "usage", 2, 1, 2, False, 0.25, 2],
    ]  # fmt: skip
    notes = tables["notes"]
    assert notes[notes["about"] != "controls"][["model", "about", "text"]].to_numpy().tolist() == [
        ["some/model", "arm P03", "was not run: no such layer"],
        [
            "some/model",
            "prompts held",
            "length has no value for 0 of 3 answers of the bare model, and for up to 2 of an arm (P02).",
        ],
        ["some/model", "ranking cats", "a note"],
        ["some/model", "ranking dogs", "could not be made: no labels."],
    ]
    controls = notes[notes["about"] == "controls"]
    assert len(controls) == 3
    assert controls["model"].isna().all()
    units = tables["units"].set_index(["arm", "prompts", "what"])["outcome"]
    assert units.xs("P03").eq("impossible").all()
    assert units.xs("P01.count.0").eq("shared").all()
    assert units.loc[["base", "P01", "P02"]].eq("run").all()
    assert len(units) == 6 * 5
    arms = tables["arms"].set_index("arm")
    assert arms.loc["P01", ["kind", "plan", "n"]].tolist() == ["explicit", "off L1E1", 1]
    assert list(arms.loc["P01", "experts"]) == ["L1E1"]


def test_what_has_no_value_is_counted_by_its_arm() -> None:
    rows = [
        (arm, "held", f"p{i}", "m", NAN if i < lost else 1.0)
        for arm, lost in (("base", 1), ("P01", 3), ("P02", 2))
        for i in range(4)
    ]
    rows += [(arm, "sums", f"p{i}", "whole", 1.0) for arm in ("base", "P01") for i in range(9)]
    frame = pd.DataFrame(rows, columns=["arm", "prompts", "prompt_id", "metric", "value"])
    assert list(_left_out(frame)) == [
        {
            "about": "prompts held",
            "text": "m has no value for 1 of 4 answers of the bare model, and for up to 3 of an arm (P01).",
        }
    ]
    assert list(_left_out(frame.iloc[:0])) == []
    assert stacked([]).empty


# ---- tables as files


def test_a_table_has_its_schema_and_its_order(tmp_path: Path) -> None:
    rows = [
        {"model": m, "arm": a, "layer": n, "share": s}
        for m, a, n, s in (("b", "x", 1, NAN), ("a", "y", 2, 0.5), ("a", "x", 3, 0.25))
    ]
    write_table(tmp_path, "sinks", rows)
    found = read_table(tmp_path, "sinks")
    assert list(zip(found["model"], found["arm"], strict=True)) == [("a", "x"), ("a", "y"), ("b", "x")]
    assert found["decay"].isna().all()
    assert as_table("sinks", rows).column("share").null_count == 1
    assert str(found["layer"].dtype) == "Int32"
    with pytest.raises(ValueError, match=r"^The table sinks has no columns \['a', 'z'\]\.$"):
        as_table("sinks", [{"z": 1, "a": 2, "model": "m"}])
    with pytest.raises(WorkbenchError) as error:
        read_table(tmp_path, "arms")
    path = tmp_path / "tables" / "arms.parquet"
    assert str(error.value) == f"There is no table '{path}'; `workbench run` writes it when a run is finished."
    with pytest.raises(WorkbenchError, match="There is no table"):
        read_tables(tmp_path)


def test_a_units_file_is_whole_or_said_to_be_damaged(tmp_path: Path) -> None:
    write_unit(tmp_path, "units/x.parquet", pd.DataFrame({"a": [1, 2]}), {"dose": {"tokens": 3}})
    found = read_unit(tmp_path / "units" / "x.parquet")
    assert found.to_pydict() == {"a": [1, 2]}
    assert about_unit(found) == {"dose": {"tokens": 3}}
    write_unit(tmp_path, "units/y.parquet", pd.DataFrame({"a": [1]}))
    assert about_unit(read_unit(tmp_path / "units" / "y.parquet")) == {}
    (tmp_path / "units" / "y.parquet").write_bytes(b"no parquet")
    with pytest.raises(
        WorkbenchError,
        match=r"y.parquet' cannot be read \(.*\); remove it and run the recipe again, which makes it anew\.$",
    ):
        read_unit(tmp_path / "units" / "y.parquet")


# ---- measuring


def test_a_unit_is_measured_as_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, asked = recipe_from(RECIPE), list[Any]()
    found = SimpleNamespace(
        kl_first_nats=[1.0, 2.0, 3.0], kl_nats=[4.0, 5.0, 6.0], nll_nats=[7.0, 8.0, 9.0], n_tokens=[1, 2, 3]
    )
    other = SimpleNamespace(kl_first_nats=[0.0] * 3, kl_nats=[0.5] * 3, nll_nats=[0.25] * 3, n_tokens=[9] * 3)
    sinks = SimpleNamespace(layers=(0, 3), share=np.arange(12.0).reshape(3, 2, 2) / 10, n_queries=np.array([5, 6, 7]))
    sinks.share[2] = NAN
    dose = SimpleNamespace(_asdict=lambda: {"tokens": 5})

    def answer(model: Any, encoded: Any, plan: Plan, most: int, batch: int, meter: Any) -> Any:
        asked.append(("answers", encoded, str(plan), most, batch))
        return SimpleNamespace(texts=("a", "bb", "ccc"), ids=((1,), (2, 3), ()), dose=dose, broken=())

    def divergence(model: Any, before: Any, after: Any, plans: Any, batch: int, meter: Any) -> Any:
        asked.append(("read", before, after, list(map(str, plans)), batch))
        return [found, other]

    def choose(model: Any, prompts: Any, plans: Any, batch_tokens: int, meter: Any) -> Any:
        asked.append(("choice", prompts, list(map(str, plans)), batch_tokens))
        rows = {"prompt_id": ids("other"), "right": [True, False, True], "right_normalised": [False, False, True]}
        return [pd.DataFrame(rows | {"margin_nats": [0.5, -0.5, start]}) for start in (1.0, 2.0)]

    def encode(model: Any, prompts: Any, room: int) -> Any:
        asked.append(("encode", str(prompts.source), room))
        return [(1,), (2, 2), (3, 3, 3)]

    monkeypatch.setattr(measuring, "answer", answer)
    monkeypatch.setattr(measuring, "divergence", divergence)
    monkeypatch.setattr(measuring, "choose", choose)
    monkeypatch.setattr(measuring, "encode_all", encode)
    checked: list[Any] = []
    monkeypatch.setattr(measuring, "check_applies", lambda prompts, found: checked.append(list(found.values)))
    monkeypatch.setattr(
        "workbench.comparison.sinks_by_prompt",
        lambda model, prompts, plan: asked.append(("sinks", str(plan))) or sinks,
    )
    texts = [SimpleNamespace(prompt_id=f"given{i}", before=(i,), read=(i, i)) for i in range(3)]
    monkeypatch.setattr(measuring, "given_text", lambda *_: texts)
    meter, nothing = Meter(0, None), str(Plan())
    here = Measuring(tmp_path, recipe, SimpleNamespace(), SETS, {}, meter)  # pyright: ignore[reportArgumentType]
    base, plan, encoded = ARMS[0], ARMS[1], [(1,), (2, 2), (3, 3, 3)]

    def measured(what: str, prompts: str, *arms: Arm) -> pd.DataFrame:
        asked.clear()
        number = list(recipe.prompts).index(prompts)
        path = f"units/00-{number:02}-{what}-{arms[0].arm}.parquet"
        here.measure(Unit(prompts, what, arms, path))
        return read_unit(tmp_path / path).to_pandas()

    one = measured("answers", "held", base)
    assert asked == [("encode", "held", 4), ("answers", encoded, nothing, 4, 4096)]
    assert one.drop(columns="ids").to_numpy().tolist() == [["held0", "a", 1], ["held1", "bb", 2], ["held2", "ccc", 3]]
    assert list(one.columns) == ["prompt_id", "answer", "ids", "metric.length"]
    assert [list(i) for i in one["ids"]] == [[1], [2, 3], []]
    assert about_unit(read_unit(tmp_path / "units/00-01-answers-base.parquet")) == {"dose": {"tokens": 5}}
    assert checked == [["length"]]
    measured("answers", "held", plan)
    assert asked == [("answers", encoded, "off L1E1", 4, 4096)]  # encoded once
    assert checked == [["length"]]  # asked of the bare model alone
    kl = measured("distributions", "held", base, plan)
    assert asked == [("read", encoded, [(1,), (2, 3), ()], [nothing, "off L1E1"], 4096)]
    assert kl.to_numpy().tolist() == [
        *(["held" + str(i), 1.0 + i, 4.0 + i, 7.0 + i, 1 + i, "base"] for i in range(3)),
        *(["held" + str(i), 0.0, 0.5, 0.25, 9, "P01"] for i in range(3)),
    ]
    assert list(kl.columns) == ["prompt_id", "kl_first_nats", "kl_nats", "nll_nats", "n_tokens", "arm"]
    chosen = measured("choice", "other", base, plan)
    assert asked == [("choice", SETS["other"], [nothing, "off L1E1"], 4096)]
    assert chosen.to_numpy().tolist() == [
        [f"other{i}", float(i != 1), float(i == 2), (0.5, -0.5, last)[i], arm]
        for arm, last in (("base", 1.0), ("P01", 2.0))
        for i in range(3)
    ]
    assert list(chosen.columns) == ["prompt_id", "choice", "choice_normalised", "choice_margin", "arm"]
    text = measured("perplexity", "given", base, plan)
    assert asked == [
        ("encode", "given", 0),
        ("read", [(0,), (1,), (2,)], [(0, 0), (1, 1), (2, 2)], [nothing, "off L1E1"], 4096),
    ]
    assert text["prompt_id"].tolist() == ids("given") * 2
    shares = measured("sinks", "given", plan)
    assert asked == [("sinks", "off L1E1")]
    assert shares.to_numpy().tolist() == [
        [f"given{p}", layer, head, pytest.approx((4 * p + 2 * at + head) / 10), n]
        for p, n in ((0, 5), (1, 6))
        for at, layer in enumerate((0, 3))
        for head in (0, 1)
    ]  # the third prompt has no query
    assert (meter.done, meter.forwards) == (6, 1)
    texts.clear()
    with pytest.raises(WorkbenchError) as error:
        measured("perplexity", "given", base)
    assert (
        str(error.value)
        == "'measure.perplexity' reads 'given', none of whose prompts gives a text or a response to read."
    )


def test_a_function_of_ones_own_gives_a_number_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    assert own_metric("builtins:len").function("abc") == 3.0  # pyright: ignore[reportArgumentType]
    assert own_metric("os.path:splitdrive").name == "os.path:splitdrive"
    monkeypatch.setattr(builtins, "nothing_of_ours", lambda _: None, raising=False)
    assert own_metric("builtins:nothing_of_ours").function("abc") is None  # pyright: ignore[reportArgumentType]


# ---- capturing and ranking


def test_every_ranking_set_is_captured_once_as_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"keep": ["outputs"], "generate": 3, "samples": 2, "temperature": 0.5}
    recipe, asked = recipe_from(RECIPE | {"capture": how, "seed": 9, "batch_tokens": 77}), list[Any]()
    said: list[Progress] = []
    meter = Meter(100, said.append)

    def capture(model: Any, prompts: Any, path: Path, given: Options, *, progress: Any) -> Any:
        asked.append((model, prompts, path.as_posix().removeprefix(f"{tmp_path}/"), given))
        for done, message in ((5, ""), (5, "a message"), (5, ""), (12, "")):
            progress(Progress(done, 50, 1.0, message))
        return random_store(path)

    monkeypatch.setattr(ranking, "capture_with", capture)
    found = ranking.captured(tmp_path, recipe, 3, SETS, lambda: "the model", meter)  # pyright: ignore[reportArgumentType]
    options = Options(("outputs",), generate=3, samples=2, temperature=0.5, batch_tokens=77, seed=9)
    assert asked == [("the model", SETS["ranked"], "stores/03-00", options)]
    assert [(p.done, p.message) for p in said] == [(5, ""), (5, "a message"), (12, "")]
    again = ranking.captured(tmp_path, recipe, 3, SETS, lambda: 1 / 0, meter)  # pyright: ignore[reportArgumentType]
    assert [s.path for s in again.values()] == [s.path for s in found.values()]
    responses = recipe_from(RECIPE | {"capture": {"responses": True}})
    ranking.captured(tmp_path / "b", responses, 0, SETS, lambda: 0, Meter(0, None))  # pyright: ignore[reportArgumentType]
    assert asked[-1][3].responses is True


def test_a_ranking_is_made_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.ranking import ExpertScores

    recipe, made, said = recipe_from(RECIPE), list[Any](), list[Progress]()
    frame = pd.DataFrame({"layer": [1], "expert": [2], "score": [0.5], "n": [3], "low": NAN, "high": NAN, "p": NAN,
                          "p_adjusted": NAN, "flags": "super expert"})  # fmt: skip

    def usage(store: Any, **options: Any) -> ExpertScores:
        made.append((store, options))
        return ExpertScores("usage", {}, frame, (), "f")

    def fails(store: Any) -> ExpertScores:
        raise WorkbenchError("no labels.")

    monkeypatch.setattr(
        ranking, "ranker", lambda name: SimpleNamespace(load=lambda: {"usage": usage, "ftri": fails}[name])
    )
    monkeypatch.setattr(ranking, "expert_loads", lambda store: f"loads of {store}")
    for _ in range(2):
        found: Ranked = ranking.rank(tmp_path, recipe, 2, {"ranked": "the store"}, Meter(0, said.append))  # pyright: ignore[reportArgumentType]
        assert list(found.scores) == ["cats"]
        assert found.failed == {"dogs": "no labels."}
        assert found.loads == {"cats": "loads of the store", "dogs": "loads of the store"}
        assert [str(e) for e in found.supers] == ["L1E2"]
    assert made == [("the store", {})]
    assert [p.message for p in said] == ["Ranking by usage: cats", "Ranking by ftri: dogs"]
    assert sorted(f.name for f in (tmp_path / "units").iterdir()) == ["02-scores-00.parquet", "02-scores-01.parquet"]


# ---- running


def test_a_model_is_opened_once_and_let_go_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.hooks.as_it_is", lambda model: f"{model} as it is")
    opened: list[str] = []
    recipe = recipe_from(RECIPE | {"models": ["a", "b"]})
    models = Models(recipe, lambda source: opened.append(source.source) or source.source)  # pyright: ignore[reportArgumentType]
    assert [models(0), models(0), models(1), models(1), models(0)] == [
        f"{n} as it is" for n in ("a", "a", "b", "b", "a")
    ]
    assert opened == ["a", "b", "a"]
    assert len(models._held) == 1


def test_a_source_is_opened_with_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("workbench_app.terminal.open_model", lambda *given, **hub: asked.append((given, hub)))
    plain, full = recipe_from(
        RECIPE | {"models": ["a", {"source": "b", "dtype": "x", "device": "y", "revision": "r", "device_map": "auto"}]}
    ).models
    running.open_source(plain)
    running.open_source(full)
    assert asked == [(("a", "auto", "auto"), {}), (("b", "y", "x"), {"device_map": "auto", "revision": "r"})]


def test_what_is_left_is_counted_unit_by_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of one plan: the total is what was done, the units left and the models to come."""
    recipe = _small(models=["a", "b"])
    meter, seen = Meter(0, None), list[Any]()
    monkeypatch.setattr(running, "token_counts", lambda *_: {"ranked": 10, "held": 20})
    monkeypatch.setattr(running, "planned_cost", lambda *_: 1000)
    monkeypatch.setattr(
        running, "unit_cost", lambda recipe, sets, lengths, unit: {"answers": 7, "distributions": 11}[unit.what]
    )
    monkeypatch.setattr(running, "check_model", lambda *given: seen.append(("checked", given[2], given[4])))
    monkeypatch.setattr(running, "captured", lambda *_: {})

    def measure(self: Measuring, unit: Unit) -> None:
        seen.append((unit.what, unit.arms[0].arm, self.meter.total, self.meter.done))
        self.meter.forwarded(5)

    monkeypatch.setattr(Measuring, "measure", measure)
    model = SimpleNamespace(dtype="torch.float32", anatomy="the map")
    arms = (ARMS[0], ARMS[1])
    for number in (0, 1):
        write_unit(tmp_path, arms_path(number), pd.DataFrame(to_rows(arms)).astype(object))
    one = running._Run(tmp_path, recipe, SETS, lambda _: model, {"models": [{}, {}]}, meter)  # pyright: ignore[reportArgumentType]
    assert one._one_model(0) == 3
    assert seen == [
        ("checked", 0, "float32"),
        ("answers", "base", 7 + 7 + 11 + 1000, 0), ("answers", "P01", 5 + 7 + 11 + 1000, 5),
        ("distributions", "base", 10 + 11 + 1000, 10),
    ]  # fmt: skip
    assert meter.total == 15 + 1000
    seen.clear()
    (tmp_path / "units" / "01-01-answers-base.parquet").touch()  # done before
    assert one._one_model(1) == 2
    assert seen[1:] == [("answers", "P01", 15 + 7 + 11, 15), ("distributions", "base", 20 + 11, 20)]
    assert meter.total == 25
    for name in ("01-01-answers-P01", "01-01-distributions-base"):
        (tmp_path / "units" / f"{name}.parquet").touch()
    assert one._one_model(1) == 0


def test_before_there_are_arms_the_total_is_all_that_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _small(models=["a", "b", "c"])
    meter = Meter(0, None)
    meter.forwarded(6)
    monkeypatch.setattr(running, "token_counts", lambda *_: {})
    monkeypatch.setattr(running, "planned_cost", lambda *_: 1000)
    monkeypatch.setattr(running, "check_model", lambda *_: None)
    decoded: list[Any] = []
    monkeypatch.setattr(running, "check_decoding", lambda *given: decoded.append(given[2:]))
    monkeypatch.setattr(running, "decoding_of", lambda *_: SimpleNamespace(record=lambda: {"stop": [1]}))
    monkeypatch.setattr(running, "captured", lambda *_: {})

    def rank(run: Path, recipe: Recipe, number: int, stores: Any, meter: Meter) -> Any:
        assert (number, meter.total) == (1, 6 + 2 * 1000)
        return "ranked"

    monkeypatch.setattr(running, "rank", rank)
    monkeypatch.setattr(
        running, "arms_of", lambda recipe, anatomy, ranked: ARMS if (anatomy, ranked) == ("the map", "ranked") else ()
    )
    model = SimpleNamespace(dtype="torch.float32", anatomy="the map")
    one = running._Run(tmp_path, recipe, SETS, lambda _: model, {"models": [{}, {"decoding": {"stop": [1]}}]}, meter)  # pyright: ignore[reportArgumentType]
    assert one._arms_on_disk(1) is None
    assert one._make_arms(1) == ARMS == one._arms_on_disk(1)
    assert decoded == [(1, {"stop": [1]})]


def _small(**changes: Any) -> Recipe:
    prompts = {k: v for k, v in RECIPE["prompts"].items() if k in ("ranked", "held")}
    return recipe_from(
        RECIPE | {"prompts": prompts, "rankings": [], "plans": [{"text": "off L1E1"}], "measure": {}} | changes
    )
