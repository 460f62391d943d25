"""What stands between a model and us: NDIF, traces, wrappers, adapters, settings, quantised weights, decoding; on stand-ins."""

import json
import math
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
import torch
from torch import Tensor, nn

import workbench.model.fingerprint as identity
from tests.support import families
from workbench.backends import check_decoding, check_keep, check_plan
from workbench.backends.nnsight import ndif
from workbench.backends.nnsight import remote_model as far
from workbench.backends.nnsight import runner as traced
from workbench.errors import WorkbenchError
from workbench.generation import SHAPING, Choosing, Decoding, decoding_of, responses
from workbench.generation.decoding import _plain, stop_ids
from workbench.hooks import outside_traces, steered
from workbench.hooks.generating import _stating
from workbench.model import (
    Layout,
    MoEBlock,
    as_it_runs,
    forward_is_its_own,
    missing,
    opened,
    quantised_by,
    unreadable,
    unwrapped,
    value,
)
from workbench.model.placement import named_values
from workbench.plan import Plan
from workbench.thinking import said, special_ids, token_texts
from workbench.thinking.tokens import _grown


def refused(call: Any, *args: Any, **how: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        call(*args, **how)
    return str(caught.value)


class TestNdif:
    def test_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("nnsight", reason="the extra 'interop' is not installed (nnsight)")
        import nnsight.ndif

        there, asked = {"torch": "2.13.9+cu12", "nnsight": "0.5.1", "other": "1", "transformers": "5.0.1"}, list[Any]()
        here = {"torch": "2.13.0+cpu", "nnsight": "0.5.1", "transformers": "5.0.1"}

        def get(url: str, timeout: float) -> Any:
            asked.append((url, timeout))
            return httpx.Response(200, json={"packages": there}, request=httpx.Request("GET", url))

        monkeypatch.setattr(httpx, "get", get)
        monkeypatch.setattr(nnsight.ndif, "get_local_env", lambda: {"packages": here})
        monkeypatch.setattr(nnsight.ndif, "CRITICAL_PACKAGES", {"torch", "nnsight", "transformers", "absent"})
        ndif._check_versions("http://h")
        assert asked == [("http://h/env", 10.0)]
        there |= {"torch": "2.14.0", "transformers": "5.0.2"}
        assert refused(ndif._check_versions, "http://h") == (
            "NDIF at http://h runs other versions (torch 2.13.0+cpu here and 2.14.0 there, transformers 5.0.1 here "
            "and 5.0.2 there), "
            "so modules and their forwards may differ; install the server's versions here."
        )

        def fails(url: str, timeout: float) -> Any:
            raise httpx.ConnectError("first\nnobody is there.")

        monkeypatch.setattr(httpx, "get", fails)
        assert refused(ndif._check_versions, "http://h") == (
            "NDIF could not be reached at http://h (nobody is there); check the network and `nnsight.status()`, or "
            "capture a model "
            "that is loaded here."
        )

    def test_what_of_a_version_matters(self) -> None:
        assert ndif._release("torch", "2.13.1+cu12") == ["2", "13"]
        assert ndif._release("nnsight", "0.5.1+x") == ["0", "5", "1"]

    def test_errors_on_the_way(self) -> None:
        class RemoteError(Exception):
            pass

        def run(remote: Any, error: Exception) -> None:
            with ndif.plainly(remote):
                raise error

        assert refused(run, True, RemoteError("a\nit broke.")) == "NDIF did not run the trace: it broke"
        assert refused(run, "http://h", httpx.ReadTimeout("")) == "NDIF did not run the trace: ReadTimeout"
        assert refused(run, True, WorkbenchError("ours")) == "ours"
        for remote, error in ((False, RemoteError("x")), ("local", RemoteError("x")), (True, KeyError("x"))):
            with pytest.raises(type(error)):
                run(remote, error)
        ndif.check_ndif(None, False)
        ndif.check_ndif(None, "local")
        with ndif.plainly(True):
            pass


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
            assert traced._until(ids, self.decoding) == kept

    def test_the_modules_of_a_layer(self) -> None:
        place = {"experts": "e", "router": "r", "gate": None, "before": "b", "shared": ["s", "t"], "logits": False}
        assert traced._paths(place) == ["e", "b", "s", "t"]
        assert traced._paths(place | {"logits": True, "gate": "g", "shared": []}) == ["e", "g", "b", "r"]
        place = {
            "router": "r",
            "experts": "e",
            "block": "k",
            "decoder": "d",
            "gate": None,
            "shared": ["s"],
            "beside": {"n": "x"},
        }
        assert far._paths(place) == ["r", "e", "k", "d", "s", "x"]

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
                f"one slot) on tiny; keep logits, residual, or load it on another engine."
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
        assert vars(far._seen(found)) == {
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
        assert sorted(far._vectors(model, layout)) == ["block.router.bias", "block.router.scale"]
        far._put(model, {"block.router.bias": torch.ones(2), "block.router.scale": torch.full((3,), 2.0)})
        assert (router.bias.tolist(), router.scale.tolist(), router.scale.requires_grad) == ([1, 1], [2, 2, 2], False)
        assert isinstance(router.scale, nn.Parameter)


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
        import workbench.routing.positions as positions

        def seen() -> Any:
            return [v.get() for v in vars(positions).values() if type(v).__name__ == "ContextVar"]

        outside = seen()

        def steps() -> Any:
            for _ in range(2):
                yield seen()

        found = []
        for inside in _stating(steps(), 7):
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


class TestIdentity:
    def block(self, **router: Any) -> MoEBlock:
        routed, block = nn.Module(), nn.Module()
        for name, held in router.items():
            setattr(routed, name, held)
        block.router, block.experts = routed, nn.Module()
        return MoEBlock(0, block, routed, block.experts, (), None, "r", "e", ())

    @pytest.mark.parametrize(
        ("held", "settings"),
        [
            ({"norm_topk_prob": True}, {"renormalise": [1.0]}),
            ({"norm_topk_prob": False, "route_norm": 0}, {}),
            ({"routed_scaling_factor": 1, "n_group": 1, "topk_group": 1.0}, {}),
            ({"routed_scaling_factor": 2.5, "n_group": 4, "topk_group": 2},
             {"scaling": [2.5], "groups": [4.0], "groups kept": [2.0]}),
            ({"route_scale": 2, "output_multiplier": 3.0}, {"scaling": [2.0, 3.0]}),
            ({"score_func": "sigmoid", "topk_method": None}, {"score": ["sigmoid"]}),
            ({"router_jitter_noise": 0.2, "router_logit_softcapping": 30.0, "use_expert_bias": True},
             {"jitter": [0.2], "cap": [30.0], "correction": [1.0]}),
            ({"other": 3}, {}),
        ],
    )  # fmt: skip
    def test_settings(self, held: dict[str, Any], settings: dict[str, Any]) -> None:
        block = self.block(**held)
        assert identity._settings(block) == settings
        for name in held:
            delattr(block.router, name)
        for name, x in held.items():
            setattr(block.experts, name, x)  # wherever it stands
        assert identity._settings(block) == settings

    def test_plain_values(self) -> None:
        place = SimpleNamespace(top_k=2, training=True, _hidden=3, weight=[1], name="x",
                                config=SimpleNamespace(num_experts_per_tok=4, score_func="s", other=1, n_group=None))  # fmt: skip
        assert identity._plain(place) == (("top_k", 2), ("name", "x"), ("num_experts_per_tok", 4), ("score_func", "s"))

    def test_samples_and_names(self) -> None:
        values = torch.arange(3 * 4096 + 5.0)
        assert torch.equal(identity._sampled(values), values[::3].bfloat16())
        assert torch.equal(identity._sampled(values[:4097]), values[:4097].bfloat16())
        assert identity._bare("a.base_layer.b.original_module._orig_mod.weight") == "a.b.weight"
        one = identity.Weights(
            {"b": (1,), "a": (2,)}, {"a": torch.tensor([1.0, 2]).bfloat16(), "b": torch.tensor([3.0]).bfloat16()}
        )
        assert identity.weights_digest(one) == identity.weights_digest(
            identity.Weights(dict(reversed(one.shapes.items())), one.values)
        )
        assert len(identity.weights_digest(one)) == 16
        for other in (
            {"shapes": {"b": (1,), "a": (2, 1)}},
            {"values": {**one.values, "b": torch.tensor([4.0]).bfloat16()}},
        ):
            assert identity.weights_digest(one._replace(**other)) != identity.weights_digest(one)

    def test_corrections(self) -> None:
        block = self.block()
        for name, tensor, kept in (("bias", torch.ones(3), True), ("temporary", torch.ones(3), False),
                                   ("matrix", torch.ones(2, 2), True),
                                   ("count", torch.ones(3).int(), True), ("long", torch.ones(4097), True)):  # fmt: skip
            block.router.register_buffer(name, tensor, persistent=kept)
        block.block.register_buffer("most", torch.ones(4096))
        found = list(identity._corrections(Layout(nn.Identity(), (), {3: block})))
        assert [name for name, _ in found] == ["3.bias", "3.most"]

    def tuner(self, **changes: Any) -> Any:
        made = SimpleNamespace(disable_adapters=False, merged_adapters=[], active_adapters=["a", "b"],
                               adapter_layer_names=("lora",),
                               scaling={"a": 0.5}, _modules={"lora": {"a": 1, "c": 1}})  # fmt: skip
        vars(made).update(changes)
        return made

    def test_adapters_at_work(self) -> None:
        assert identity._at_work(self.tuner()) == ("a",)
        assert identity._at_work(self.tuner(disable_adapters=True)) == ()
        assert identity._at_work(self.tuner(merged_adapters=["a"])) == ()
        assert identity._switch(self.tuner()) == (False, (), (("a", 0.5),))
        assert identity._switch(self.tuner(merged_adapters=["c"])) == (False, ("c",), ())
        assert identity._factor(self.tuner(scaling=3.0), "a") == 3.0
        assert identity._factor(self.tuner(scaling=None), "a") is None


class Letters:
    """A tokenizer: letters are themselves, 90 and 91 together are one character, 80 and 81 are special."""

    all_special_ids = (80,)
    added_tokens_decoder: ClassVar = {81: SimpleNamespace(special=True), 82: SimpleNamespace(special=False)}
    words: ClassVar = {
        1: "a",
        2: "b",
        3: "▁c",
        80: "<s>",
        81: "<e>",
        82: "<think>",
        83: "<|channel|>",
        84: "<|message|>",
        85: "<|call|>",
    }

    def decode(self, ids: Any, **_: Any) -> str:
        text, i = "", 0
        while i < len(ids):
            if ids[i] == 90:
                whole = i + 1 < len(ids) and ids[i + 1] == 91
                text, i = text + ("é" if whole else "\ufffd"), i + (2 if whole else 1)
            else:
                word = self.words.get(int(ids[i]), "\ufffd")
                text, i = text + (word[1:] if word[0] == "▁" and not i else word.replace("▁", " ")), i + 1
        return text

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return [self.words.get(int(i), "?") for i in ids] if isinstance(ids, list) else self.words.get(ids, "?")

    def convert_tokens_to_ids(self, token: str) -> int | None:
        return next((i for i, word in self.words.items() if word == token), None)


class TestPieces:
    def test_a_character_of_two_tokens(self) -> None:
        tokenizer = Letters()
        assert _grown(tokenizer, [1, 90, 91, 2, 90], True) == ["a", "", "é", "b", "\ufffd"]
        assert _grown(tokenizer, [1, 90, 91, 2, 90], False) == ["a", "", "é", "b", ""]
        assert _grown(tokenizer, [1] + [95] * 9, False) == ["a", *[""] * 7, "\ufffd" * 8, ""]
        assert token_texts(tokenizer, torch.tensor([3, 1]).numpy()) == [" c", "a"]
        assert special_ids(tokenizer) == {80, 81}

    def test_what_was_said(self) -> None:
        tokenizer = Letters()
        assert said(tokenizer, [80, 82, 1, 81, 83, 84, 85]) == "<think>a<|channel|><|message|><|call|>"
        assert said(tokenizer, [1, 2], "<think>") == "<think>ab"
        assert said(tokenizer, [82, 1], "<think>") == "<think>a"


class TestDecoding:
    def model(self, **generation: Any) -> Any:
        facts = SimpleNamespace(generation_config=SimpleNamespace(**generation), config=SimpleNamespace(eos_token_id=4))
        return SimpleNamespace(
            facts=facts, tokenizer=SimpleNamespace(eos_token_id=9), anatomy=SimpleNamespace(model="m")
        )

    def test_of_a_config(self) -> None:
        found = decoding_of(
            self.model(eos_token_id=[3, 5], repetition_penalty=1.5, min_length=0, sequence_bias={(1, 2): -0.5}), 6, 0.7
        )
        assert (found.tokens, found.temperature, found.stop) == (6, 0.7, {3, 5})
        assert found.record() == {"stop": [3, 5], "repetition_penalty": 1.5, "sequence_bias": [[[1, 2], -0.5]]}
        assert decoding_of(self.model(**SHAPING), 6).shaping == {}
        assert _plain(SimpleNamespace(to_dict=lambda: {"a": (1,)})) == {"a": [1]}
        for name, way, given in (("num_beams", "beam search", 2), ("penalty_alpha", "contrastive search", 0.5)):
            assert refused(decoding_of, self.model(**{name: given}), 6) == (
                f"The generation config of m asks for {way} ({name} = {given}), and answers are made here one token "
                f"after the other; "
                f"set model.hf.generation_config.{name} = None."
            )
        decoding_of(self.model(num_beams=1, token_healing=False, guidance_scale=None, penalty_alpha=0), 6)

    def test_what_ends(self) -> None:
        assert stop_ids(self.model(eos_token_id=0)) == {0}
        assert stop_ids(self.model()) == {4}
        nothing = self.model()
        nothing.facts.config.eos_token_id = None
        assert stop_ids(nothing) == {9}
        nothing.tokenizer = None
        assert stop_ids(nothing) == frozenset()

    def test_greedy_steps(self) -> None:
        """Two rows: the first ends by its end token, the second by the limit of three."""
        logits = [
            torch.tensor(x)
            for x in ([[0.0, 9, 1], [5.0, 1, 0]], [[0.0, 1, 9], [1.0, 9, 0]], [[0.0, 9, 0], [0.0, 0, 9]])
        ]
        choosing = Choosing(self.model(), [(1,), (2,)], Decoding(3, stop=frozenset({2})))
        made, alive = [], []
        for x in logits:
            made.append(choosing.choose(x))
            alive.append(choosing.alive.tolist())
        assert alive == [[True, True], [False, True], [False, False]]
        first, second = responses(made, 2)
        assert (first.ids, second.ids) == ((1, 2), (0, 1, 2))
        for response, row in ((first, 0), (second, 1)):
            for step, (token, p) in enumerate(zip(*response, strict=True)):
                e = [math.exp(x) for x in logits[step][row].tolist()]
                assert p == pytest.approx(math.log(e[token] / sum(e)), abs=1e-5)

    def test_draws_invert_the_distribution(self) -> None:
        choosing = Choosing(self.model(), [(1,)] * 3, Decoding(2, 0.5), seeds=[0, 1, 2])
        draws = [
            torch.rand(2, generator=torch.Generator().manual_seed(s), dtype=torch.float64)[0].item() for s in range(3)
        ]
        p = [0.1, 0.3, 0.6]
        logits = torch.tensor([[0.5 * math.log(x) for x in p]]).expand(
            3, 3
        )  # at temperature 0.5 the squares are drawn from: p
        choosing.choose(logits)
        assert choosing.last.tolist() == [next(i for i in range(3) if d < sum(p[: i + 1])) for d in draws]


def test_steering_a_model_whose_weights_are_elsewhere_is_refused_at_the_door() -> None:
    model = families.get("olmoe")
    elsewhere = copy(model.runtime)
    elsewhere.far = True
    with (
        pytest.raises(WorkbenchError, match=r"The weights of tiny/olmoe are on NDIF, not here"),
        steered(replace(model, local=elsewhere), Plan.off("L0E1")),
    ):
        pytest.fail("the block was entered")
