"""Traces on stand-ins: modules of a layer, what a trace cannot do, and a model whose weights are elsewhere."""

import math
from copy import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.support import families
from tests.support.refusals import refused
from workbench.backends import check_decoding, check_keep, check_plan
from workbench.backends.nnsight import remote_model as far
from workbench.backends.nnsight import runner as traced
from workbench.errors import WorkbenchError
from workbench.generation import Decoding
from workbench.hooks import steered
from workbench.plan import Plan


class TestTraced:
    decoding = Decoding(3, stop=frozenset({7, 1}))

    def test_where_a_response_ends(self) -> None:
        for ids, kept in (
            ([4, 7, 5], [4, 7]),
            ([4, 5, 6, 9], [4, 5, 6]),
            ([1], [1]),
            ([4, 5, 6, 7], [4, 5, 6, 7]),
            ([], []),
        ):
            assert traced.until(ids, self.decoding) == kept

    def test_the_modules_of_a_layer(self) -> None:
        place = {"experts": "e", "router": "r", "gate": None, "before": "b", "shared": ["s", "t"]} | dict.fromkeys(
            ("logits", "reads"), False
        )
        assert traced.paths(place) == ["e", "b", "s", "t"]
        assert traced.paths(place | {"logits": True, "gate": "g", "shared": []}) == ["e", "g", "b", "r"]
        assert traced.paths(place | {"reads": True}) == ["e", "b", "s", "t", "r"]
        place = {
            "router": "r",
            "experts": "e",
            "block": "k",
            "decoder": "d",
            "gate": None,
            "shared": ["s"],
            "beside": {"n": "x"},
        }
        assert far.paths(place) == ["r", "e", "k", "d", "s", "x"]

    def runner(self, dtype: torch.dtype = torch.float32, notes: tuple[str, ...] = (), remote: Any = False) -> Any:
        made: Any = object.__new__(traced.Nnsight)
        anatomy = SimpleNamespace(model="tiny", layers=[SimpleNamespace(notes=notes)])
        made.model = SimpleNamespace(dtype=dtype, anatomy=anatomy, facts=SimpleNamespace(anatomy=anatomy))
        made.remote = remote
        return made

    def test_a_layer_and_how_far_it_may_be_off(self) -> None:
        index, weight = torch.tensor([[1]]), torch.tensor([[0.5]])
        shared = {"weight": weight[0], "size": [1, 2, 3], "vectors": None}
        found = {"index": index, "weight": weight, "off": 1e-4, "shared": [shared, shared | {"size": None}], "logits": 9,
                 "size": [4, 5, 6], "vectors": (7, 8, 9)}  # fmt: skip
        record = self.runner()._layer(2, found)
        assert (record.output_l2, record.output_max_abs, record.output_argmax, record.logits) == (4, 5, 6, 9)
        assert tuple(record.outputs) == (7, 8, 9)
        assert [s.size if s.size is None else tuple(s.size) for s in record.shared] == [(1, 2, 3), None]
        bare = self.runner()._layer(2, {"index": index, "weight": weight, "shared": []})
        assert (bare.output_l2, bare.outputs, bare.logits, bare.shared) == (None, None, None, ())
        assert refused(self.runner()._layer, 2, found | {"off": 1.1e-4}).startswith(
            "Layer 2: expert outputs called again in the trace do not add up to what the experts said (off by 0.00011 "
            "of its norm)"
        )
        assert "off by nan" in refused(self.runner()._layer, 2, found | {"off": math.nan})
        self.runner(torch.bfloat16)._layer(2, found | {"off": 0.03})
        assert "off by 0.031" in refused(self.runner(torch.bfloat16)._layer, 2, found | {"off": 0.031})

    def test_a_module_that_stayed_silent(self) -> None:
        found = {"visits": {"a": 1, "b": 0, "c": 2}}
        assert refused(self.runner()._record, found).startswith(
            "'b' ran 0 times in one trace of tiny, not once, so a kernel"
        )

    def test_what_a_trace_cannot_do(self) -> None:
        runner = self.runner()
        assert (runner.can.name, self.runner(remote="local").can.name) == ("nnsight", "nnsight")
        assert self.runner(remote="http://h").can.name == self.runner(remote=True).can.name == "nnsight on NDIF"
        assert refused(check_decoding, runner, Decoding(3, 0.5)) == (
            "The engine 'nnsight' cannot sample at temperature 0.5 (each response's seed needs our own decode loop) on tiny; "
            "leave the temperature at 0, or load it on another engine."
        )
        assert refused(check_decoding, runner, Decoding(3, shaping={"stop_strings": ["x"]})) == (
            "The engine 'nnsight' cannot heed stop_strings of the generation config (a trace cannot look for them) on tiny; set "
            "stop_strings there to nothing, or load it on another engine."
        )
        check_decoding(runner, Decoding(3, shaping={"repetition_penalty": 1.1}))
        assert refused(check_plan, runner, Plan.off("L0E1")) == (
            "The engine 'nnsight' cannot make 'off L0E1' (they are made by hooks of ours, which a trace does not carry) on tiny; "
            "load it on another engine."
        )
        check_plan(runner, Plan())
        identity = self.runner(notes=("experts 8-11 are zero (identity) experts: they return their input",))
        check_keep(identity, ["residual", "logits"])
        check_keep(runner, ["norms", "outputs"])
        for name in ("norms", "outputs"):
            assert refused(check_keep, identity, [name, "logits"]) == (
                f"The engine 'nnsight' cannot record {name} (its zero (identity) experts are no module that could be called with "
                f"one slot) on tiny; keep logits, residual, router_input, or load it on another engine."
            )

    def test_whether_it_can_be_traced(self) -> None:
        def model(**changes: Any) -> Any:
            block = SimpleNamespace(adapter=changes.pop("adapter", None))
            runtime = SimpleNamespace(layout=SimpleNamespace(blocks={0: block}), **{"wrapped": False, **changes})
            return SimpleNamespace(anatomy=SimpleNamespace(model="m"), runtime=runtime)

        check = traced.check_traceable
        check(model())
        for changes, start in (
            ({"wrapped": True}, "m lies in a TransformerBridge; load it without engine='nnsight'."),
            ({"adapter": 1}, "m routes outside of transformers' experts interface"),
        ):
            assert refused(check, model(**changes)).startswith(start)

    def test_what_is_known_of_a_far_layer(self) -> None:
        found = {"experts": [1, 2], "block": [3], "decoder": [], "gate": [4], "router": [5], "received": [6], "shared": {"s": 7},
                 "beside": {"n": 8}, "given": 9}  # fmt: skip
        assert vars(far.seen_of(found)) == {
            "router": [5], "router_call": ((), {}), "received": [6], "routed": 2, "block": 3, "layer": None, "shared": {"s": 7},
            "gate": 4, "entering": {"n": 8}, "block_input": 9,
        }  # fmt: skip

    def test_vectors_that_travel(self) -> None:
        model, router = nn.Module(), nn.Module()
        for name, tensor in (
            ("bias", torch.zeros(4096)),
            ("long", torch.zeros(4097)),
            ("n", torch.tensor([1])),
            ("m", torch.zeros(2, 2)),
        ):
            router.register_buffer(name, tensor)
        router.scale = nn.Parameter(torch.zeros(3))
        model.block, model.other = nn.Module(), nn.Linear(2, 2)
        model.block.router = router
        layout: Any = SimpleNamespace(blocks={0: SimpleNamespace(router=router, block=model.block)})
        assert sorted(far.vectors_of(model, layout)) == ["block.router.bias", "block.router.scale"]
        far.put(model, {"block.router.bias": torch.ones(2), "block.router.scale": torch.full((3,), 2.0)})
        assert (router.bias.tolist(), router.scale.tolist(), router.scale.requires_grad) == ([1, 1], [2, 2, 2], False)
        assert isinstance(router.scale, nn.Parameter)


def test_steering_a_model_whose_weights_are_elsewhere_is_refused_at_the_door() -> None:
    model = families.get("olmoe")
    elsewhere = copy(model.runtime)
    elsewhere.far = True
    with (
        pytest.raises(WorkbenchError, match=r"The weights of tiny/olmoe are on NDIF, not here"),
        steered(replace(model, local=elsewhere), Plan.off("L0E1")),
    ):
        pytest.fail("the block was entered")
