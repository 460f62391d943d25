"""What lies inside a wrapper, and where the prompt's length holds; on wrappers made here."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from tests.support.refusals import refused
from workbench.hooks import outside_traces
from workbench.hooks.generating import stating
from workbench.model import Layout, as_it_runs, opened, unwrapped


def module(name: str, library: str, **members: Any) -> Any:
    made = type(name, (nn.Module,), {"__module__": library})()
    for key, member in members.items():
        setattr(made, key, member)
    return made


class TestWrappers:
    def wrapped(self, inner: nn.Module) -> Any:
        made = type("Block", (type("GeneralizedComponent", (nn.Module,), {"__module__": "transformer_lens.x"}),), {})()
        made.add_module("_original_component", inner)
        return made

    def test_wrappers_are_out_while_it_is_looked_at(self) -> None:
        inner, linear = nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)
        twice = self.wrapped(self.wrapped(linear))
        inner.add_module("1", twice)
        outer = self.wrapped(inner)
        model = nn.Sequential(nn.Identity(), outer)
        with unwrapped(model) as wrapper:
            assert model[1] is inner
            assert inner[1] is linear
            assert wrapper == {inner: outer, linear: twice}
            layout = as_it_runs(Layout(inner, (nn.Identity(), linear), {}), wrapper)
        assert (model[1], inner._modules["1"]) == (outer, twice)
        assert (layout.base, layout.layers[1]) == (outer, twice)
        assert not isinstance(layout.layers[0], type(outer))

    def test_what_lies_inside(self) -> None:
        hf = SimpleNamespace(config=1, generate=print)
        bridge = type(
            "TransformerBridge", (), {"__module__": "transformer_lens.b", "tokenizer": "t", "original_model": hf}
        )()
        assert opened(bridge) == (hf, "t", bridge, None)
        bridge._weights_processed = True
        assert refused(opened, bridge).startswith(
            "This TransformerBridge has processed weights (enable_compatibility_mode"
        )
        for broken in (SimpleNamespace(generate=print), SimpleNamespace(config=1), None):
            type(bridge).original_model = broken
            bridge._driver = 3
            assert refused(opened, bridge).startswith(
                "This TransformerBridge (int) holds no transformers model in this process;"
            )
        envoy = type("Envoy", (), {"__module__": "nnsight.e"})()
        envoy._module = nn.Linear(2, 2)
        assert opened(envoy) == (envoy._module, None, None, envoy)
        envoy._module, envoy.tokenizer = nn.Linear(2, 2, device="meta"), "t"
        assert refused(opened, envoy).startswith(
            "This nnsight model has no weights yet, and what its experts do is read off"
        )
        assert opened(envoy, far=True) == (envoy._module, "t", None, envoy)
        envoy._module.hf_device_map = {}
        assert opened(envoy)[0] is envoy._module
        assert opened(hf) == (hf, None, None, None)

    def test_the_prompts_length_holds_only_within_a_step(self) -> None:
        from workbench.routing import positions

        def seen() -> Any:
            return [v.get() for v in vars(positions).values() if type(v).__name__ == "ContextVar"]

        outside = seen()

        def steps() -> Any:
            for _ in range(2):
                yield seen()

        found = []
        for inside in stating(steps(), 7):
            found.append(inside)
            assert seen() == outside
        assert len(found) == 2
        assert all(7 in inside or any(x == 7 or x == [7] for x in inside) for inside in found), found

    def test_inside_a_trace(self) -> None:
        class ExitTracingException(BaseException):
            pass

        def enter(error: BaseException) -> None:
            with outside_traces("steered"):
                raise error

        assert refused(enter, ExitTracingException()) == (
            "steered inside an nnsight trace would do nothing, for the model runs where the trace ends; open it "
            "around the trace: "
            "with steered(...), model.trace(...):"
        )
        with pytest.raises(KeyError):
            enter(KeyError("x"))
