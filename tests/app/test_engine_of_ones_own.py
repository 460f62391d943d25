"""Everything runs on an engine that is a table worked by hand (tests/support/engines.py), and says what the table says."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.experiments.tables import read_table

from tests.support.engines import ANSWER, CARRIER, LAYER, OFF, REFUSAL, Table, chat, ids, receivers, said
from workbench import MoEModel, Plan, WorkbenchError, capture, compare, load, read_prompts
from workbench.answering import stream
from workbench.comparison import choose, sink_share
from workbench.routing import Dose

ENGINE = "tests.support.engines:Table"
QUESTIONS = {"a": "what happened in 1957?", "b": "what happened in 1952?", "c": "7 or 8", "d": "neither"}
PROMPTS = [{"id": name, "prompt": question} for name, question in QUESTIONS.items()]
PLANS = (Plan(), OFF, Plan.off([(LAYER, 2)]), Plan.off([(LAYER, 2), (LAYER, CARRIER)]))


@pytest.fixture(scope="module")
def model() -> MoEModel:
    return load("table", engine=Table)


def off(plan: Plan) -> frozenset[int]:
    return frozenset(ref.expert for ref in plan.experts)


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_table_by_hand() -> None:
    """Who answers what is written out once; the tests below ask `said`, which has to say the same."""
    refused = {plan: [said(chat(q), off(plan)) == REFUSAL for q in QUESTIONS.values()] for plan in PLANS}
    assert list(refused.values()) == [
        [True, False, True, False],  # a and c have a 7
        [False] * 4,  # expert 3 is off: nobody carries a refusal
        [True] * 4,  # expert 2 is off, and 3 receives its tokens
        [False] * 4,
    ]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_capture_holds_who_received_what(model: MoEModel, plan: Plan, tmp_path: Path) -> None:
    store = capture(model, PROMPTS, tmp_path / "s", generate=20, plan=plan or None, batch_tokens=90, progress=False)
    assert (store.plan_json["backend"], store.plan_json["device"]) == ("table", "cpu")
    assert store.steering == (plan.for_model(model.anatomy) if plan else None)
    for name, question in QUESTIONS.items():
        text = chat(question)
        tokens = store.tokens[store.tokens["prompt_id"] == name].sort_values("position")
        assert tokens["token_id"].tolist() == [*ids(text), *ids(said(text, off(plan))), 1]
        slots: Any = store.table("slots")
        slots = slots[slots["prompt_id"] == name].sort_values("position")
        assert slots["expert"].tolist() == receivers(tokens["token_id"].tolist()[:-1], off(plan))
        assert slots["output_l2"].tolist() == [1 + e for e in slots["expert"]]
    assert store.check() == []


def test_a_capture_goes_on_with_this_engine_alone(model: MoEModel, tmp_path: Path) -> None:
    capture(model, PROMPTS, tmp_path / "s", progress=False)
    renamed = load("table", engine=type("Other", (Table,), {"can": Table.can.__class__("other", keep=Table.can.keep)}))
    with pytest.raises(WorkbenchError, match=r"another engine \(table there, other here\)"):
        capture(renamed, PROMPTS, tmp_path / "s", progress=False)


@pytest.mark.parametrize("plan", PLANS[1:], ids=str)
def test_compare_measures_what_the_table_says(model: MoEModel, plan: Plan) -> None:
    found = compare(model, PROMPTS, plan, controls={"count": 3}, distributions=False, progress=False)
    texts = [[said(chat(q), o) for q in QUESTIONS.values()] for o in (frozenset[int](), off(plan))]
    assert [found.responses["base"].tolist(), found.responses["steered"].tolist()] == texts
    (row,) = found.metrics.to_dict("records")
    assert (row["base"], row["steered"]) == tuple(np.mean([t == REFUSAL for t in side]) for side in texts)
    for drawn in found.controls.to_dict("records"):
        experts = off(Plan.parse(drawn["plan"]))
        assert drawn["steered"] == np.mean([said(chat(q), experts) == REFUSAL for q in QUESTIONS.values()])
    rows = [[*ids(chat(q)), *ids(answer)] for q, answer in zip(QUESTIONS.values(), texts[1], strict=True)]
    moved = [a != b for row in rows for a, b in zip(receivers(row), receivers(row, off(plan)), strict=True)]
    assert (found.dose.tokens, found.dose.tokens_changed, found.dose.slots) == (len(moved), sum(moved), len(moved))
    assert found.divergence.empty
    assert not found.perplexity


def test_a_stream_is_the_tables_answer_with_its_routing(model: MoEModel) -> None:
    asked, dose = read_prompts(PROMPTS[:1]), Dose()
    for plan in PLANS:
        tokens = list(stream(model, asked, plan, max_new_tokens=30, dose=dose))
        answer = said(chat(QUESTIONS["a"]), off(plan))
        assert "".join(t.text for t in tokens if not t.is_end) == answer
        assert [t.is_end for t in tokens] == [False] * len(answer) + [True]
        prompt = ids(chat(QUESTIONS["a"]))
        before = receivers([*prompt, *ids(answer)], off(plan))[len(prompt) - 1 :]
        assert [t.routing for t in tokens] == [{LAYER: ((expert, 1.0),)} for expert in before]
    assert dose.counts().tokens_changed > 0


def test_what_it_cannot_is_refused_before_anything_runs(model: MoEModel, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Table, "run", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.setattr(Table, "score", lambda *_, **__: pytest.fail("it scored"))
    choices = [{"id": "q", "text": "one ", "labels": {"choices": '["a", "b"]', "answer": "a"}}]
    into = tmp_path / "s"
    for call, part in (
        (lambda: compare(model, PROMPTS, OFF), "cannot score given text, which compare(distributions=True) needs"),
        (lambda: choose(model, choices, [OFF]), "cannot score given text, which a choice by log-likelihood needs"),
        (
            lambda: compare(model, PROMPTS, Plan.mute("L1E3"), distributions=False),
            "mute L1E3 is not supported on table",
        ),
        (
            lambda: capture(model, PROMPTS, into, plan=Plan.off("L1E3", phase="prompt")),
            "limit 'off L1E3 in prompt' by its",
        ),
        (lambda: capture(model, PROMPTS, into, keep={"logits"}), "cannot record logits on table; keep norms, residual"),
        (lambda: capture(model, PROMPTS, into, generate=2, temperature=0.5), "cannot sample at temperature 0.5"),
        (lambda: sink_share(model, PROMPTS), "no transformers model of it is in this process"),
        (lambda: model.hf, "no transformers model of it is in this process"),
    ):
        with pytest.raises(WorkbenchError) as caught:
            call()
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not into.exists()


# ---- the command line, recipes, the dashboard


def test_steer_and_compare_on_the_command_line(tmp_path: Path) -> None:
    steer = run("steer", "table", "--engine", ENGINE, "--prompt", QUESTIONS["a"], "--off", "L1E3", "--json")
    assert steer.exit_code == 0, steer.output
    assert {k: json.loads(steer.stdout)[k] for k in ("base", "steered")} == {"base": REFUSAL, "steered": ANSWER}
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("\n".join(map(json.dumps, PROMPTS)), encoding="utf-8")
    asked = ("compare", "table", prompts, "--engine", ENGINE, "--off", "L1E3", "--controls", 1)
    found = run(*asked, "--no-distributions", "--json")
    assert found.exit_code == 0, found.output
    assert [r["steered"] for r in json.loads(found.stdout)["responses"]] == [ANSWER] * 4
    refused = run(*asked)
    assert refused.exit_code == 2
    assert "cannot score given text" in refused.stderr
    for word in ("--backend", "--remote"):
        old = run(*asked, word, "nnsight")
        assert old.exit_code == 2
        assert "--engine nnsight here or --engine ndif there" in old.stderr


RECIPE = """
name = "own"
models = [{ source = "table", engine = "tests.support.engines:Table" }]

[prompts.asked]
source = "asked.jsonl"
role = "ranking"

[prompts.held]
source = "held.jsonl"
role = "target"
metrics = ["refused"]
max_new_tokens = 20

[capture]
generate = 20

[[rankings]]
name = "fTRI"
method = "ftri"
prompts = "asked"
options = { target = "refused", baseline = "answered", n_permutations = 20 }

[[plans]]
ranking = "fTRI"
n = 1
edit = ["off", "mute"]

[controls]
count = 4
layer = 0
usage = 0
"""


def test_a_recipe_on_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"{i}", "prompt": f"number {i}", "cluster": f"{i // 2}"} for i in range(60, 80)]
    for name, part in (("asked", rows[::2]), ("held", rows[1::2])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    assert "add --own-functions" in run("run", recipe).stderr
    refused = run("run", recipe, "--own-functions")
    assert refused.exit_code == 2
    assert "which measure.distributions (or a metric kl or kl_first) needs" in refused.stderr
    assert not (tmp_path / "runs").exists()
    recipe.write_text(f"{RECIPE}\n[measure]\ndistributions = false\n", encoding="utf-8")
    done = run("run", recipe, "--own-functions", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    arms: Any = read_table(tmp_path / "run", "arms").set_index("arm")
    (reason,) = arms[(arms["edit"] == "mute") & (arms["kind"] == "plan")]["reason"]
    assert reason == "mute L1E3 is not supported on table: it is not in the table"  # kept, with the reason
    effects: Any = read_table(tmp_path / "run", "effects").set_index("arm")
    held = [row["prompt"] for row in rows[1::2]]
    share = lambda experts: np.mean([said(chat(text), experts) == REFUSAL for text in held])  # noqa: E731
    (name,) = arms[(arms["edit"] == "off") & (arms["kind"] == "plan")].index
    plan = effects.loc[name]
    assert (plan["base"], plan["steered"]) == (share(frozenset()), 0.0)
    for arm, row in effects.iterrows():
        experts = frozenset(int(e.split("E")[1]) for e in arms.loc[arm, "experts"])
        assert row["steered"] == share(experts), arm


@pytest.mark.parametrize("key", ["backend", "remote"])
def test_the_words_of_before_in_a_recipe(key: str, tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE.replace("engine =", f"{key} ="), encoding="utf-8")
    said = run("run", recipe)
    assert said.exit_code == 2
    assert f'.{key}\' is no key any more: a model says what runs it, engine = "nnsight" here' in said.stderr.replace(
        "\n", " "
    )


def test_the_demo_on_it(tmp_path: Path) -> None:
    """What the bundled prompts make of the table: a 7 in a question is refused, until expert 3 is off."""
    assert run("demo", "--engine", ENGINE, "--out", tmp_path / "no").exit_code == 2
    done = run("demo", "--engine", ENGINE, "--no-distributions", "--out", tmp_path / "demo")
    assert done.exit_code == 0, done.output
    arms: Any = read_table(tmp_path / "demo", "arms").set_index("arm")
    effects: Any = read_table(tmp_path / "demo", "effects")
    events = effects[(effects["prompts"] == "events") & (effects["metric"] == "refused, sensitive")].set_index("arm")
    held = read_prompts("refusal_heldout").filter(split="heldout")
    asked = [p.messages[-1]["content"] for p in held if p.labels["sensitive"] == "yes"]
    assert len(asked)
    for arm, row in events.iterrows():
        experts = frozenset(int(e.split("E")[1]) for e in arms.loc[arm, "experts"])
        wanted = tuple(np.mean([said(chat(q), o) == REFUSAL for q in asked]) for o in (frozenset(), experts))
        assert (row["base"], row["steered"]) == wanted, arm
    first = events.loc[arms[(arms["kind"] == "plan") & (arms["edit"] == "off") & (arms["n"] == 1)].index[0]]
    assert first["base"] > 0.3
    assert first["steered"] == 0.0
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000


PAGE = Path(__file__).parents[2] / "app" / "page.py"


def test_the_steer_page_on_it(tmp_path: Path, monkeypatch: Any) -> None:
    words = ["--model=table", f"--engine={ENGINE}", f"--project={tmp_path}"]
    monkeypatch.setattr("sys.argv", [str(PAGE), *words])
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    page.query_params["plan"] = "off L1E3"
    page.run()
    assert not page.exception
    page.chat_input[0].set_value(QUESTIONS["a"]).run()
    end = time.monotonic() + 60
    while any(one.is_active for one in page.session_state["asked"]):
        assert time.monotonic() < end
        time.sleep(0.1)
        page.run()
    assert not page.run().exception
    answer = page.session_state["asked"][-1]
    assert (answer.error, answer.text("base"), answer.text("steered")) == ("", REFUSAL, ANSWER)
    assert answer.dose.counts().tokens_changed == 2
