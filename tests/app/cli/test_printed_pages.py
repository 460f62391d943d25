"""What the commands print, whole pages, and what they hand to the library: over made-up results, so no model is loaded."""

import inspect
import json
import os
import signal
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app, options
from workbench_app.cli import capture as cli_capture
from workbench_app.cli import demo as cli_demo
from workbench_app.cli import rank as cli_rank
from workbench_app.terminal import opening, values
from workbench_app.terminal import printing as terminal

import workbench
from probes.ranking import ExpertScores
from tests.support.stores import anatomy, random_store, random_tables
from workbench import Comparison, Plan, WorkbenchError, __version__, open_store
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule
from workbench.bundled import bundled_path
from workbench.errors import NotCompared
from workbench.routing import DoseCounts
from workbench.store import Store, write_store

NAN = float("nan")
SHAPE = anatomy(n_experts=8)
DOSE = DoseCounts(10, 3, 60, 4, 0)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 160 columns."""
    monkeypatch.setenv("COLUMNS", "160")
    terminal.console.cache_clear()
    yield
    terminal.console.cache_clear()


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def lines(text: str) -> list[str]:
    """Without the blanks that fill a line, and the empty lines around tables."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def columns(text: str) -> list[list[str]]:
    """The lines of a page, cut where two blanks or more stand; rules are left out."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in lines(text)
        if set(line.strip()) != {"─"}
    ]


class Recorder:
    """Stands where a function of the library stands; keeps what it was given and returns what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.given, self.named = answer, (), dict[str, Any]()

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.given, self.named = given, named
        return self.answer(*given, **named) if callable(self.answer) else self.answer


def model(shape: Anatomy = SHAPE, template: str | None = "a template") -> Any:
    return SimpleNamespace(anatomy=shape, tokenizer=SimpleNamespace(chat_template=template))


# ---- steer


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


# ---- compare


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
        "controls": 3, "store": None, "seed": 0, "max_new_tokens": 48, "distributions": True,
    }  # fmt: skip
    assert list(comparing.named["metrics"]) == ["refused"]
    assert comparing.given[2] == Plan.off("L1E2").for_model(SHAPE)


def test_compare_without_draws_or_given_text_says_nothing_of_them(comparing: Recorder) -> None:
    found = comparison(controls=pd.DataFrame(columns=["metric", "match", "difference"]), perplexity={}, notes=())
    comparing.answer = found
    said = run("compare", "m", "refusal", "--off", "L1E2").stdout
    assert "random experts" not in said
    assert "Perplexity" not in said


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


# ---- capture


def test_capture_hands_every_option_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = Recorder(random_store(tmp_path / "s", n_prompts=3))
    monkeypatch.setattr(workbench, "capture", made)
    opened = Recorder(model())
    monkeypatch.setattr(cli_capture, "open_model", opened)
    plain = run("capture", "m", "refusal", "--store", tmp_path / "s")
    assert plain.exit_code == 0, plain.output
    defaults = {
        "keep": {"norms", "residual"}, "generate": 0, "samples": 1, "temperature": 0.0, "responses": None, "layers": None,
        "experts": None, "batch_tokens": 4096, "seed": 0, "plan": None, "resume": True, "text": True,
    }  # fmt: skip
    assert made.named == defaults
    assert opened.given == ("m", "auto", "auto", None)
    files = sum(f.stat().st_size for f in (tmp_path / "s").rglob("*") if f.is_file())
    rows = open_store(tmp_path / "s").manifest["rows"]
    counted = ", ".join(f"{n:,} {table}" for table, n in rows.items())
    assert rows["prompts"] == 3
    assert lines(plain.stdout) == [f"{tmp_path / 's'}: {counted}; {files / 1000:.1f} kB"]
    Plan.off("L1E3").to_json(tmp_path / "p.json")
    words = [
        "--keep",
        "norms, logits,",
        "--generate",
        3,
        "--samples",
        2,
        "--temperature",
        0.5,
        "--responses",
        "--layers",
        "2,0-1",
    ]
    words += [
        "--experts",
        "L1E2",
        "--plan",
        tmp_path / "p.json",
        "--batch-tokens",
        99,
        "--seed",
        4,
        "--no-text",
        "--no-resume",
    ]
    said = run(
        "capture", "m", "refusal", "--store", tmp_path / "s", *words, "--device", "cpu", "--dtype", "float32", "--json"
    )
    assert said.exit_code == 0, said.output
    assert list(map(str, made.named.pop("experts"))) == ["L1E2"]
    assert made.named == {
        "keep": {"norms", "logits"}, "generate": 3, "samples": 2, "temperature": 0.5, "responses": True, "layers": [0, 1, 2],
        "batch_tokens": 99, "seed": 4, "plan": Plan.off("L1E3"), "resume": False, "text": False,
    }  # fmt: skip
    assert opened.given == ("m", "cpu", "float32", None)
    assert made.given[2] == tmp_path / "s"
    assert json.loads(said.stdout) == {"store": str(tmp_path / "s"), "rows": rows, "size_bytes": files}


def test_layers_are_numbers_and_ranges() -> None:
    assert cli_capture._numbers("0,3-5") == [0, 3, 4, 5]
    assert cli_capture._numbers(" 7 , 2-2") == [2, 7]
    assert len(cli_capture._numbers("0-9999")) == 10_000
    for text in ("x", "1-", "-1", "", "1,,2", "3-x"):
        if text == "1-":
            assert cli_capture._numbers(text) == [1]
            continue
        with pytest.raises(WorkbenchError) as error:
            cli_capture._numbers(text)
        assert str(error.value) == f"'{text}' names no layers; write them like 0,3-5."
    for text in ("5-3", "0-10000"):
        with pytest.raises(WorkbenchError) as error:
            cli_capture._numbers(text)
        assert str(error.value) == f"'{text}' names no layers of a model; write them like 0,3-5."


# ---- rank


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


def test_rank_prints_the_first_experts(asked: Recorder, tmp_path: Path) -> None:
    asked.answer = scores([0.01, 0.04, 0.05], is_shared=[False, True, False], flags=["", "dead; ties", ""])
    said = run("rank", "ftri", tmp_path / "s", "--target", "7", "--set", "n_bootstrap=30", "--top", 2)
    assert said.exit_code == 0, said.output
    assert columns(said.stdout) == [
        ["ftri of 3 experts of some/model (target=a, n=3)"],
        ["rank", "expert", "score", "95 % interval", "p", "p adjusted", "n", "flags"],
        ["1", "L1E0", "0.5", "-", "0.01", "0.01", "1,234"],
        ["2", "L1S1", "0.3765", "0.1 to 0.9", "0.01", "0.04", "1,235", "dead; ties"],
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
    assert cli_rank._doubt(scores(p), top) == said


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
        (["magic", "s"], "There is no method 'magic'; use ftri, contrast, safex, npmi, usage, super_experts."),
        (["ftr", "s"], "There is no method 'ftr'; did you mean 'ftri'? use ftri, contrast, safex, npmi, usage, super_experts."),
        (["ftri", "s"], "ftri needs target; give --target VALUE, or --set target=VALUE."),
        (["ftri", "s", "--set", "=3"], "'=3' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt."),
        (["ftri", "s", "--set", "tokens"], "'tokens' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt."),
        (["ftri", "s", "--set", "a=1", "--set", "a=2"], "--set gives a twice; give it once."),
        (["ftri", "s", "--target", "x", "--set", "target=y"], "--target and --set target name the same; give one of them."),
        (["ftri", "s", "--target", "x", "--set", "zzz=1"],
         "ftri has no option 'zzz'; it has target, baseline, tokens, n_bootstrap."),
        (["ftri", "s", "--target", "x", "--set", "token=1"],
         "ftri has no option 'token'; did you mean 'tokens'? it has target, baseline, tokens, n_bootstrap."),
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


def test_what_a_value_of_set_reads_as() -> None:
    def method(store: Any, text: str, maybe: str | None, number: int, both: str | int, many: list[str]) -> None: ...

    found = inspect.signature(method).parameters
    for written, value in (
        ("text=true", "true"), ("text=7", "7"), ('text="7"', "7"), ("text=a=b", "a=b"), ("maybe=7", "7"), ("maybe=null", None),
        ("number=7", 7), ("number=true", True), ("both=7", 7), ("both=1.5", "1.5"), ('many=["a"]', ["a"]), ("text=[1]", [1]),
        ('text={"a": 1}', {"a": 1}), ("unknown=7", 7), ("number=x", "x"), ("number=", ""),
    ):  # fmt: skip
        assert cli_rank._pair(written, found) == (written.partition("=")[0], value), written


# ---- store


def test_store_info_prints_what_it_holds(tmp_path: Path) -> None:
    tables = random_tables(n_prompts=6, samples=2)
    ids = sorted(tables["prompts"]["prompt_id"])
    pets = zip(
        ids, ("cat", "cat", "cat", "dog", "dog", "cow"), ("hand", "hand", "file", "file", "file", "file"), strict=True
    )
    label = [{"prompt_id": i, "sample": -1, "name": "kind", "value": v, "source": source} for i, v, source in pets]
    many = [
        {"prompt_id": i, "sample": -1, "name": "code", "value": v, "source": "file"}
        for i, v in zip(ids, "aabcde", strict=True)
    ]
    four = [
        {"prompt_id": i, "sample": -1, "name": "four", "value": v, "source": "file"}
        for i, v in zip(ids, "aabbcd", strict=True)
    ]
    store = write_store(tmp_path / "s", SHAPE, {**tables, "labels": pd.DataFrame([*label, *many, *four])})
    said = run("store", "info", store.path)
    assert said.exit_code == 0, said.output
    rows = columns(said.stdout)
    assert rows[0] == [f"{tmp_path / 's'}: synthetic, 6 prompts, 2 samples each"]
    assert rows[1] == ["table", "rows", "on disk"]
    shown = {name: (n, size) for name, n, size in rows[2 : rows.index(["label", "values", "source", "rows"])]}
    assert set(shown) == {"tokens", "slots"}
    for name, (n, size) in shown.items():
        on_disk = sum(file.stat().st_size for file in (tmp_path / "s" / name).rglob("*.parquet"))
        assert (n, size) == (f"{len(tables[name]):,}", f"{on_disk / 1000:.1f} kB")
    labels = rows[rows.index(["label", "values", "source", "rows"]) + 1 :]
    values = {row[0]: row[1:] for row in labels[:3]}
    assert list(values) == ["kind", "code", "four"]
    assert values["kind"] == ["cat 3, dog 2, cow 1", "file, hand", "6"]
    assert values["code"][0].startswith("a 2, ")
    assert values["code"][0].endswith(", ... (5 values)")
    assert values["code"][0].count(" 1") == 3
    assert sorted(values["four"][0].split(", ")) == ["a 2", "b 2", "c 1", "d 1"]
    kept = open_store(store.path).plan_json["options"]
    assert labels[3] == [", ".join(f"{k}={v}" for k, v in kept.items() if v is not None)]
    assert (
        run("store", "info", random_store(tmp_path / "one").path)
        .stdout.splitlines()[0]
        .endswith("synthetic, 4 prompts")
    )


def test_store_info_warns_of_what_is_not_a_plain_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = random_tables(n_prompts=2)
    bad = [
        {
            "prompt_id": "p0",
            "sample": 0,
            "layer": 1,
            "what": "output",
            "expert": 2,
            "n_tokens": 3,
            "n_own": 1,
            "first_position": 0,
        }
    ]
    store = write_store(tmp_path / "s", SHAPE, {**tables, "nonfinite": pd.DataFrame(bad)}, lacks=["weight", "norms"])
    with monkeypatch.context() as steered:
        steered.setattr(Store, "steering", property(lambda _: Plan.off("L1E3")))
        said = run("store", "info", store.path)
        found = json.loads(run("store", "info", store.path, "--json").stdout)
    assert said.exit_code == 0, said.output
    first, second, third, fourth = said.stderr.splitlines()
    assert first == "Captured under a plan, so this is not the base model: off L1E3"
    assert second == (
        "Made before fingerprints had a version: of the model only weights, sizes and top-k can be compared with another's."
    )
    assert third == "Returned by a serving engine, which does not tell weight, norms: expert ids alone."
    assert fourth == found["nonfinite"] == "Values are not finite, first in layer 1: output of L1E2 at 3 tokens."
    assert found["steering"] == [e.to_dict() for e in Plan.off("L1E3").edits]
    assert run("store", "info", random_store(tmp_path / "plain").path).stderr == second + "\n"


def test_store_info_as_json(tmp_path: Path) -> None:
    store = random_store(tmp_path / "s", n_prompts=3)
    found = json.loads(run("store", "info", store.path, "--json").stdout)
    assert {k: found[k] for k in ("path", "prompts", "samples", "labels", "steering", "fingerprint")} == {
        "path": str(tmp_path / "s"), "prompts": 3, "samples": 1, "labels": [], "steering": None,
        "fingerprint": store.anatomy.fingerprint,
    }  # fmt: skip
    plan = json.loads((tmp_path / "s" / "plan.json").read_text("utf-8"))
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text("utf-8"))
    assert [found[k] for k in ("model", "schema_version", "options")] == [
        plan[k] for k in ("model", "schema_version", "options")
    ]
    assert found["rows"] == manifest["rows"]


def test_store_check_counts_files_and_problems(tmp_path: Path) -> None:
    store = random_store(tmp_path / "s", n_shards=2)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text("utf-8"))
    n = len(manifest["files"]) + sum(len(shard["files"]) for shard in manifest["shards"])
    said = run("store", "check", store.path)
    assert (said.exit_code, lines(said.stdout)) == (0, [f"{n} files, all as captured."])
    assert json.loads(run("store", "check", store.path, "--json").stdout) == {
        "path": str(store.path),
        "sound": True,
        "problems": [],
    }
    file = next((tmp_path / "s" / "slots").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    said = run("store", "check", store.path)
    assert (said.exit_code, lines(said.stdout)[-1]) == (1, f"{n} files: 1 problems.")
    assert file.name in lines(said.stdout)[0]
    found = run("store", "check", store.path, "--json")
    assert (found.exit_code, json.loads(found.stdout)["sound"], len(json.loads(found.stdout)["problems"])) == (
        1,
        False,
        1,
    )


# ---- models and inspect


def test_models_lists_what_the_conformance_suite_found() -> None:
    found = json.loads(bundled_path("conformance.json").read_text("utf-8"))
    rows = json.loads(run("models", "--json").stdout)
    assert rows[0] == {"model": "demo", "what": rows[0]["what"]}
    by_name = {row["model"]: row["no"] for row in rows[1:]}
    assert by_name == {
        **{f"tiny/{name}": entry["no"] for name, entry in found["families"].items()},
        **{f"tiny/{name}": {"load": why} for name, why in found["refused"].items()},
    }
    page = columns(run("models").stdout)
    assert page[0] == ["model", "what it is"]
    assert [row[0] for row in page[1:3]] == ["demo", "tiny/FAMILY"]
    assert ["family", "not supported", "because"] in page
    supported = next(name for name, no in by_name.items() if not no)
    assert [supported, "-"] in page


RULE = RoutingRule("softmax", True)
MAP = Anatomy(
    "some/model", "fam", 64, 50_000, "w",
    (LayerAnatomy(0, n_shared=2), LayerAnatomy(1, 8, 2, 1, rule=RULE),
     LayerAnatomy(2, 16, 4, 0, refused={"off": "a reason", "bias": "other"}),
     LayerAnatomy(3, 8, 2, 0, refused={"off": "a reason"})),
    revision="main", context_length=4096, adapters=("one", "two"),
)  # fmt: skip


def test_inspect_prints_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Recorder(model(MAP))
    monkeypatch.setattr("workbench_app.cli.models.open_model", opened)
    said = run("inspect", "m", "--device", "cpu", "--dtype", "bfloat16")
    assert opened.given == ("m", "cpu", "bfloat16", None)
    assert columns(said.stdout) == [
        ["some/model: fam, 3 MoE layers, 32 experts"],
        [
            f"hidden 64, vocabulary 50,000, context 4,096, revision main, active adapters one, two, fingerprint {MAP.fingerprint}"
        ],
        ["layer", "experts", "top-k", "shared", "routing rule", "not supported"],
        ["0", "dense", "2"],
        ["1", "8", "2", "1", str(RULE), "-"],
        ["2", "16", "4", "-", "not recognised", "off, bias"],
        ["3", "8", "2", "-", "not recognised", "off"],
        ["off is not supported in layers 2, 3: a reason"],
        ["bias is not supported in layers 2: other"],
    ]
    head, _, _, first = lines(said.stdout)[2:6]
    assert head.index("experts") + len("experts") == first.index("8") + 1, "numbers end together"
    monkeypatch.setattr("workbench_app.cli.models.open_model", Recorder(model()))
    said = columns(run("inspect", "m").stdout)
    assert said[1] == [f"hidden 4, vocabulary 50, fingerprint {SHAPE.fingerprint}"]
    assert said[3] == ["0", "dense"]
    assert said[-1] == [
        "Every layer supports routing, logits, norms, outputs, residual, routed_change, off, drop, mute, force, scale, bias, "
        "replace."
    ]
    assert json.loads(run("inspect", "m", "--json").stdout) == json.loads(json.dumps(SHAPE.to_dict()))


# ---- the dashboard


def test_the_page_is_served_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = Recorder(0)
    monkeypatch.setattr(cli_demo, "_serve", started)
    monkeypatch.chdir(tmp_path)
    store = random_store(tmp_path / "s").path
    said = run("app", "--model", "a", "--model", "b", "--store", store, "--no-browser")
    assert (said.exit_code, said.stderr) == (0, "Serving on this machine only: http://127.0.0.1:8501\n")
    (command,) = started.given
    assert command[1:5] == ["-m", "streamlit", "run", str(Path(cli_demo.__file__).parents[1] / "page.py")]
    assert command[5:-5] == [
        "--server.address=127.0.0.1", "--server.port=8501", "--browser.gatherUsageStats=false", "--server.showEmailPrompt=false",
        "--logger.hideWelcomeMessage=true", "--server.headless=true", "--server.fileWatcherType=none",
        "--client.toolbarMode=minimal", "--theme.light.primaryColor=#0072B2", "--theme.dark.primaryColor=#4AA8DE",
    ]  # fmt: skip
    assert command[-5:] == ["--", "--model=a", "--model=b", f"--store={store}", f"--project={tmp_path}"]
    started.answer = 3
    said = run("app", "--host", "::1", "--port", 65535)
    assert (said.exit_code, said.stderr) == (3, "Serving on this machine only: http://::1:65535\n")
    assert started.given[0][-3:] == ["--", "--model=demo", f"--project={tmp_path}"]
    assert "--server.headless=false" in started.given[0]
    said = run("app", "--host", "0.0.0.0", "--port", 1)
    assert said.stderr == (
        "Serving on 0.0.0.0, port 1: everybody who reaches this machine can use the model and read the stores listed.\n"
    )
    assert run("app", "--port", 0).exit_code == run("app", "--port", 65536).exit_code == 2


def test_the_server_ends_with_the_command_and_signals_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Server:
        def wait(self) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 4

        def terminate(self) -> None:
            done.append("terminated")

        def kill(self) -> None:
            done.append("killed")

    before: list[int] = []
    monkeypatch.setattr(cli_demo.subprocess, "Popen", lambda command: Server() if command == ["a"] else None)
    kept = signal.signal(signal.SIGTERM, lambda number, _: before.append(number))
    try:
        assert cli_demo._serve(["a"]) == 4
        assert (done, before) == (["terminated", "killed"], [])
        os.kill(os.getpid(), signal.SIGTERM)
        assert (done, before) == (["terminated", "killed"], [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, kept)


# ---- the command itself


def test_the_version_is_one_line() -> None:
    said = run("--version")
    assert (said.exit_code, said.stdout) == (0, f"workbench {__version__}\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (WorkbenchError("No."), 2, "No.\n"),
        (
            OSError(28, "No space left on device", "/a/file"),
            2,
            "No space left on device: '/a/file'; choose another place.\n",
        ),
        (OSError(28, "No space left on device"), 2, "[Errno 28] No space left on device\n"),
        (OSError("odd"), 2, "odd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_ends_a_command(error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("workbench_app.cli.models.open_model", fails)
    found = run("inspect", "m")
    assert (found.exit_code, found.stdout, found.stderr) == (code, "", said)


def test_a_wrong_option_says_where_help_is() -> None:
    assert (
        run("inspect", "m", "--zz").stderr == "No such option: --zz; `workbench inspect -h` says what can be given.\n"
    )
    assert run("--zz").stderr == "No such option: --zz; `workbench -h` says what can be given.\n"
    assert run("store", "zz").stderr == "No such command 'zz'; `workbench store -h` says what can be given.\n"
    assert "Commands:" in run().output
    assert run("-h").exit_code == 0


def test_a_note_of_ours_is_a_line_and_anothers_warning_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(*_: Any) -> Any:
        warnings.warn("it was not compared", NotCompared, stacklevel=1)
        warnings.warn("a library's own", UserWarning, stacklevel=1)
        return model()

    before = warnings.showwarning
    monkeypatch.setattr("workbench_app.cli.models.open_model", warns)
    theirs: list[Any] = []
    monkeypatch.setattr(
        "workbench_app.cli.group._PYTHONS_OWN", lambda message, category, *rest: theirs.append((str(message), category))
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            said = run("inspect", "m")
    finally:
        warnings.showwarning = before
    assert said.stderr == "it was not compared\n"
    assert theirs == [("a library's own", UserWarning)]


# ---- options


def test_a_model_is_opened_as_asked_and_without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Recorder("a model")
    monkeypatch.setattr(workbench, "load", loaded)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    from transformers.utils import logging

    logging.enable_progress_bar()
    logging.set_verbosity_info()
    assert opening.open_model("m", "cpu", "float32", "e", revision="r") == "a model"
    assert (loaded.given, loaded.named) == (
        ("m",),
        {"device": "cpu", "dtype": "float32", "engine": "e", "revision": "r"},
    )
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert not logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == logging.ERROR


def test_edits_and_a_plans_file_are_one_plan(tmp_path: Path) -> None:
    Plan.off("L1E0").to_json(tmp_path / "p.json")
    found = options.asked(tmp_path / "p.json", off=["L1E1", "L1E2"], mute=None, scale=["L1E3=2"])
    assert found.edits == ("off L1E1", "off L1E2", "scale L1E3=2")
    assert found.on(SHAPE) == Plan.parse("off L1E0; off L1E1; off L1E2; scale L1E3=2").for_model(SHAPE)
    assert options.asked(tmp_path / "p.json").edits == ()
    assert options.asked(None, off=["L1E1"]).plan == Plan()
    with pytest.raises(WorkbenchError, match="No edit was named, so nothing would change"):
        options.asked(None, off=None, mute=[])
    with pytest.raises(WorkbenchError, match="Layer 9 does not exist"):
        options.asked(None, off=["L9E1"]).on(SHAPE)


# ---- the terminal


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1449, "1.4 kB"), (999_000, "999.0 kB"), (1_000_000, "1.0 MB"),
     (1_400_000, "1.4 MB"),
     (2_500_000_000, "2.5 GB"), (999e9, "999.0 GB"), (1e12, "1.0 TB"), (12_300e12, "12300.0 TB")],
)  # fmt: skip
def test_bytes_for_people(n: float, text: str) -> None:
    assert values.size(n) == text


def test_control_characters_become_their_pictures() -> None:
    every = "".join(map(chr, range(160))) + "\ud800\udfff\ue000"
    shown = values.plain(every)
    assert shown[:32] == "".join(chr(0x2400 + i) if chr(i) not in "\n\t" else chr(i) for i in range(32))
    assert shown[32:127] == every[32:127]
    assert shown[127:] == "\u2421" + "\ufffd" * 32 + "\ufffd\ufffd\ue000"


def test_what_is_no_json_becomes_json(capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        1: (np.float64(0.5), np.int64(3)),
        "b": [NAN, float("inf"), None, True, "text"],
        "c": np.str_("x"),
        "d": {"e": (1,)},
    }
    assert values.jsonable(given) == {"1": [0.5, 3], "b": [None, None, None, True, "text"], "c": "x", "d": {"e": [1]}}
    terminal.print_json({"a": ["é", "\udc80"]})
    assert capsys.readouterr().out == '{\n "a": [\n  "é",\n  "\\udc80"\n ]\n}\n'


def test_two_texts_stand_one_above_the_other_where_it_is_narrow(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for width, beside in ((69, False), (70, True)):
        monkeypatch.setenv("COLUMNS", str(width))
        terminal.console.cache_clear()
        terminal.print_pair(("base", ""), ("steered", "x"))
        shown = lines(capsys.readouterr().out)
        assert ("base" in shown[0] and "steered" in shown[0]) is beside
        assert "(no text)" in shown[1]
        if not beside:
            assert [len(line) for line in shown] == [69] * 6
            assert shown[0].startswith("╭─ base ─")
            assert shown[3].startswith("╭─ steered ─")
        else:
            assert len(shown[0]) == 34 + 1 + 34


def test_a_table_is_what_it_is_told_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table(["name", "n"], [("a", 1), ("longer", 1000)], "A title", right=["n"])
    title, head, rule, *rows = lines(capsys.readouterr().out)
    assert title == "A title"
    assert set(rule.strip()) == {"─"}
    assert [line.split() for line in (head, *rows)] == [["name", "n"], ["a", "1"], ["longer", "1000"]]
    assert {len(line) for line in (head, *rows)} == {len(head)}, "the numbers end together"
    assert head.index("name") == rows[0].index("a") == rows[1].index("longer")


def test_results_go_to_stdout_and_words_about_the_work_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("a result " * 30)
    terminal.note("a note " * 30)
    terminal.warn("[red]a warning")
    with terminal.working("Thinking"):
        pass
    found = capsys.readouterr()
    assert found.out == "a result " * 30 + "\n"  # one line, however long
    assert found.err.splitlines()[:2] == ["a note " * 30, "[red]a warning"]
    terminal.say()
    assert capsys.readouterr().out == "\n"
