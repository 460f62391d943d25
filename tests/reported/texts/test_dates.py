"""A capture, and a run, whose chat template prints the date goes on tomorrow with the date that it began with.

The clock is a stand-in, for transformers and for the product; what a prompt should read is rendered by the tokenizer alone.
"""

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.run import run_recipe
from workbench_app.experiments.tables import read_tables

from tests.support.recipes import make_few
from tests.support.stores import assert_same_content
from workbench import Store, WorkbenchError, capture, load, open_store
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEModel
from workbench.prompts import moment

TODAY, TOMORROW = datetime(2025, 12, 31, 23, 50, 7), datetime(2026, 1, 1, 0, 10, 30)
ROWS = [{"id": str(i), "prompt": f"hello {i}"} for i in range(6)]
TEMPLATES = {
    "gpt-oss": "Current date: {{ strftime_now('%Y-%m-%d') }}\n",
    "llama": "{% if not date_string is defined %}{% if strftime_now is defined %}"
    '{% set date_string = strftime_now("%d %b %Y") %}{% else %}{% set date_string = "26 Jul 2024" %}{% endif %}{% endif %}'
    "Today Date: {{ date_string }}\n\n",
    "mistral": '\n  {%- set today = strftime_now("%Y-%m-%d") %}\n'
    '{{ "It\'s " + today + " (" + strftime_now(format="%H:%M:%S") + ")" }}',
    "macro": "\n{% set f = '%A %j' %}{% macro now() %}{{ strftime_now(f) | upper }}{% endmacro %}{{ now() }} 100%\n",
}


class Stop(Exception):
    pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def at(now: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return now

        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
        monkeypatch.setattr("workbench.prompts.dates.datetime", Clock)

    return at


def model_with(head: str) -> MoEModel:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = head + tokenizer.chat_template
    return load(tiny_model("olmoe"), tokenizer, check=False)


def asked(model: MoEModel, into: Path, **how: Any) -> Store:
    return capture(model, ROWS, into, **({"shard_tokens": 60, "batch_tokens": 60, "progress": False} | how))


def resumed(model: MoEModel, into: Path, **how: Any) -> Store:
    try:
        return asked(model, into, **how)
    except WorkbenchError as error:
        raise AssertionError("it does not go on") from error


def begun(model: MoEModel, into: Path, **how: Any) -> None:
    def stop(progress: Any) -> None:
        if progress.done > 80:
            raise Stop

    with pytest.raises(Stop):
        asked(model, into, progress=stop, **how)


def rendered(model: MoEModel) -> list[str]:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in ROWS]
    return [model.tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("generate", [0, 3])
def test_it_goes_on_tomorrow(name: str, generate: int, clock: Any, tmp_path: Path) -> None:
    clock(TODAY)
    model, how = model_with(TEMPLATES[name]), {"generate": generate}
    texts = rendered(model)
    whole = asked(model, tmp_path / "whole", **how)
    begun(model, tmp_path / "halves", **how)
    clock(TOMORROW)
    assert rendered(model)[0] != texts[0], "the template writes something else tomorrow"
    halves = resumed(model, tmp_path / "halves", **how)
    assert_same_content(halves, whole)
    assert halves.prompts["text"].tolist() == whole.prompts["text"].tolist() == texts
    assert halves.plan_json["template_date"] == "2025-12-31T23:50:07"
    assert resumed(model, tmp_path / "whole", **how).prompts["text"].tolist() == texts, (
        "a complete one is returned as it is"
    )
    assert asked(model, tmp_path / "anew", **how).prompts["text"].tolist() == rendered(model), (
        "a new one has its own date"
    )


def test_a_store_that_recorded_no_date_goes_on_by_its_plans_own_time(clock: Any, tmp_path: Path) -> None:
    clock(TODAY)
    model = model_with(TEMPLATES["gpt-oss"])
    texts = rendered(model)
    begun(model, tmp_path / "old")
    path = tmp_path / "old" / "plan.json"
    plan = json.loads(path.read_text())
    del plan["template_date"]  # as earlier versions wrote it
    path.write_text(json.dumps(plan))
    os.utime(path, (TODAY.timestamp(), TODAY.timestamp()))
    clock(TOMORROW)
    assert resumed(model, tmp_path / "old").prompts["text"].tolist() == texts


def test_two_that_begin_across_midnight_are_one_capture(clock: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from workbench.capturing import start as capturing

    model, make = model_with(TEMPLATES["mistral"]), capturing.make_request
    clock(TODAY)
    texts = rendered(model)

    def meanwhile(*args: Any, **how: Any) -> Any:
        monkeypatch.setattr(capturing, "make_request", make)
        clock(TOMORROW)
        request = make(*args, **how)
        clock(TODAY)
        begun(model, tmp_path / "one")
        clock(TOMORROW)
        return request

    monkeypatch.setattr(capturing, "make_request", meanwhile)
    assert resumed(model, tmp_path / "one").prompts["text"].tolist() == texts


@pytest.mark.parametrize(
    ("head", "then", "now"),
    [
        ("It is {{ strftime_now('%Y' ~ '-%m') }} now.\n", "2025-12", "2026-01"),  # a format that stands nowhere as such
        ("Luck: {{ ['good', 'bad'] | random }} today\n", "good", "bad"),
    ],
)
def test_what_cannot_be_written_again_is_named(
    head: str, then: str, now: str, clock: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    clock(TODAY)
    monkeypatch.setattr("random.choice", lambda some: some[0])
    model = model_with(head)
    begun(model, tmp_path / "store")
    files = {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()}
    clock(TOMORROW)
    monkeypatch.setattr("random.choice", lambda some: some[-1])
    with pytest.raises(WorkbenchError, match=f"template writes '{now}' into the prompt '0', .* it wrote '{then}'"):
        asked(model, tmp_path / "store")
    assert files == {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()}


def test_another_template_is_named_by_its_words(tmp_path: Path) -> None:
    begun(model_with("Be brief.\n"), tmp_path / "store")
    with pytest.raises(WorkbenchError, match=r"writes 'terse\.' into the prompt '0', .* it wrote 'brief\.'"):
        asked(model_with("Be terse.\n"), tmp_path / "store")


def test_a_store_without_words_says_that_the_tokens_differ(tmp_path: Path) -> None:
    begun(model_with("Be brief.\n"), tmp_path / "store", text=False)
    with pytest.raises(WorkbenchError, match=r"another tokenisation \(\w+ there, \w+ here\)"):
        asked(model_with("Be terse.\n"), tmp_path / "store", text=False)


def test_templates_without_a_date_record_none_and_nothing_leaks(clock: Any, tmp_path: Path) -> None:
    clock(TODAY)
    plain, dated = model_with("Be brief.\n"), model_with(TEMPLATES["gpt-oss"])
    assert "template_date" not in asked(plain, tmp_path / "plain").plan_json
    before = rendered(dated)
    with moment("2001-02-03T04:05:06"):
        assert rendered(dated) == before, "the user's own rendering is left alone"
        assert asked(dated, tmp_path / "dated").prompts["text"].str.startswith("Current date: 2001-02-03\n").all()
    assert rendered(dated) == before


def test_a_recorded_date_that_is_none_is_refused(tmp_path: Path) -> None:
    model = model_with(TEMPLATES["gpt-oss"])
    begun(model, tmp_path / "store")
    path = tmp_path / "store" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"template_date": "yesterday"}))
    with pytest.raises(WorkbenchError, match="is 'yesterday'; it should be a time"):
        asked(model, tmp_path / "store")


@pytest.mark.slow
def test_a_run_goes_on_tomorrow(clock: Any, tmp_path: Path) -> None:
    clock(TODAY)
    model = model_with(TEMPLATES["gpt-oss"])
    recipe = make_few(tmp_path / "prompts", plans=[{"text": "off L1E1"}])

    def run(name: str, progress: Any = False) -> Any:
        return run_recipe(recipe, tmp_path / name, progress=progress, open_model=lambda _: model, own_functions=True)

    run("whole")
    units = sorted((tmp_path / "whole" / "units").glob("*-answers-*"))
    assert len(units) > 2

    def stop(_: Any) -> None:
        if len(list((tmp_path / "halves" / "units").glob("*-answers-*"))) == 1:
            raise Stop

    with pytest.raises(Stop):
        run("halves", stop)
    clock(TOMORROW)
    assert run("halves").units_run < len(list((tmp_path / "whole" / "units").glob("*")))
    for name, found in read_tables(tmp_path / "halves").items():
        assert found.equals(read_tables(tmp_path / "whole")[name]), name
    for store in (tmp_path / "halves" / "stores").iterdir():
        assert set(open_store(store).prompts["text"].str.contains("2025-12-31")) == {True}
