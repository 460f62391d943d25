"""An engine that does not show sizes: a capture that names nothing goes without them, and its store says why."""

from dataclasses import replace
from pathlib import Path

import pytest

from workbench import WorkbenchError, capture, load, open_store
from workbench.backends import Capabilities
from workbench.backends.native import Native

PROMPTS = [{"id": "a", "text": "one and two"}]


class Unseeing(Native):
    @property
    def can(self) -> Capabilities:
        why = {"norms": "its kernels sum", "router_input": "routing alone"}
        return replace(super().can, name="unseeing", keep=frozenset({"residual", "logits"}), why=why)


def test_it_is_left_out_and_the_reason_is_in_the_store(tmp_path: Path) -> None:
    model = load("demo", engine=Unseeing(load("demo")))
    capture(model, PROMPTS, tmp_path / "s", progress=False)
    store = open_store(tmp_path / "s")
    assert store.plan_json["options"]["keep"] == ["residual"]
    assert store.lacks["norms"] == "a capture by another engine than unseeing (its kernels sum)"
    assert store.lacks["router_inputs"] == "a capture by another engine than unseeing (routing alone)"
    assert store.lacks["logits"] == "capture(..., keep={'logits'})"
    assert "router_input" not in store.lacks
    assert store.untold == ()


def test_asked_for_by_name_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"cannot record norms \(its kernels sum\)"):
        capture(load("demo", engine=Unseeing(load("demo"))), PROMPTS, tmp_path / "s", keep={"norms"}, progress=False)
    assert not (tmp_path / "s").exists()


def test_an_engine_that_shows_all_has_nothing_to_say(tmp_path: Path) -> None:
    store = capture(load("demo"), PROMPTS, tmp_path / "s", progress=False)
    assert store.plan_json["options"]["keep"] == ["norms", "residual"]
    assert "lacks" not in store.plan_json
    assert "norms" not in store.lacks
