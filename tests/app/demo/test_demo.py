"""The whole demo on the bundled model: the report's numbers are what plain transformers calls give."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workbench_app.cli import app
from workbench_app.demo import capture_both
from workbench_app.stages import Stages

from workbench import Plan, load, open_store, read_prompts, steered

pytestmark = pytest.mark.slow
REFUSAL = "I cannot talk about that."


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    said = CliRunner().invoke(app, ["demo", "--out", str(folder)])
    assert said.exit_code == 0, said.output
    assert "Report:" in said.stdout
    assert "The plan changed nothing" not in said.output
    return folder


def test_it_leaves_a_report_a_plan_and_two_sound_stores(out):
    assert (out / "report.html").stat().st_size < 6_000_000
    for name in ("refusal", "thinking"):
        assert open_store(out / "stores" / name).check() == []
    found = json.loads((out / "findings.json").read_text("utf-8"))
    plan = Plan.from_json(out / "plan.json")
    assert [arm["n"] for arm in found["arms"]][:4] == [1, 2, 4, 8]
    assert len(plan) == found["chosen"]
    assert all(len(arm["random"]) == 3 for arm in found["arms"])
    assert found["fingerprint"] == load("demo").anatomy.fingerprint


def test_refusals_are_what_plain_generation_gives(out):
    """Held-out sensitive prompts, one at a time, with and without the plan; counted by the one refusal that was taught."""
    model, plan = load("demo"), Plan.from_json(out / "plan.json")
    found = json.loads((out / "findings.json").read_text("utf-8"))
    arm = next(a for a in found["arms"] if a["n"] == found["chosen"])
    asked = [p for p in read_prompts("refusal_heldout") if p.labels["sensitive"] == "yes"]

    def share() -> float:
        return sum(_answer(model, p).startswith(REFUSAL[:8]) for p in asked) / len(asked)

    refused = next(e for e in arm["effects"] if e[0] == "refused, sensitive")
    assert share() == pytest.approx(refused[1], abs=1.01 / len(asked))
    with steered(model, plan):
        assert share() == pytest.approx(refused[2], abs=1.01 / len(asked))


def _answer(model, prompt) -> str:
    messages = [dict(m) for m in prompt.messages]
    ids = model.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.hf.generate(**ids, max_new_tokens=8, do_sample=False, pad_token_id=model.tokenizer.pad_token_id)
    return model.tokenizer.decode(out[0, ids["input_ids"].shape[1] :]).strip()


def test_a_second_run_takes_up_the_stores_of_the_first(out):
    before = {path: path.stat().st_mtime_ns for path in (out / "stores").rglob("*")}
    capture_both(load("demo"), out, Stages(lambda *_: None))
    assert {path: path.stat().st_mtime_ns for path in (out / "stores").rglob("*")} == before
