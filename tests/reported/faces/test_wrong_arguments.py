"""Arguments of the wrong kind end in one sentence that says what to give, and plans may be given as their text."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import workbench
from probes.catalogue import ranker
from tests.support.engines import Table
from workbench import Plan, WorkbenchError, capture, compare, load, open_store, read_prompts, steered
from workbench.capturing import Options
from workbench.plan import as_plan

ADAPTER: Any = SimpleNamespace(blocks=len, route=len, expert=len, combine=len)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: Plan.off(3), "names no expert"),  # pyright: ignore[reportArgumentType]
        (lambda: Plan.off((0, 3)), "0 is not an expert"),  # pyright: ignore[reportArgumentType]
        (lambda: as_plan(3), "3 is no plan"),  # pyright: ignore[reportArgumentType]
        (lambda: as_plan("of L0E1"), "is not an edit"),
        (lambda: capture("demo", ["a"], "x"), "'demo' is no loaded model"),  # pyright: ignore[reportArgumentType]
        (lambda: compare("demo", ["a"], Plan()), "'demo' is no loaded model"),  # pyright: ignore[reportArgumentType]
        (lambda: steered("demo", Plan()).__enter__(), "'demo' is no loaded model"),  # pyright: ignore[reportArgumentType]
        (lambda: capture("demo", ["a"], "x", engine="native"), "engine='native'"),  # pyright: ignore[reportArgumentType]
        (lambda: capture("demo", ["a"], "x", backend="native"), "engine='native'"),  # pyright: ignore[reportArgumentType]
        (lambda: capture("demo", ["a"], "x", remote=True), "remote=True"),  # pyright: ignore[reportArgumentType]
        (lambda: compare("demo", ["a"], Plan(), backend="nnsight"), "engine='nnsight'"),  # pyright: ignore[reportArgumentType]
        (lambda: steered("demo", Plan(), backend="nnsight").__enter__(), "engine='nnsight'"),  # pyright: ignore[reportArgumentType]
        (lambda: capture("demo", ["a"], "x", layers=3), r"layers=3\) makes no sense"),  # pyright: ignore[reportArgumentType]
        (lambda: capture("demo", ["a"], "x", experts="L0E1"), "should be a list of experts"),  # pyright: ignore[reportArgumentType]
        (lambda: load("table", engine=Table(), device="cpu"), r"device=\.\.\.\) says nothing"),
        (lambda: load("table", engine=Table, adapter=ADAPTER), "adapter goes with"),  # pyright: ignore[reportArgumentType]
        (lambda: load("table", engine=Table, tokenizer="./nosuch"), "No tokenizer could be read"),
        (lambda: load("demo", adapter=3), "is no adapter"),  # pyright: ignore[reportArgumentType]
        (lambda: load("demo", engnie="native"), r"load\(engnie=.*; did you mean 'engine'\?$"),
        (lambda: ranker("dead_experts"), "'dead_experts' answers a SetTable and ranks no experts; rank by one of ftri"),
        (lambda: read_prompts(["a", "b"])[2:], "hold none"),
    ],
)
def test_it_is_one_sentence(asked: Callable[[], Any], said: str) -> None:
    with pytest.raises(WorkbenchError, match=said) as caught:
        asked()
    assert "\n" not in str(caught.value)
    assert "?." not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        {"keep": 3},
        {"temperature": float("nan")},
        {"temperature": "0"},
        {"generate": 1.5},
        {"generate": True},
        {"seed": "x"},
        {"text": "no"},
        {"samples": float("inf")},
    ],
    ids=str,
)
def test_an_option_of_a_capture_is_of_its_kind(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(WorkbenchError, match=rf"^capture\({name}=.*makes no sense; it should be"):
        Options(**option)


def test_a_part_of_prompts_is_prompts() -> None:
    prompts = read_prompts(["a", "b", "c"])
    assert [p.text for p in prompts[1:]] == ["b", "c"]
    assert (type(prompts[:2]), prompts[0].text) == (type(prompts), "a")


def test_a_plan_alone_is_no_store(tmp_path: Path) -> None:
    Plan.off("L0E1").to_json(tmp_path / "plan.json")
    with pytest.raises(WorkbenchError, match=r"is not a store, for its plan\.json is a steering plan"):
        open_store(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(WorkbenchError, match=r"its plan\.json is not a store's"):
        open_store(tmp_path)


def test_old_places_point_to_the_new_ones_and_are_not_found() -> None:
    with pytest.raises(AttributeError, match=r"from workbench\.comparison import"):
        _ = workbench.attention  # pyright: ignore[reportAttributeAccessIssue]
    assert importlib.util.find_spec("workbench.attention") is None


def test_a_broken_engine_is_one_sentence_and_its_capture_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load("table", engine=Table)
    with monkeypatch.context() as broken:
        broken.setattr(Table, "run", lambda *_, **__: 1 / 0)
        with pytest.raises(
            WorkbenchError, match=r"'table' failed to run a batch \(ZeroDivisionError.*goes on from there"
        ):
            capture(model, ["7"], tmp_path / "s", progress=False)
    assert capture(model, ["7"], tmp_path / "s", progress=False).n_prompts == 1
