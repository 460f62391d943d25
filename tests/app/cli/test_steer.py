"""`workbench steer`: both answers as they are printed, as JSON, and what is refused."""

import json
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import workbench
from tests.app.cli.printed import DOSE, SHAPE, Recorder, lines, model, run
from workbench import Plan
from workbench.routing import DoseCounts

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture
def steering(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """`compare`, which answers twice."""
    said = pd.DataFrame(
        [{"prompt_id": "prompt", "prompt": "x", "base": "I cannot help.", "steered": "Sure.", "changed": True}]
    )
    found = Recorder(lambda *_, **__: SimpleNamespace(responses=said, dose=DOSE))
    monkeypatch.setattr(workbench, "compare", found)
    monkeypatch.setattr("workbench_app.cli.steer.open_model", Recorder(model()))
    return found


def test_steer_shows_both_answers_side_by_side(steering: Recorder) -> None:
    said = run("steer", "m", "--prompt", "hello", "--off", "L1E2", "--system", "be kind", "--tokens", 7)
    assert said.exit_code == 0, said.output
    left, right = "╭─ base " + "─" * 70 + "╮", "╭─ steered " + "─" * 67 + "╮"  # half of 160, less one for the gap: 79
    assert lines(said.stdout) == [
        "Plan: off L1E2",
        f"{left} {right}",
        f"│ {'I cannot help.':75} │ │ {'Sure.':75} │",
        f"╰{'─' * 77}╯ ╰{'─' * 77}╯",
        "Dose: 3 of 10 tokens and 4 of 60 slots changed.",
    ]
    asked, prompts, plan = steering.given
    assert asked.anatomy is SHAPE
    (prompt,) = prompts
    assert [dict(m) for m in prompt.messages] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hello"},
    ]
    assert plan == Plan.off("L1E2").for_model(SHAPE)
    assert {k: v for k, v in steering.named.items() if k != "metrics"} == {
        "controls": 0,
        "distributions": False,
        "max_new_tokens": 7,
        "progress": False,
    }


def test_steer_says_when_both_read_the_same_and_ends_with_1_when_nothing_was_changed(steering: Recorder) -> None:
    same = pd.DataFrame([{"base": "Sure.", "steered": "Sure."}])
    steering.answer = lambda *_, **__: SimpleNamespace(responses=same, dose=DoseCounts(10, 0, 60, 0, 0))
    said = run("steer", "m", "--prompt", "hello", "--mute", "L1E2", "--raw")
    assert said.exit_code == 1
    assert lines(said.stdout)[-2:] == ["Dose: nothing changed in 10 tokens.", "Both answers read the same."]
    assert [(p.text, p.is_chat) for p in steering.given[1]] == [("hello", False)]
    assert steering.named["max_new_tokens"] == 64


def test_steer_as_json(steering: Recorder) -> None:
    said = run("steer", "m", "--prompt", "hello", "--scale", "L1E2=2", "--json")
    plan = Plan.scale("L1E2", 2.0).for_model(SHAPE)
    assert json.loads(said.stdout) == {
        "base": "I cannot help.", "steered": "Sure.",
        "dose": {"tokens": 10, "tokens_changed": 3, "slots": 60, "slots_changed": 4, "tokens_emptied": 0, "tokens_unlike": 0,
                 "layers_unlike": []},
        "plan": [e.to_dict() for e in plan.edits], "fingerprint": plan.fingerprint,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "template", "said"),
    [
        (["--prompt", "  ", "--off", "L1E2"], "t", "The prompt is empty; write what the user says after --prompt."),
        (["--prompt", "x", "--raw", "--system", "y", "--off", "L1E2"], "t",
         "--raw tokenises the prompt as it is, so --system has no place in it; leave one of them out."),
        (["--prompt", "x", "--off", "L1E2"], None,
         "The tokenizer of 'm' has no chat template, so nobody can be asked; add --raw, and the model goes on with the prompt "
         "as it is."),
        (["--prompt", "x"], "t",
         "No edit was named, so nothing would change; name one, such as --off L0E15, or a file with --plan."),
    ],
)  # fmt: skip
def test_steer_refuses_in_one_sentence(
    words: list[str], template: Any, said: str, steering: Recorder, monkeypatch
) -> None:
    monkeypatch.setattr("workbench_app.cli.steer.open_model", Recorder(model(template=template)))
    found = run("steer", "m", *words)
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", said + "\n")


def test_a_raw_prompt_needs_no_template(steering: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench_app.cli.steer.open_model", Recorder(model(template=None)))
    assert run("steer", "m", "--prompt", "x", "--raw", "--off", "L1E2").exit_code == 0
