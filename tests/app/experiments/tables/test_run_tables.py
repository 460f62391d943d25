"""A run's tables out of unit files written here by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.engine import about_unit, arms_path, read_arms, read_unit
from workbench_app.experiments.engine.arms import to_rows
from workbench_app.experiments.engine.unit_files import write_unit
from workbench_app.experiments.recipe import recipe_from
from workbench_app.experiments.tables import read_table, read_tables, write_table
from workbench_app.experiments.tables.schema import as_table
from workbench_app.experiments.tables.tables import left_out_of, stacked, write_tables

from tests.app.experiments.made import ARMS, NAN, RECIPE, RUN, SETS, ids, several
from workbench import WorkbenchError


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
    assert list(left_out_of(frame)) == [
        {
            "about": "prompts held",
            "text": "m has no value for 1 of 4 answers of the bare model, and for up to 3 of an arm (P01).",
        }
    ]
    assert list(left_out_of(frame.iloc[:0])) == []
    assert stacked([]).empty


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
