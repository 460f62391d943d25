"""`workbench rank`: the first experts, what may be chance, and the files it writes."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workbench_app.cli import rank as cli_rank

from probes.catalogue import ASKED, Method
from probes.ranking import ExpertScores, LayerTable, SetTable, Table
from tests.app.cli.printed import NAN, Recorder, columns, lines, run
from tests.support.stores import anatomy, random_store
from tests.workbench.replicas.fake_ray import FakeRay
from workbench import Plan, Store, WorkbenchError

pytestmark = pytest.mark.usefixtures("wide")


def scores(p_adjusted: list[float], **changes: Any) -> ExpertScores:
    n = len(p_adjusted)
    frame = pd.DataFrame({
        "layer": 1, "expert": range(n), "score": [0.5 - 0.123456 * i for i in range(n)], "n": [1234 + i for i in range(n)],
        "low": [NAN, *[0.1] * (n - 1)], "high": [NAN, *[0.9] * (n - 1)], "p": [0.01] * n, "p_adjusted": p_adjusted, "flags": "",
    })  # fmt: skip
    return ExpertScores(
        "ftri",
        {"target": "a", "seed": None, "n": 3},
        frame.assign(**changes),
        ("a note",),
        anatomy().fingerprint,
        "some/model",
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    """ftri, as `rank` asks it; the store lies in s."""
    found = Recorder(scores([0.01, 0.04, 0.05]))

    def ftri(store: Any, target: str, baseline: str | None = None, *, tokens: str = "all", n_bootstrap: int = 5) -> Any:
        return found(store, target=target, baseline=baseline, tokens=tokens, n_bootstrap=n_bootstrap)

    monkeypatch.setattr(import_module("probes.contrasts.ftri"), "ftri", ftri)
    random_store(tmp_path / "s")
    return found


def test_rank_over_a_cluster_is_that_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_store(tmp_path / "s", n_shards=3)
    alone = run("rank", "usage", tmp_path / "s", "--json")
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    spread = run("rank", "usage", tmp_path / "s", "--json", "--ray", "local", "--workers", 3)
    assert (spread.exit_code, spread.stdout) == (0, alone.stdout)
    assert [begun["num_cpus"] for begun in fake.begun] == [3]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("rank", "usage", "s", "--workers", 3), "belong to --ray ADDRESS"),
        (("rank", "s", "--all", "--ray", "local"), "--ray has no place beside --all"),
    ],
)
def test_what_says_nothing_of_a_cluster_is_refused(words: tuple[Any, ...], sentence: str) -> None:
    said = run(*words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert sentence in said.stderr


def test_rank_prints_the_first_experts(asked: Recorder, tmp_path: Path) -> None:
    asked.answer = scores([0.01, 0.04, 0.05], is_shared=[False, True, False], flags=["", "dead; ties", ""])
    said = run("rank", "ftri", tmp_path / "s", "--target", "7", "--set", "n_bootstrap=30", "--top", 2)
    assert said.exit_code == 0, said.output
    assert columns(said.stdout) == [
        ["ftri of 3 experts of some/model (target=a, n=3)"],
        ["rank", "expert", "score", "95 % interval", "p adjusted", "n", "flags"],
        ["1", "L1E0", "0.5", "-", "0.01", "1,234"],
        ["2", "L1S1", "0.3765", "0.1 to 0.9", "0.04", "1,235", "dead; ties"],
        [
            "A score is association with these prompts. To measure an effect: workbench compare MODEL PROMPTS --plan FILE"
        ],
    ]
    head, _, first, *_ = lines(said.stdout)[1:]
    for name, value in (("score", "0.5"), ("p adjusted", "0.01"), ("n  ", "1,234")):
        assert head.index(name) + len(name.strip()) == first.rindex(value) + len(value), "numbers end together"
    assert said.stderr.splitlines()[-1] == "- a note"
    assert asked.given[0].path == tmp_path / "s"
    assert asked.named == {"target": "7", "baseline": None, "tokens": "all", "n_bootstrap": 30}


NONE_PASSES = (
    "No expert passes p adjusted < 0.05 (the smallest is 0.12): this ranking may be chance alone; ask with more prompts "
    "before you rely on it."
)


@pytest.mark.parametrize(
    ("p", "top", "said"),
    [
        ([0.01, 0.04, 0.05], 2, None),
        ([0.01, 0.04, 0.05], 3, "2 of the first 3 pass p adjusted < 0.05; the others may be chance."),
        ([0.01, 0.04, 0.05], 10, "2 of the first 3 pass p adjusted < 0.05; the others may be chance."),
        ([0.2, 0.123, 0.04], 1, "0 of the first 1 pass p adjusted < 0.05; the others may be chance."),
        ([0.5, 0.123, NAN], 2, NONE_PASSES),
        ([NAN, NAN], 2, None),
    ],
)
def test_what_may_be_chance_is_said(p: list[float], top: int, said: str | None) -> None:
    assert cli_rank.doubt_of(scores(p), top) == said


def test_rank_writes_the_scores_and_a_plan(asked: Recorder, tmp_path: Path) -> None:
    for ending, read in (
        (".csv", ExpertScores.from_csv),
        (".parquet", ExpertScores.from_parquet),
        (".json", ExpertScores.from_json),
    ):
        out, file = tmp_path / "p.json", tmp_path / f"s{ending}"
        words = [
            "--target",
            "x",
            "--baseline",
            "y",
            "--top",
            2,
            "--edit",
            "mute",
            "--out",
            out,
            "--scores",
            file,
            "--json",
        ]
        said = run("rank", "ftri", tmp_path / "s", *words)
        assert said.exit_code == 0, said.output
        assert asked.named["baseline"] == "y"
        assert Plan.from_json(out) == Plan.mute("L1E0, L1E1").for_model(anatomy())
        assert read(file).frame["score"].tolist() == pytest.approx([0.5, 0.376544, 0.253088])
        assert said.stderr.splitlines()[-2:] == [f"Wrote '{file}'.", f"Wrote '{out}': mute the first 2."]
        assert [row["expert"] for row in json.loads(said.stdout)["scores"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["magic", "s"], f"There is no method 'magic'; use {', '.join(ASKED)}."),
        (["ftr", "s"], f"There is no method 'ftr'; did you mean 'ftri'? use {', '.join(ASKED)}."),
        (["ftri", "s"], "ftri needs a target; give --target VALUE."),
        (["drift", "s"], "drift compares with another store; give --set other=PATH."),
        (["drift", "s", "--set", "other=nowhere"],
         "There is no folder 'nowhere', so it is not a store; make one with capture()."),
        (["contrast", "s", "--set", "positive=x"], "contrast calls 'positive' target now; give --target VALUE."),
        (["npmi", "s", "--set", "label=a=b"], "npmi calls 'label' target now; give --target VALUE."),
        (["ftri", "s", "--set", "=3"], "'=3' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt."),
        (["ftri", "s", "--set", "tokens"], "'tokens' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt."),
        (["ftri", "s", "--set", "a=1", "--set", "a=2"], "--set gives a twice; give it once."),
        (["ftri", "s", "--target", "x", "--set", "target=y"], "--target and --set target name the same; give one of them."),
        (["ftri", "s", "--set", "a.b=1", "--set", "a=2"], "--set gives a twice; give it once."),
        (["ftri", "s", "--set", "a=1", "--set", "a.b=2"], "--set gives a twice, whole and in parts; give it once."),
        (["ftri", "s", "--set", "a..b=2"], "'a..b=2' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt."),
        (["ftri", "s", "--target", "x", "--set", "zzz=1"],
         "ftri: 'zzz' is no option of ftri; it has target, baseline, tokens, n_bootstrap."),
        (["ftri", "s", "--target", "x", "--set", "token=1"],
         "ftri: 'token' is no option of ftri; did you mean 'tokens'? it has target, baseline, tokens, n_bootstrap."),
        (["ftri", "s", "--target", "x", "--edit", "scale"],
         "--edit scale cannot be made from a ranking alone; use off, drop, mute or force."),
        (["ftri", "s", "--target", "x", "--scores", "s.txt"],
         "'s.txt' should end in .csv, .parquet or .json, which says how to write the scores."),
        (["ftri", "s", "--target", "x", "--scores", "a.json", "--out", "./a.json"],
         "--out and --scores both name 'a.json'; give each its own file."),
    ],
)  # fmt: skip
def test_rank_refuses_in_one_sentence(
    words: list[str], said: str, asked: Recorder, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("rank", *words)
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", said + "\n")


def test_a_store_is_compared_with_another_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = random_store(tmp_path / "one", seed=1), random_store(tmp_path / "7", seed=2)
    said = run("rank", "drift", "one", "--set", "other=7", "--set", "tokens=all", "--json")
    assert said.exit_code == 0, said.output
    found = {(row["layer"], row["expert"]): row["score"] for row in json.loads(said.stdout)["scores"]}
    for place, score in found.items():
        shares = [_share(store, *place) for store in (one, other)]
        assert score == pytest.approx(shares[1] - shares[0], abs=1e-9)
    assert json.loads(said.stdout)["options"]["other"] == "7"
    same = run("rank", "drift", "one", "--set", "other=one", "--set", "what=weight")
    assert "Not listed: 10 of the first 10 experts, whose score is zero or missing." in same.stdout


def _share(store: Store, layer: int, expert: int) -> float:
    """Of the tokens that were routed, how many selected the expert, by rows of the table."""
    slots = store.table("slots")
    keys = ["prompt_id", "sample", "position"]
    read = len(slots[keys].drop_duplicates())
    return len(slots[(slots["layer"] == layer) & (slots["expert"] == expert)]) / read


def test_a_store_is_ranked_in_every_way(tmp_path: Path) -> None:
    random_store(tmp_path / "s", seed=1)
    out = tmp_path / "agreement.csv"
    said = run("rank", "--all", tmp_path / "s", "--out", out)
    assert said.exit_code == 0, said.output
    shown = columns(said.stdout)
    assert shown[1] == ["cluster", "ranking", "experts", "nearest", "correlation", "n"]
    assert ["1", "usage", "10", "usage: share of tokens", "+1.00", "10"] in shown
    assert (
        "- not asked: drift: It compares with another store, and one alone is asked here." in said.stderr.splitlines()
    )
    found = json.loads(run("rank", "--all", tmp_path / "s", "--json").stdout)
    same = next(p for p in found["pairs"] if (p["method"], p["other"]) == ("usage", "usage: share of tokens"))
    assert (same["spearman"], same["n"], same["cluster"]) == (pytest.approx(1), 10, same["other_cluster"])
    assert len(pd.read_csv(out, comment="#")) == len(found["pairs"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all", "usage", "s"],
         "--all asks in every way, so no method is named: give the store alone, without 'usage'."),
        (["--all", "s", "--set", "tokens=all"],
         "--set has no place beside --all, which asks each method by its defaults; leave it away."),
        (["--all", "s", "--out", "a.json"],
         "'a.json' should end in .csv or .parquet, which says how to write the agreement."),
        (["usage"], "Missing argument 'STORE': the folder of a store, as written by capture."),
    ],
)  # fmt: skip
def test_what_cannot_be_ranked_in_every_way_is_one_sentence(words: list[str], said: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("rank", *words)
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", said + "\n")


def test_a_value_that_a_method_cannot_compute_with_is_one_sentence(asked: Recorder, tmp_path: Path) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise TypeError("no such thing")

    asked.answer = fails
    words = ["rank", "ftri", tmp_path / "s", "--target", "x"]
    said = run(*words, "--set", "tokens=[]", "--set", "n_bootstrap=3")
    assert said.stderr.splitlines()[-1] == (
        "ftri cannot be computed with --set tokens=[] --set n_bootstrap=3 (no such thing); give values of the right kind."
    )
    assert isinstance(run(*words).exception, TypeError)  # a fault of ours is no fault of the user's

    def refuses(*_: Any, **__: Any) -> None:
        raise WorkbenchError("There is no such label.")

    asked.answer = refuses
    assert run(*words, "--set", "n_bootstrap=3").stderr.splitlines()[-1] == "There is no such label."


def test_what_a_value_of_set_reads_as(monkeypatch: pytest.MonkeyPatch) -> None:
    def method(store: Any, text: str, maybe: str | None, number: int, both: str | int, many: list[str]) -> None: ...

    probe = Method("m", "contrasts.ftri:ftri", "m", "", "", "", (0, 1))
    monkeypatch.setattr(import_module("probes.contrasts.ftri"), "ftri", method)
    for written, value in (
        ("text=true", "true"), ("text=7", "7"), ('text="7"', "7"), ("text=a=b", "a=b"), ("maybe=7", "7"), ("maybe=null", None),
        ("number=7", 7), ("number=true", True), ("both=7", 7), ("both=1.5", "1.5"), ('many=["a"]', ["a"]), ("text=[1]", "[1]"),
        ('text={"a": 1}', '{"a": 1}'), ("unknown=7", 7), ("number=x", "x"), ("number=", ""),
    ):  # fmt: skip
        assert cli_rank.pair_of(written, probe) == (written.partition("=")[0], value), written


# ---- answers that rank no expert


@pytest.fixture
def answered(asked: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """ftri, as if it answered a table."""
    rows = pd.DataFrame(
        {"layer": [0, 1, 1], "token": ["a", "[b]", "c"], "n": [1234, 5, 6], "share": [0.123456, NAN, 1]}
    )
    asked.answer = LayerTable("ftri", {"target": "a"}, rows, ("a note",), anatomy().fingerprint, "some/model")
    as_kind(monkeypatch, asked.answer)
    return asked


def as_kind(monkeypatch: pytest.MonkeyPatch, answer: Table) -> None:
    monkeypatch.setitem(ASKED, "ftri", replace(ASKED["ftri"], answers=answer.kind))  # pyright: ignore[reportArgumentType]


def test_a_table_is_printed_and_written(answered: Recorder, tmp_path: Path) -> None:
    said = run("rank", "ftri", tmp_path / "s", "--target", "a", "--top", 2, "--scores", tmp_path / "t.csv")
    assert said.exit_code == 0, said.output
    assert columns(said.stdout) == [
        ["ftri of some/model, 3 rows (target=a)"],
        ["layer", "token", "n", "share"],
        ["0", "a", "1234", "0.1235"],
        ["1", "[b]", "5", "-"],
        ["1 more rows: --top N shows them, --scores FILE writes all."],
    ]
    assert said.stderr.splitlines()[-1] == "- a note"
    pd.testing.assert_frame_equal(LayerTable.read(tmp_path / "t.csv").frame, answered.answer.frame)
    found = run("rank", "ftri", tmp_path / "s", "--target", "a", "--json")
    assert [row["share"] for row in json.loads(found.stdout)["rows"]] == [0.123456, None, 1]


def test_a_table_without_experts_makes_no_plan(answered: Recorder, tmp_path: Path) -> None:
    said = run("rank", "ftri", tmp_path / "s", "--target", "a", "--out", tmp_path / "p.json")
    assert (said.exit_code, said.stderr) == (
        2,
        "ftri answers a LayerTable, which chooses no experts, so --out has no plan to write; leave it away, or write the "
        "table with --scores.\n",
    )
    assert not answered.named


def test_a_set_makes_a_plan_of_its_members(answered: Recorder, tmp_path: Path, monkeypatch) -> None:
    members = pd.DataFrame({"set": ["x", "x", "y"], "layer": 1, "expert": [2, 0, 2], "n": 1})
    answered.answer = SetTable("ftri", {}, members, (), anatomy().fingerprint)
    as_kind(monkeypatch, answered.answer)
    said = run("rank", "ftri", tmp_path / "s", "--target", "a", "--edit", "mute", "--out", tmp_path / "p.json")
    assert said.exit_code == 0, said.output
    assert Plan.from_json(tmp_path / "p.json") == Plan.mute("L1E2, L1E0").for_model(anatomy())
    assert f"Wrote '{tmp_path / 'p.json'}': mute the members, 2." in said.stderr.splitlines()


def test_a_set_without_members_is_said_and_makes_no_plan(answered: Recorder, tmp_path: Path, monkeypatch) -> None:
    nothing = pd.DataFrame({"set": ["x"], "layer": 1, "expert": 2, "n": 1}).iloc[:0]
    answered.answer = SetTable("ftri", {}, nothing, ("none of 8",), anatomy().fingerprint, "some/model")
    as_kind(monkeypatch, answered.answer)
    said = run("rank", "ftri", tmp_path / "s", "--target", "a", "--scores", tmp_path / "t.json")
    assert said.stdout.splitlines() == ["ftri of some/model, 0 rows ()", "No row; the notes say why."]
    assert said.stderr.splitlines()[-1] == "- none of 8"
    assert SetTable.read(tmp_path / "t.json").experts() == ()
    said = run("rank", "ftri", tmp_path / "s", "--target", "a", "--out", tmp_path / "p.json")
    assert said.stderr.splitlines()[-1] == "ftri found no expert here, so --out has no plan to write; leave it away."
    assert (said.exit_code, (tmp_path / "p.json").exists()) == (2, False)


@pytest.mark.parametrize(
    "words", [("rank", "--all", "s", "--target", "nonsense"), ("expert", "s", "L1E0", "--target", "nonsense")]
)
def test_a_label_that_does_not_exist_is_refused_where_every_probe_is_asked(tmp_path, words):
    random_store(tmp_path / "s")
    said = run(*(str(tmp_path / "s") if word == "s" else word for word in words), "--target", "nonsense")
    assert said.exit_code == 2
    assert "has the value 'nonsense'" in said.stderr
