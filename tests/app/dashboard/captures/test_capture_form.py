"""The form of a capture, drawn on paper: its prompts, its size, a free name, and the start."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from workbench_app.dashboard.captures import capture_form, prompt_sources

from tests.app.dashboard.captures.made import PROMPTS
from tests.app.dashboard.session.test_view import PLAN
from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import SHAPE, view_of
from workbench import Plan, PromptSet, read_prompts
from workbench.capturing import Estimate, Options
from workbench.prompts import Prompt

EVERYTHING = {
    "capture-keep": ["residual", "logits"], "capture-given": False, "capture-generate": 7, "capture-temperature": 0.5,
    "capture-samples": 3, "capture-seed": 11, "capture-steered": True, "capture-start": True,
}  # fmt: skip
GIVEN = PromptSet((Prompt("a", text="x", response="y"),), "x/odd name!.csv")


@pytest.fixture
def form(tmp_path, listed, monkeypatch):
    """The form on paper, of which the library is asked nothing: `asked` keeps the request for a size and what was started."""
    found = SimpleNamespace(paper=write_on(monkeypatch, plan=PLAN), look=view_of(tmp_path), asked=[], prompts=None)
    found.expected = Estimate(1_000_000, {"tokens": 4000, "slots": 0})
    choose = capture_form.chosen_prompts
    monkeypatch.setattr(capture_form, "chosen_prompts", lambda view: found.prompts or choose(view))
    monkeypatch.setattr(prompt_sources, "bundled_names", lambda: ["refusal", "thinking"])
    monkeypatch.setattr(capture_form, "estimated", lambda *given: (found.asked.append(given), found.expected)[1])
    monkeypatch.setattr(listed, "start", found.asked.append)
    return found


def test_the_form_of_a_capture_as_it_is_drawn(form):
    capture_form.capture_form(form.look)
    form.paper.lines.append("---- everything chosen, and started")
    form.prompts = GIVEN
    form.paper.answers.update(EVERYTHING)
    capture_form.capture_form(form.look)
    form.paper.answers |= {"capture-given": True}
    form.expected = Estimate(20_000, {"tokens": 4000})
    form.paper.session_state.plan = Plan()
    capture_form.capture_form(form.look)
    (form.look.catalog.project / "stores" / "odd-name-").mkdir()
    capture_form.capture_form(form.look)
    form.paper.answers["capture-name-odd-name--2"] = "odd-name-"
    capture_form.capture_form(form.look)
    assert_drawn("capture_form", drawn(form.paper))


def test_a_capture_starts_with_what_was_chosen(form, tmp_path):
    form.prompts, look, paper = GIVEN, form.look, form.paper
    paper.answers.update(EVERYTHING)
    capture_form.capture_form(look)
    asked, started = form.asked
    options = Options(["logits", "residual"], generate=7, batch_tokens=2048, seed=11, samples=3, temperature=0.5)
    assert asked == (look.machine.model, GIVEN, SHAPE.fingerprint, GIVEN.fingerprint, options)
    path = tmp_path / "stores" / "odd-name-"
    assert (started.name, started.path, started.machine) == ("stores/odd-name-", path, look.machine)
    shard = min(capture_form.SHARD_TOKENS, 50_000)  # a twentieth of the tokens
    wanted = started.wanted
    assert (wanted.prompts, wanted.plan, wanted.options) == (GIVEN, PLAN, replace(options, shard_tokens=shard))
    kept = tmp_path / "stores" / ".prompts" / "odd-name-.jsonl"
    assert read_prompts(kept).fingerprint == GIVEN.fingerprint


def test_what_is_large_is_kept_of_a_share_of_the_tokens(form):
    form.prompts = GIVEN
    form.paper.answers.update(EVERYTHING | {"capture-keep": ["norms", "inner", "outputs"], "capture-share": 0.1})
    capture_form.capture_form(form.look)
    assert form.asked[-1].wanted.options.keep == ("inner:0.1", "norms", "outputs:0.1")
    assert "number_input 'Keep inner, outputs of this share of the tokens'" in drawn(form.paper)


def test_given_responses_are_run_in_the_place_of_generated_ones(form):
    form.prompts, form.expected = GIVEN, Estimate(20_000, {"tokens": 4000})
    form.paper.answers.update(EVERYTHING | {"capture-given": True})
    capture_form.capture_form(form.look)
    options = form.asked[-1].wanted.options
    assert (options.generate, options.responses, options.shard_tokens) == (0, True, 2048)


def test_prompts_come_from_a_bundled_file_or_an_upload(tmp_path, monkeypatch):
    view = view_of(tmp_path, name="demo")
    paper = write_on(monkeypatch, {"capture-prompts": "thinking", "capture-split": "ranking"})
    found = prompt_sources.chosen_prompts(view)
    assert found.fingerprint == read_prompts("thinking").filter(split="ranking").fingerprint
    paper.answers["capture-prompts"] = prompt_sources.UPLOAD
    assert prompt_sources.chosen_prompts(view) is None
    line = b'{"text": "hello", "split": "heldout"}\n{"text": "bye"}\n'
    paper.answers["capture-file"] = SimpleNamespace(name="dir/Mine.JSONL", getvalue=lambda: line)
    paper.answers["capture-split"] = None
    found = prompt_sources.chosen_prompts(view)
    assert ([p.text for p in found], found.source) == (["hello", "bye"], "Mine.JSONL")
    paper.answers["capture-file"] = SimpleNamespace(name="bad.jsonl", getvalue=lambda: b"{")
    assert prompt_sources.chosen_prompts(view) is None
    assert paper.lines[-1].startswith("error")
    assert "bad\\\\.jsonl" in paper.lines[-1]
    assert "/tmp" not in paper.lines[-1].replace("\\", "")
    shown = [p for p in paper.lines if "capture-split" in p]
    assert shown == [
        "1| selectbox 'Split' ['all', 'heldout', 'ranking'] key='capture-split'",
        "1| selectbox 'Split' ['all', 'heldout'] key='capture-split'",
    ]
    assert (
        "file_uploader 'Prompts as JSONL or CSV, one prompt a line' ['jsonl', 'csv'] key='capture-file'" in paper.lines
    )
    assert "text \"No file yet; drop one above. Each line needs 'text', 'prompt' or 'messages'.\"" in paper.lines


def test_the_size_is_what_the_library_would_make_of_the_request(monkeypatch):

    asked = []
    monkeypatch.setattr(
        capture_form,
        "make_request",
        lambda *given, **how: (asked.append((given, how)), SimpleNamespace(estimate="size"))[1],
    )
    assert capture_form.estimated("m", PROMPTS, "f1", "p1", Options(generate=2)) == "size"
    assert asked == [(("m", PROMPTS, Options(generate=2)), {})]


def test_a_free_name_is_made_of_what_a_name_may_have(tmp_path):
    look = view_of(tmp_path)
    for source, name in (
        ("a b/c", "a-b-c"),
        ("..x", "x"),
        ("", "store"),
        ("...", "store"),
        ("n" * 41, "n" * 40),
        ("\u00e4_1.2", "\u00e4_1.2"),
    ):
        assert capture_form.free_name(look, source) == name
    (tmp_path / "stores" / "x").mkdir(parents=True)
    assert capture_form.free_name(look, "x") == "x-2"
    (tmp_path / "stores" / "x-2").mkdir()
    assert capture_form.free_name(look, "x") == "x-3"


def test_another_model_is_offered_the_prompts_of_its_project_before_the_bundled_models(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "mine.jsonl").write_text('{"text": "hello", "labels": {"kind": "greeting"}}')
    (tmp_path / "prompts" / "away.csv").symlink_to("/etc/hostname")
    named = list(prompt_sources.prompt_sources(view_of(tmp_path)))
    assert named[:3] == ["prompts/mine.jsonl", prompt_sources.TYPED, prompt_sources.UPLOAD]
    assert "refusal (of the bundled model)" in named[3:]
    assert list(prompt_sources.prompt_sources(view_of(tmp_path, name="demo")))[-3:] == named[:3]
    taught = list(prompt_sources.prompt_sources(view_of(tmp_path, name="smollm2-moe-taught")))
    assert taught == ["volcanoes", "volcanoes_heldout", *(name for name in named if "volcanoes" not in name)]
    found = prompt_sources.chosen_prompts(view_of(tmp_path))
    assert [(p.text, p.labels) for p in found] == [("hello", {"kind": "greeting"})]
    paper.answers |= {"capture-prompts": prompt_sources.TYPED, "capture-typed": "why?\n\n  how? "}
    found = prompt_sources.chosen_prompts(view_of(tmp_path))
    assert [p.messages[0]["content"] for p in found] == ["why?", "how?"]
    found = prompt_sources.chosen_prompts(view_of(tmp_path, template=None))
    assert [p.text for p in found] == ["why?", "how?"]
    paper.answers["capture-typed"] = " \n"
    assert prompt_sources.chosen_prompts(view_of(tmp_path)) is None
