"""What the engine cannot do is refused before anything runs, in one sentence; where a check fails it serves without plans."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.support.models import engine, native, served
from workbench import Plan, capture, compare, load
from workbench.backends import check_plan
from workbench.errors import WorkbenchError
from workbench.serving import names
from workbench.serving.client import check
from workbench.serving.layer import Layer

PROMPTS = [{"id": "a", "text": "one and two"}]


def sentence(call: Callable[[], Any]) -> str:
    with pytest.raises(WorkbenchError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("off L1E3 between <think> </think>", "cannot limit 'off L1E3 between <think> </think>' by its span"),
        ("off L9E3", "Layer 9 does not exist"),
        ("off L1E99", "L1E99: layer 1 of demo has experts 0-31"),
    ],
)
def test_plans(plan: str, said: str) -> None:
    assert said in sentence(lambda: compare(served("demo"), PROMPTS, Plan.parse(plan), progress=False))


def test_shared_experts() -> None:
    plan = Plan.mute("L1S0").for_model(served("deepseek_v3").anatomy)
    said = sentence(lambda: check_plan(engine("deepseek_v3"), plan))
    assert (
        "cannot make 'mute L1S0', which is of a shared expert (only what the router chooses is reached there)" in said
    )


@pytest.mark.parametrize("keep", ["norms", "residual", "outputs"])
def test_what_its_kernels_do_not_show(keep: str, tmp_path: Path) -> None:
    what: Any = {keep}
    said = sentence(lambda: capture(served("demo"), PROMPTS, tmp_path / "s", keep=what))
    assert f"The engine 'vllm' cannot record {keep}" in said
    assert "keep logits" in said
    assert not (tmp_path / "s").exists()


def test_a_capture_that_names_nothing_keeps_what_they_show_and_says_why_the_rest_is_not_there(tmp_path: Path) -> None:
    store = capture(served("demo"), PROMPTS, tmp_path / "s", progress=False)
    assert store.plan_json["options"]["keep"] == []
    why = "its kernels sum the experts' outputs before anybody sees them"
    assert store.lacks["norms"] == store.lacks["outputs"] == f"a capture by another engine than vllm ({why})"
    assert store.lacks["residual"] == "a capture by another engine than vllm (only routing is read there)"
    assert store.lacks["logits"] == "capture(..., keep={'logits'})"
    assert store.info()["lacks"] == store.lacks


def test_sources() -> None:
    hf = native("demo").hf
    assert "vLLM reads weights from files" in sentence(lambda: load(hf, native("demo").tokenizer, engine="vllm"))
    for given in ({"device": "cuda"}, {"remote": True}):
        options: Any = given
        said = sentence(lambda options=options: load("demo", engine="vllm", **options))
        assert f"load(engine='vllm', {next(iter(given))}=...) is not possible; vLLM runs" in said
    assert "vLLM could not be started on" in sentence(lambda: load("demo", engine="vllm", max_model_length=3))


def again(name: str, reasons: list[str] | None = None) -> Any:
    return check.checked(engine(name).calls, engine(name).facts, reasons or [])


def refusal(found: Any) -> str:
    plan = Plan.off("L1E3").for_model(found.facts.anatomy)
    return sentence(lambda: check_plan(found, plan))


def test_a_layer_whose_router_follows_no_rule_keeps_its_weight_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.serving.rules.fit_rule", lambda *_: check_unfit())
    found = again("demo")
    assert found.can.edits == {"drop", "mute", "scale", "replace"}
    assert "cannot make 'off L1E3' (layer 0: no known routing rule reproduces the router)" in refusal(found)


def check_unfit() -> Any:
    from workbench.routing import Fit

    return Fit(None, None, "no known routing rule reproduces the router")


def test_a_plan_that_changes_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a runner whose tokens are never told their rows."""
    monkeypatch.setattr(Layer, "edited", lambda self, logits, own, rows: deaf(self, logits, own, rows))
    found = again("demo")
    assert found.can.edits == frozenset()
    assert "changed no probability" in refusal(found)
    assert found.can.keep == {"logits"}


def deaf(self: Layer, logits: Any, own: Any, rows: Any) -> Any:
    from workbench.serving.layer import Edited

    return Edited(own.index, own.weights, own.weights, own.index < 0, None)


def test_a_missing_layer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    binding = engine("demo").calls.engine.model_executor.driver_worker.worker.model_runner.workbench.binding
    left = {number: layer for number, layer in binding.layers.items() if number != 2}
    with monkeypatch.context() as there:
        runner = engine("demo").calls.engine.model_executor.driver_worker.worker.model_runner
        there.setattr(runner.workbench, "binding", binding._replace(layers=left))
        found = again("demo")
    assert found.can.edits == frozenset()
    assert found.can.keep is None
    assert "vLLM has the MoE layers {0: (32, 4), 1: (32, 4), 3: (32, 4)}" in refusal(found)


def test_another_version_serves_without_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.serving import worker

    monkeypatch.setattr(worker, "mismatch", lambda: "this vLLM has no x:y")
    monkeypatch.setattr(names, "PLACES", {"os:no_such_thing": ("self",)})
    assert names.mismatch() == "this vLLM has no os:no_such_thing"
    assert worker.install() is None
