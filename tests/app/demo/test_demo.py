"""The whole demo on the bundled model: its numbers are those of before it was a recipe, and what plain transformers gives."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.tables import read_tables
from workbench_app.terminal import printing

from workbench import Plan, load, open_store, read_prompts, steered

pytestmark = pytest.mark.slow
REFUSAL = "I cannot talk about that."
BEFORE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "fixtures/demo_numbers.json").read_text("utf-8"))
SETS = {"refusal_heldout": "events", "thinking": "sums", "language": "translation", "code_prose": "code_prose",
        "faithfulness": "documents"}  # fmt: skip
ARMS = {
    **{f"P0{i}": arm for i, arm in enumerate(BEFORE["arms"], 1)},
    "P05": BEFORE["forced"],
    "P06": BEFORE["thinking"],
}
NAMES = {"P01": "off, first 1 by fTRI", "P02": "off, first 2 by fTRI", "P03": "off, first 4 by fTRI",
         "P04": "off, first 8 by fTRI", "P05": "force, first 2 by fTRI", "P06": "off, first 4 by nPMI"}  # fmt: skip
RANKINGS = {"refusal": "fTRI", "thinking": "nPMI", "extremes": "super experts"}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What the demo printed."""
    return {}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, said: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", "160")
        printing.console.cache_clear()
        found = CliRunner().invoke(app, ["demo", "--out", str(folder)])
    printing.console.cache_clear()
    assert found.exit_code == 0, found.output
    said["stdout"] = found.stdout.replace("\u00a0", " ")
    return folder


@pytest.fixture(scope="module")
def tables(out: Path) -> dict[str, Any]:
    return read_tables(out)


def close(expected: float | None) -> Any:
    """Equal to the fixture's ten decimals; what had no interval has none."""
    return pytest.approx(float("nan") if expected is None else expected, abs=2e-6, rel=2e-6, nan_ok=True)


# ---- the numbers of before, in the tables


@pytest.mark.parametrize("arm", ARMS)
def test_every_check_has_the_levels_intervals_and_draws_of_before(tables: dict[str, Any], arm: str) -> None:
    effects = tables["effects"].query("role != 'choosing'").set_index(["metric", "arm"])
    assert tables["arms"].set_index("arm").loc[arm, "plan"] == ARMS[arm]["plan"]
    for metric, before in ARMS[arm]["checks"].items():
        now = effects.loc[(metric, arm)]
        for column in ("base", "steered", "low", "high", "n"):
            assert float(now[column]) == close(before[column]), (metric, column)
        drawn = [effects.loc[(metric, f"{arm}.count.{i}"), "steered"] for i in range(len(before["random"]))]
        assert drawn == close_all(before["random"]), metric


def close_all(expected: list[float]) -> Any:
    return pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("arm", ARMS)
def test_doses_draws_distributions_and_equal_answers_are_those_of_before(tables: dict[str, Any], arm: str) -> None:
    before, sets = ARMS[arm], [SETS[name] for name in ARMS[arm]["kl_first_nats"]]
    doses = tables["doses"][tables["doses"]["prompts"].isin(sets)].groupby("arm").sum(numeric_only=True)
    columns = ["tokens", "tokens_changed", "slots", "slots_changed"]
    assert doses.loc[arm, columns].tolist() == before["dose"]
    plans = tables["arms"].set_index("arm")["plan"]
    drawn = [f"{arm}.count.{i}" for i in range(len(before["random"]))]
    assert [[plans[name], int(doses.loc[name, "slots_changed"])] for name in drawn] == before["random"]
    moved = tables["distributions"].query("arm == @arm").groupby("prompts")["kl_first_nats"].mean()
    answers = tables["answers"].pivot(index=["prompts", "prompt_id"], columns="arm", values="answer")
    same = (answers["base"] == answers[arm]).groupby("prompts").agg(["sum", "size"])
    for name, kl in before["kl_first_nats"].items():
        assert moved[SETS[name]] == close(kl), name
        assert same.loc[SETS[name]].tolist() == before["same_answers"][name], name


def test_the_candidates_of_the_choice_are_those_of_before(tables: dict[str, Any]) -> None:
    on_ranking, before = tables["effects"].query("role == 'choosing'").set_index("arm"), BEFORE["on_the_ranking_split"]
    assert BEFORE["chosen"] == 2
    found = {str(BEFORE["arms"][i]["n"]): on_ranking.loc[f"P0{i + 1}", "steered"] for i in range(4)}
    assert found == {n: close(level) for n, level in before["by_n"].items()}
    assert on_ranking["base"].tolist() == close_all([before["base"]] * len(on_ranking))


@pytest.mark.parametrize("name", RANKINGS)
def test_every_score_is_that_of_before(tables: dict[str, Any], name: str) -> None:
    before, now = BEFORE["rankings"][name], tables["scores"].query("ranking == @RANKINGS[@name]").sort_values("rank")
    kind = now["is_shared"].map({True: "S", False: "E"})
    assert [f"L{a}{k}{e}" for a, k, e in zip(now["layer"], kind, now["expert"], strict=True)] == [
        r[0] for r in before["rows"]
    ]
    for i, column in enumerate(before["columns"][1:], 1):
        expected = [float("nan") if row[i] is None else row[i] for row in before["rows"]]
        assert now[column].astype(float).tolist() == pytest.approx(expected, rel=2e-6, abs=2e-6, nan_ok=True), column
    assert now["flags"].str.split("; ").map(lambda f: "super expert" in f).sum() == before["super_experts"]
    notes = set(tables["notes"].query("about == 'ranking ' + @RANKINGS[@name]")["text"])
    assert {text for text in before["notes"] if "workbench." not in text} <= notes  # modules may move


def test_the_residual_stream_is_that_of_before(tables: dict[str, Any]) -> None:
    now = tables["residuals"].query("prompts == 'asked'").sort_values("layer")
    assert now["layer"].tolist() == [layer for layer, _ in BEFORE["residual"]]
    assert now["largest"].tolist() == pytest.approx([value for _, value in BEFORE["residual"]], rel=2e-6)


# ---- the numbers of before, on the page


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    found = (out / "report.html").read_text("utf-8")
    assert len(found.encode()) < 6_000_000
    return found.replace("\u00a0", " ").replace("&nbsp;", " ").replace("−", "-")


def cells(html: str) -> list[str]:
    """The text of each cell of a table's row."""
    return [re.sub(r"<[^>]+>", " ", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", html, re.S)]


def percent(share: float, decimals: int = 1) -> str:
    return f"{100 * share:.{decimals}f}".removesuffix(".0")


def points(change: float | None) -> str:
    text = percent(change or 0.0)
    return "0" if text in ("0", "-0") else text if change and change < 0 else f"+{text}"


def test_the_page_shows_every_level_and_every_draw_of_before(page: str) -> None:
    found = re.findall(r"<tr><td>([^<]*)<small>.*?</td>(.*?)</tr>", part(page, "Every check"), re.S)
    rows = {name: cells(rest) for name, rest in found}
    for metric in BEFORE["arms"][0]["checks"]:
        base, *plans = rows[metric]
        checks = [arm["checks"][metric] for arm in BEFORE["arms"]]
        assert base == f"{percent(checks[0]['base'])} %"
        for shown, check in zip(plans, checks, strict=True):
            draws = ", ".join(percent(level, 0) for level in check["random"])
            assert re.sub(r"\s+", " ", shown) == f"{percent(check['steered'])} % random {draws} %", metric
    assert [re.sub(r"\s+", " ", cell) for cell in rows["slots changed"][1:]] == [
        f"{arm['dose'][3]:,} of {arm['dose'][2]:,}" for arm in BEFORE["arms"]
    ]


def part(page: str, title: str) -> str:
    """What stands under a heading."""
    return page.split(f"<h2>{title}</h2>")[1].split("<h2>")[0]


def test_the_page_shows_every_interval_of_before(page: str) -> None:
    for block in re.findall(r"<details><summary>(.*?)</details>", part(page, "Every plan"), re.S):
        prompts, _, metric = block.split(", %")[0].partition(": ")
        rows = {row[0]: row for row in map(cells, re.findall(r"<tr>.*?</tr>", block, re.S)) if row}
        for arm, before in ARMS.items():
            if metric not in before["checks"] or prompts == "asked_again":
                continue
            check = before["checks"][metric]
            _, base, steered, _, interval, *_ = rows[NAMES[arm]]
            assert (base, steered) == (f"{percent(check['base'])} %", f"{percent(check['steered'])} %"), (metric, arm)
            ends = f"[{points(check['low'])}, {points(check['high'])}]" if check["low"] is not None else "no interval"
            assert interval == ends, (metric, arm)


def test_the_page_begins_with_the_answer_the_choice_and_the_dose_of_before(page: str) -> None:
    tiles = re.findall(r'<div class="tile"><b>(.*?)</b>', page)
    assert tiles == ["37.5 → 4.7 %", "48, 36, 38 %", "31.2 → 81.2 %", "8 of 10"]
    assert "84.7 % without a plan, 37.5 % with 1, 13.9 % with 2, 13.9 % with 4, 12.5 % with 8 experts." in page
    assert "1,683 of 10,065 tokens and 6,727 of 161,040 expert slots" in page
    assert "random draws changed 6,558, 10,289, 14,658 slots." in page
    dose = {row[0]: row for row in map(cells, re.findall(r"<tr>.*?</tr>", part(page, "The dose"), re.S)) if row}
    for name, kl in BEFORE["arms"][1]["kl_first_nats"].items():
        same, n = BEFORE["arms"][1]["same_answers"][name]
        row = dose[f"off, first 2 by fTRI; {SETS[name]}"]
        assert float(row[3]) == pytest.approx(kl, abs=6e-4)  # three digits, and a last one that a processor may round
        assert not row[3].startswith("-")
        assert row[5] == f"{same} of {n}"
    tuned = f"among the 8 that training tuned for refusal ({', '.join(BEFORE['tuned']['refusal'])})"
    assert f"2 of 2 {tuned}" in page
    assert "0 of 128 experts are flagged as super experts." in page
    assert f"{BEFORE['experts']} routed experts in {BEFORE['layers']} layers, {BEFORE['top_k']} of a layer" in page
    assert BEFORE["fingerprint"] in page
    assert (
        page.count("<svg") == 5 + 1 + 2 * 2 + 1
    )  # a claim each, every share, two rankings as map and bars, largest outputs


def test_the_terminal_ends_with_the_table_of_before(said: dict[str, str], out: Path) -> None:
    lines = [re.split(r"\s{2,}", line.strip()) for line in said["stdout"].splitlines()]
    for arm in BEFORE["arms"]:
        refused, revealed = (arm["checks"][f"{name}, sensitive"] for name in ("refused", "revealed"))
        draws = ", ".join(percent(level, 0) for level in refused["random"])
        experts = re.sub(r"off |;", "", arm["plan"])
        assert [str(arm["n"]), experts, f"{percent(refused['steered'])} %", f"{draws} %", f"{percent(revealed['steered'])} %",
                f"{arm['dose'][3]:,} of {arm['dose'][2]:,}"] in lines  # fmt: skip
    for metric, check in list(BEFORE["arms"][1]["checks"].items())[2:]:
        moved = ["moved"] if abs(check["steered"] - check["base"]) > 0.05 else []
        draws = ", ".join(percent(level, 0) for level in check["random"])
        assert [metric, f"{percent(check['base'])} %", f"{percent(check['steered'])} %", f"{draws} %", *moved] in lines
    plan = out / "plans" / "P02.json"
    assert f'Plan: {plan}; try workbench steer demo --plan {plan} --prompt "..."' in said["stdout"].splitlines()
    assert str(Plan.from_json(plan)) == "off L2E8; off L2E20"


# ---- and by plain calls


def test_it_leaves_a_report_plans_and_two_sound_stores(out: Path) -> None:
    for name in ("00-00", "00-01"):
        assert open_store(out / "stores" / name).check() == []
    assert sorted(path.name for path in (out / "plans").iterdir()) == [f"P0{n}.json" for n in range(1, 7)]
    plan = json.loads((out / "plan.json").read_text("utf-8"))
    assert plan["models"][0]["fingerprint"] == load("demo").anatomy.fingerprint == BEFORE["fingerprint"]


def test_refusals_are_what_plain_generation_gives(out: Path, tables: dict[str, Any]) -> None:
    """Held-out sensitive prompts, one at a time, with and without the plan; counted by the one refusal that was taught."""
    model, plan = load("demo"), Plan.from_json(out / "plans" / "P02.json")
    asked = [p for p in read_prompts("refusal_heldout") if p.labels["sensitive"] == "yes"]

    def share() -> float:
        return sum(_answer(model, p).startswith(REFUSAL[:8]) for p in asked) / len(asked)

    effects: pd.DataFrame = tables["effects"].set_index(["prompts", "metric", "arm"])
    refused = effects.loc[("events", "refused, sensitive", "P02")]
    assert share() == pytest.approx(refused["base"], abs=1.01 / len(asked))
    with steered(model, plan):
        assert share() == pytest.approx(refused["steered"], abs=1.01 / len(asked))


def _answer(model: Any, prompt: Any) -> str:
    messages = [dict(m) for m in prompt.messages]
    ids = model.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.hf.generate(**ids, max_new_tokens=8, do_sample=False, pad_token_id=model.tokenizer.pad_token_id)
    return model.tokenizer.decode(out[0, ids["input_ids"].shape[1] :]).strip()


def test_a_second_run_shows_what_the_first_found(out: Path) -> None:
    kept = [path for folder in ("stores", "units", "plans") for path in (out / folder).rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    found = CliRunner().invoke(app, ["demo", "--out", str(out), "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["units_run_now"] == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
