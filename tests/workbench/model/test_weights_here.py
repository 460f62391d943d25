"""Weights that are here, missing, or quantised: what can be read and what is said of the rest."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.refusals import refused
from workbench.model import forward_is_its_own, missing, quantised_by, unreadable, value
from workbench.model.placement import named_values


class TestPlacement:
    def test_values_and_what_is_missing(self) -> None:
        model = nn.Sequential(
            nn.Linear(2, 2), nn.Linear(2, 2, bias=False, device="meta"), nn.BatchNorm1d(2, affine=False)
        )
        model.add_module("3", model[0])
        model[2].running_mean = torch.zeros(2, device="meta")
        assert missing(model) == ["1.weight", "2.running_mean"]
        assert refused(value, model[1], "weight").startswith(
            "'weight' of a Linear has no values (it is on the meta device, and no"
        )
        held = {"weight": torch.ones(2, 2)}
        model[1]._hf_hook = SimpleNamespace(
            hooks=[SimpleNamespace(weights_map=None), SimpleNamespace(weights_map=held), 3]
        )
        model[2]._hf_hook = SimpleNamespace(weights_map={"running_mean": 1})
        assert missing(model) == []
        assert value(model[1], "weight") is held["weight"]
        assert [name for name, _ in named_values(model)] == ["0.weight", "0.bias", "1.weight"]

    def test_whose_forward_it_is(self) -> None:
        linear = nn.Linear(2, 2)
        assert forward_is_its_own(linear)
        linear.forward = linear.forward  # type: ignore[method-assign]
        assert forward_is_its_own(linear)
        linear.forward = lambda x: x  # type: ignore[method-assign, assignment]
        assert not forward_is_its_own(linear)
        linear._hf_hook = SimpleNamespace(weights_map={})
        assert forward_is_its_own(linear)
        linear._old_forward = lambda x: x
        assert not forward_is_its_own(linear)


class TestQuantised:
    def test_by_what(self, tmp_path: Path) -> None:
        for config, method in (
            ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
            ({"quantization_config": {}}, "a method that it does not name"),
            *(({"quantization_config": None}, None), ({}, None), ([], None), ({"quantization_config": 3}, None)),
        ):
            (tmp_path / "config.json").write_text(json.dumps(config))
            assert quantised_by(str(tmp_path)) == method
        assert quantised_by(str(tmp_path / "nowhere")) is None

    def test_what_cannot_be_read(self) -> None:
        class Odd(Tensor):
            def dequantize(self) -> Any:
                raise RuntimeError("y" * 200 + "\nmore")

        assert unreadable(torch.zeros(2)) is None
        assert unreadable(nn.Parameter(torch.zeros(2))) is None
        assert unreadable(torch.zeros(2).as_subclass(type("Fine", (Tensor,), {}))) is None
        assert unreadable(torch.zeros(2).as_subclass(Odd)) == f"RuntimeError: {'y' * 100}"
