"""`workbench compare`: the whole page, its options, and what it keeps."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import workbench
from tests.app.cli.printed import DOSE, NAN, SHAPE, Recorder, columns, lines, model, run
from tests.support.stores import random_store
from workbench import Comparison, Plan
from workbench.routing import DoseCounts

pytestmark = pytest.mark.usefixtures("wide")


def comparison(**changes: Any) -> Comparison:
    names = ["metric", "base", "steered", "difference", "low", "high", "n", "n_clusters"]
    rows = [
        ("refused", 0.75, 0.125, -0.625, -0.7, -0.5, 8, 4),
        ("length", 12.0, 14.5, 2.5, NAN, NAN, 3, 1),
        ("exact", NAN, NAN, NAN, NAN, NAN, 0, 0),
    ]
    metrics = pd.DataFrame(rows, columns=names)
    drawn = [
        ("refused", "count", -0.25),
        ("refused", "count", 0.125),
        ("refused", "layer", 0.0),
        ("length", "count", 1.5),
    ]
    responses = pd.DataFrame(
        {"prompt_id": list("abcd"), "prompt": "p", "base": "b", "steered": "s", "changed": [True, True, True, False]}
    )
    whole = {
        "model": "some/model", "plan": Plan.off("L1E2"), "metrics": metrics, "responses": responses,
        "controls": pd.DataFrame(drawn, columns=["metric", "match", "difference"]),
        "divergence": pd.DataFrame({"prompt_id": ["a", "b"], "kl_nats": [0.25, 0.5], "kl_first_nats": [1.0, 2.0]}),
        "perplexity": {"base": 10.12345, "steered": 20.5}, "dose": DOSE, "seed": 0, "notes": ("a note",),
    }  # fmt: skip
    return Comparison(**(whole | changes))


@pytest.fixture
def comparing(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder(comparison())
    monkeypatch.setattr(workbench, "compare", found)
    monkeypatch.setattr("workbench_app.cli.steer.open_model", Recorder(model()))
    return found


def test_compare_prints_the_whole_comparison(comparing: Recorder, tmp_path: Path) -> None:
    said = run("compare", "m", "refusal", "--off", "L1E2")
    assert said.exit_code == 0, said.output
    assert columns(said.stdout) == [
        ["off L1E2 on some/model, 4 prompts"],
        ["Dose: 3 of 10 tokens and 4 of 60 slots changed."],
        ["metric", "base", "steered", "difference", "95 % interval", "prompts"],
        ["refused", "0.750", "0.125", "-0.625", "-0.700 to -0.500", "8"],
        ["length", "12.000", "14.500", "+2.500", "one cluster", "3"],
        ["exact", "nan", "nan", "+nan", "-", "0"],
        ["As many random experts, the same edit"],
        ["metric", "random experts", "difference, every draw"],
        ["refused", "count", "-0.250, +0.125"],
        ["refused", "layer", "+0.000"],
        ["length", "count", "+1.500"],
        ["75% of answers read differently."],
        ["Mean KL to the base: 0.3750 nats over its answer, 1.5000 at the first token."],
        ["Perplexity of given text: 10.123 -> 20.500."],
    ]
    assert said.stderr.endswith("a note\n")
    head, _, first = lines(said.stdout)[2:5]
    for name, value in (("base", "0.750"), ("steered", "0.125"), ("difference", "-0.625"), ("prompts", "8")):
        assert head.index(name) + len(name) == first.rindex(value) + len(value), "numbers end together"
    assert {k: v for k, v in comparing.named.items() if k != "metrics"} == {
        "controls": 3, "store": None, "seed": 0, "max_new_tokens": 48, "distributions": True, "parts": False,
    }  # fmt: skip
    assert list(comparing.named["metrics"]) == ["refused"]
    assert comparing.given[2] == Plan.off("L1E2").for_model(SHAPE)


def test_compare_without_draws_or_given_text_says_nothing_of_them(comparing: Recorder) -> None:
    found = comparison(controls=pd.DataFrame(columns=["metric", "match", "difference"]), perplexity={}, notes=())
    comparing.answer = found
    said = run("compare", "m", "refusal", "--off", "L1E2").stdout
    assert "random experts" not in said
    assert "Perplexity" not in said


def test_compare_prints_the_parts_of_a_plan_that_were_asked_for(comparing: Recorder) -> None:
    rows = [
        ("bare", "", 2.5, 0.0, 0.0, 0),
        ("together", "mute L0E1; mute L0E2", 4.0, 1.5, 0.875, 9),
        ("alone", "mute L0E1", 2.5, 0.0, NAN, 4),
    ]
    parts = pd.DataFrame(rows, columns=["arm", "plan", "loss", "change", "decay", "slots_changed"])
    comparing.answer = comparison(parts=parts)
    said = run("compare", "m", "refusal", "--off", "L1E2", "--parts")
    assert comparing.named["parts"] is True
    assert columns(said.stdout)[-4:] == [
        ["arm", "loss (nats a token)", "change", "sink decay", "plan"],
        ["bare", "2.500", "+0.000", "0%"],
        ["together", "4.000", "+1.500", "88%", "mute L0E1; mute L0E2"],
        ["alone", "2.500", "+0.000", "-", "mute L0E1"],
    ]
    assert (
        json.loads(run("compare", "m", "refusal", "--off", "L1E2", "--parts", "--json").stdout)["parts"][2]["decay"]
        is None
    )
    assert "together: +1.500 nats a token, sinks decay by 88% (mute L0E1; mute L0E2)" in str(comparing.answer)


def test_compare_hands_its_options_on_and_keeps_what_it_found(comparing: Recorder, tmp_path: Path) -> None:
    store, out = random_store(tmp_path / "s"), tmp_path / "c.json"
    words = [
        "--metric",
        "length",
        "--metric",
        "exact",
        "--controls",
        5,
        "--seed",
        9,
        "--tokens",
        11,
        "--store",
        store.path,
    ]
    comparing.answer = comparison(dose=DoseCounts(10, 0, 60, 0, 0))
    said = run("compare", "m", "refusal", "--bias", "L1E2=-2", *words, "--out", out, "--json")
    assert said.exit_code == 1  # nothing was changed
    assert comparing.named["store"].path == store.path
    assert list(comparing.named["metrics"]) == ["length", "exact"]
    assert [comparing.named[k] for k in ("controls", "seed", "max_new_tokens")] == [5, 9, 11]
    assert json.loads(out.read_text("utf-8")) == json.loads(said.stdout)
    assert json.loads(said.stdout)["metrics"][2]["base"] is None
