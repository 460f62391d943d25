"""The demo without a model: what it asks of the library in which order, what it writes, and what a terminal shows."""

import io
import json
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from workbench_app import demo, measure, stages
from workbench_app.cli import edits
from workbench_app.findings import Findings
from workbench_app.stages import Stages
from workbench_app.terminal import opening, values
from workbench_app.terminal import printing as terminal

import probes
from probes.ranking import ExpertScores
from tests.app.demo.test_drawn_report import arm, effects
from tests.app.world import SHAPE, store_at
from workbench import Plan, WorkbenchError, read_prompts


def scores(method, *values):
    frame = pd.DataFrame({"layer": 1, "expert": range(len(values)), "score": values, "flags": ""})
    return ExpertScores(method, {}, frame, (f"note of {method}",), SHAPE.fingerprint, SHAPE.model)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the demo asked of the parts that are faked here."""
    calls, model = [], SimpleNamespace(anatomy=SHAPE)
    pairs = (scores("ftri", 0.9, 0.5, 0.2), scores("npmi", 0.9, 0.8, 0.7, 0.6), scores("super_experts", 3.0))
    store = store_at(tmp_path / "captured")

    def told(name, answer):
        return lambda *given, **how: (calls.append((name, given, how)), answer(*given, **how))[1]

    monkeypatch.setattr(demo, "open_model", told("open", lambda *_: model))
    monkeypatch.setattr(demo, "capture_both", told("capture", lambda *_: (store, "thoughts")))
    for name, found in zip(("ftri", "npmi", "super_experts"), pairs, strict=True):
        monkeypatch.setattr(probes, name, told(name, lambda *_, found=found, **__: found))
    monkeypatch.setattr(demo, "refusals_left", told("left", lambda *_: measure.Left(0.8, {1: 0.5, 2: 0.3})))
    monkeypatch.setattr(
        demo,
        "measure",
        told("measure", lambda m, n, plan, w: arm(n, effects(), str(plan), examples=dict.fromkeys(measure.FILES, ()))),
    )
    monkeypatch.setattr(demo, "force", told("force", lambda *_: (None, ("no force",))))
    monkeypatch.setattr(demo, "write_report", told("report", lambda *_: None))
    monkeypatch.setattr(demo, "committed_choice", lambda: demo.committed_choice.now)
    monkeypatch.setattr(demo, "implanted", lambda: {"refusal": ("L1E0",)})
    monkeypatch.setattr(demo, "version", lambda name: f"{name} 1")
    return calls, model, store


class Chosen:
    def __init__(self, n, **how):
        self.now = self
        self.n, self.options = n, how

    def __call__(self):
        return self


def test_the_demo_ranks_chooses_measures_and_writes(asked, tmp_path, monkeypatch):
    calls, _model, store = asked
    monkeypatch.setattr(demo, "committed_choice", Chosen(2, tokens="prompt"))
    said = []
    monkeypatch.setattr(demo, "say", said.append)
    monkeypatch.setattr(demo, "print_summary", said.append)
    monkeypatch.setattr(demo, "print_json", lambda value: said.append("json"))
    out = tmp_path / "new" / "out"
    found = demo.run(out)
    assert calls[0] == ("open", ("demo", "cpu", "auto"), {})
    assert [name for name, *_ in calls] == [
        "open", "capture", "ftri", "npmi", "super_experts", "left", "measure", "measure", "measure", "force", "report",
    ]  # fmt: skip
    asked_of = {name: (given, how) for name, given, how in calls}
    assert asked_of["ftri"] == ((store,), {"target": "refused", "baseline": "answered", "tokens": "prompt"})
    assert (asked_of["npmi"], asked_of["super_experts"]) == ((("thoughts",), {}), ((store,), {}))
    measured = [(given[1], str(given[2])) for name, given, _ in calls if name == "measure"]
    assert measured == [(1, "off L1E0"), (2, "off L1E0; off L1E1"), (4, "off L1E0; off L1E1; off L1E2; off L1E3")]
    assert asked_of["force"][0][2] == 2
    assert str(Plan.from_json(out / "plan.json")) == "off L1E0; off L1E1"
    assert (found.chosen, found.is_committed, found.left_base, found.left) == (2, True, 0.8, {1: 0.5, 2: 0.3})
    assert (found.model, found.fingerprint, found.n_layers, found.n_experts, found.top_k) == (
        "tiny",
        SHAPE.fingerprint,
        2,
        8,
        2,
    )
    assert (found.refusal.method, found.thinking.method, found.extremes.method) == ("ftri", "npmi", "super_experts")
    assert found.residual == ((-1, 200.0), (0, 201.0), (1, 202.0))
    assert ([a.n for a in found.arms], found.thinking_arm.n) == ([1, 2], 4)
    assert (found.forced, found.notes) == (None, ("no force",))
    assert found.versions == {"torch": "torch 1", "transformers": "transformers 1"}
    assert found.implanted == {"refusal": ("L1E0",)}
    assert list(found.seconds) == ["Ranking experts"]
    assert json.loads((out / "findings.json").read_text()) == json.loads(json.dumps(found.to_dict()))
    assert (out / "report.html").exists()
    assert asked_of["report"][0] == (found, out / "report.html")
    assert said == [
        found, f"Report: {out / 'report.html'}",
        f'Plan: {out / "plan.json"}; try workbench steer demo --plan {out / "plan.json"} --prompt "..."',
    ]  # fmt: skip
    said.clear()
    assert isinstance(demo.run(out, True, "tiny/x"), Findings)
    assert said == ["json"]
    assert calls[-11] == ("open", ("tiny/x", "cpu", "auto"), {})


@pytest.mark.parametrize(
    ("committed", "chosen", "is_committed"), [(None, 2, False), (9, 2, False), (1, 1, True), (3, 3, True)]
)
def test_without_a_committed_number_the_smallest_that_halves_is_chosen(
    asked, tmp_path, monkeypatch, committed, chosen, is_committed
):
    monkeypatch.setattr(demo, "committed_choice", Chosen(committed))
    _, model, _ = asked
    done = []
    found = demo._work(model, tmp_path, Stages(lambda what, n: done.append((what, n))))
    assert (found.chosen, found.is_committed, found.implanted) == (chosen, is_committed, {})
    assert done == [("Ranking experts", 0), ("Ranking experts", 1)]


def test_refusals_and_sums_are_captured_with_the_lengths_of_the_checks(tmp_path, monkeypatch):
    calls, done = [], []
    monkeypatch.setattr(
        demo,
        "capture",
        lambda model, prompts, path, **how: (calls.append((prompts.fingerprint, path, how)), path.name)[1],
    )
    assert demo.capture_both(None, tmp_path, Stages(lambda what, n: done.append((what, n)))) == ("refusal", "thinking")
    asked, sums = read_prompts("refusal"), read_prompts("thinking").filter(split="ranking")
    assert calls == [
        (asked.fingerprint, tmp_path / "stores" / "refusal", {"generate": 16, "progress": False}),
        (sums.fingerprint, tmp_path / "stores" / "thinking", {"generate": 56, "progress": False}),
    ]
    assert done == [
        ("Capturing refusals", 0), ("Capturing refusals", len(asked)), ("Capturing sums", 0), ("Capturing sums", len(sums)),
    ]  # fmt: skip


def test_a_stage_says_its_name_where_there_is_no_terminal(monkeypatch):
    told = []
    for is_terminal in (False, True):

        @contextmanager
        def bar(is_terminal=is_terminal):
            yield SimpleNamespace(
                add_task=lambda what, total: told.append((what, total)) or 7,
                update=lambda task, description, advance: told.append((task, description, advance)),
                console=SimpleNamespace(is_terminal=is_terminal),
            )

        monkeypatch.setattr(stages, "progress_bar", bar)
        monkeypatch.setattr(stages, "note", told.append)
        with stages.stages(9) as work, work.stage("a", 4):
            pass
    assert told == [("", 9), "a", (7, "a", 0), (7, "a", 4), ("", 9), (7, "a", 0), (7, "a", 4)]


# ---- the terminal


@pytest.fixture
def shown(monkeypatch):
    """What goes to stdout and to stderr of a terminal of so many columns."""
    streams = {False: io.StringIO(), True: io.StringIO()}

    def wide(columns, **how):
        made = {
            k: Console(file=s, width=columns, markup=False, emoji=False, highlight=False, **how)
            for k, s in streams.items()
        }
        monkeypatch.setattr(terminal, "console", lambda *, stderr=False: made[stderr])
        return streams

    return wide


def test_results_go_to_stdout_and_notes_to_stderr_as_they_are(shown):
    streams = shown(10)
    terminal.say("a long line of a [b]result[/b] :smile:")
    terminal.note("a note that is long\x07")
    terminal.warn("a warning that is long")
    terminal.say()
    assert streams[False].getvalue() == "a long line of a [b]result[/b] :smile:\n\n"
    assert streams[True].getvalue() == "a note that is long\u2407\na warning that is long\n"
    assert (
        values.plain("\x00\x1f\x7f\x80\x9f\xa0\ud800\udfff\n\t") == "\u2400\u241f\u2421\ufffd\ufffd\xa0\ufffd\ufffd\n\t"
    )
    streams = shown(40, force_terminal=True, color_system="standard", legacy_windows=False)
    terminal.note("dim")
    terminal.warn("yellow")
    assert streams[True].getvalue().endswith("\x1b[2mdim\x1b[0m\n\x1b[33myellow\x1b[0m\n")


def test_the_console_takes_text_as_it_is():
    for stderr in (False, True):
        made = terminal.console.__wrapped__(stderr=stderr)
        assert (made.stderr, made._markup, made._emoji, made._highlight, made.soft_wrap) == (
            stderr,
            False,
            False,
            False,
            False,
        )


def test_a_table_has_a_title_and_numbers_at_the_right(shown):
    streams = shown(60)
    terminal.print_table(["name", "n"], [("[a]", 1), ("b\x07", 234)], "A title", right=["n"])
    terminal.print_table(["x"], [("y",)])
    lines = [line.rstrip() for line in streams[False].getvalue().splitlines()]
    rule = [line for line in lines if set(line.strip()) == {"\u2500"}]
    assert [line for line in lines if line and line not in rule] == [
        "A title", " name     n", " [a]      1", " b\u2407     234", " x", " y",
    ]  # fmt: skip


def test_two_texts_stand_side_by_side_where_there_is_room(shown):
    streams = shown(70)
    terminal.print_pair(("base", "one"), ("steered", ""))
    lines = streams[False].getvalue().splitlines()
    assert [len(lines), lines[0].startswith("\u256d\u2500 base "), "\u256d\u2500 steered " in lines[0]] == [
        3,
        True,
        True,
    ]
    assert lines[1].replace(" ", "") == "\u2502one\u2502\u2502(notext)\u2502"
    assert lines[0].index("\u256d\u2500 steered") == 35
    streams = shown(69)
    terminal.print_pair(("base", "one"), ("steered", "two"))
    narrow = streams[False].getvalue().splitlines()[3:]
    assert [len(line) for line in narrow] == [69] * 6


def test_json_has_no_infinities(capsys):
    terminal.print_json({1: (np.float32(0.5), float("nan"), float("inf")), "\u00e4": ["\udc80", None, np.int64(3)]})
    assert capsys.readouterr().out == (
        '{\n "1": [\n  0.5,\n  null,\n  null\n ],\n "\u00e4": [\n  "\\udc80",\n  null,\n  3\n ]\n}\n'
    )


def test_a_spinner_and_a_bar_are_on_stderr(shown, monkeypatch):
    streams = shown(60)
    with terminal.working("Loading x"):
        pass
    with terminal.progress_bar() as bar:
        assert bar.console is terminal.console(stderr=True)
        assert bar.live.transient
        bar.add_task("[b]", total=4)
        words = [column.render(bar.tasks[0]).plain for column in bar.columns if type(column).__name__ == "TextColumn"]
        assert words == ["[b]", "left"]
    assert streams[False].getvalue() == ""


# ---- options


def test_a_model_is_opened_with_what_was_asked(monkeypatch):
    from transformers.utils import logging

    import workbench

    told = []
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    monkeypatch.setattr(opening, "working", lambda what: told.append(what) or contextmanager(lambda: iter([None]))())
    monkeypatch.setattr(workbench, "load", lambda source, **how: (source, how))
    monkeypatch.setattr(logging, "disable_progress_bar", lambda: told.append("no bar"))
    monkeypatch.setattr(logging, "set_verbosity_error", lambda: told.append("errors alone"))
    assert opening.open_model("m", "cpu", "auto", revision="r") == (
        "m",
        {"device": "cpu", "dtype": "auto", "revision": "r"},
    )
    assert told == ["Loading m", "no bar", "errors alone"]


def test_options_become_one_plan(tmp_path):
    path = tmp_path / "plan.json"
    Plan.parse("mute L0E2").to_json(path)
    found = edits.asked(path, off=["L0E1"], scale=["L1E2=3"], drop=None)
    assert found == edits.Asked(Plan.parse("mute L0E2"), ("off L0E1", "scale L1E2=3"))
    assert str(found.on(SHAPE)) == str(Plan.parse("mute L0E2; off L0E1; scale L1E2=3"))
    assert found.on(SHAPE).fingerprint == SHAPE.fingerprint
    assert edits.asked(None, off=["L0E1"]).plan == Plan()
    assert edits.asked(path).edits == ()
    with pytest.raises(
        WorkbenchError, match="No edit was named, so nothing would change; name one, such as --off L0E15"
    ):
        edits.asked(None, off=None, force=[])
    with pytest.raises(WorkbenchError, match="selects 2 of 4"):
        edits.asked(None, off=["L0E0,L0E1,L0E2"]).on(SHAPE)


def test_the_script_of_the_page_runs_with_the_arguments_of_the_command(monkeypatch):
    import runpy

    from workbench_app.dashboard import navigation

    ran = []
    monkeypatch.setattr(navigation, "run", ran.append)
    monkeypatch.setattr(sys, "argv", ["page.py", "--model=a", "--project=b"])
    runpy.run_module("workbench_app.page", run_name="__main__")
    assert ran == [["--model=a", "--project=b"]]
