"""The parts of a look at a model, one by one on tensors made here: sums, routers, layers, adapters, traces, attention."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench.survey.router as routerfacts
from workbench.anatomy import is_unversioned, joined
from workbench.anatomy.fingerprints import parts, versioned
from workbench.backends.nnsight import in_trace
from workbench.capturing.rewritten import _difference
from workbench.comparison import SinkShare, decay
from workbench.comparison.sinks import SinksByPrompt, _add, _without_padding
from workbench.errors import WorkbenchError
from workbench.model import Layout, MoEBlock, find_layout, fused_weights, rerun
from workbench.model.adapters import ADAPTERS, AdaptedExperts, AdaptedRouter, ByClass
from workbench.model.layout import _is_expert, _rows, _wrapping
from workbench.routing import Routing
from workbench.survey import Seen, probe_ids
from workbench.survey.forward import _check_ran, _ran
from workbench.survey.residual import norm_before, residual_reason, routed_multiplier

EMPTY = MoEBlock(3, nn.Identity(), nn.Identity(), nn.Identity(), (), None, "m.3.router", "m.3.experts", ())


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestResidual:
    """layer = before + m x (routed + gate x shared) + beside."""

    def seen(
        self, m: float = 1.0, inner: float = 1.0, gate: bool = False, beside: bool = False, off: float = 0.0
    ) -> Seen:
        before, normed, routed, shared, other = (draw(2, 3, 4, seed=i) for i in range(5))
        weight = draw(2, 3, 1, seed=9)
        block = inner * routed + shared * (weight.sigmoid() if gate else 1)
        layer = before + m * block + (other if beside else 0) + off * draw(2, 3, 4, seed=7)
        entering = {"norm": (before, normed)} | ({"mlp": (normed, other)} if beside else {})
        return Seen(
            routed=routed, block=block, layer=layer, shared={"s": shared}, gate=weight.reshape(6, 1) if gate else None,
            entering=entering, block_input=normed,
        )  # fmt: skip

    @pytest.mark.parametrize("gate", [False, True])
    @pytest.mark.parametrize("beside", [False, True])
    def test_the_multiplier(self, gate: bool, beside: bool) -> None:
        for m, inner, product in ((0.22, 1.0, 0.22), (0.5, 3.0, 1.5), (1.0, 0.97, 0.97), (-2.0, 1.0, -2.0)):
            found = routed_multiplier(self.seen(m, inner, gate, beside))
            assert found == pytest.approx(product, abs=1e-9)
        assert routed_multiplier(self.seen(1.0, 1.015, gate, beside)) == 1.0  # within rounding of 1
        assert routed_multiplier(self.seen(gate=gate, beside=beside, off=0.3)) is None

    def test_what_is_no_such_sum(self) -> None:
        for changes in (
            {"layer": None},
            {"routed": None},
            {"layer": draw(6, 4)},
            {"routed": draw(2, 3, 2)},
            {"block": draw(2, 3, 2)},
        ):
            seen = self.seen()
            for name, value in changes.items():
                setattr(seen, name, value)
            assert routed_multiplier(seen) is None, changes

    def test_the_norm_before(self) -> None:
        decoder = nn.ModuleDict({"norm": nn.LayerNorm(4), "mlp": nn.Identity()})
        layout = Layout(nn.Identity(), (nn.Identity(), nn.Identity(), nn.Identity(), decoder), {})
        assert norm_before(layout, EMPTY, self.seen()) is decoder["norm"]
        other = self.seen()
        other.block_input = draw(2, 3, 4, seed=8)
        assert norm_before(layout, EMPTY, other) is None
        other.block_input = None
        assert norm_before(layout, EMPTY, other) is None
        assert norm_before(layout._replace(layers=()), EMPTY, self.seen()) is None

    def test_reasons(self) -> None:
        layout, seen = Layout(nn.Identity(), (nn.Identity(),), {}), self.seen()
        assert residual_reason(layout, EMPTY, seen, (2, 3), 4) is None
        said = residual_reason(layout, EMPTY, seen, (2, 3), 5)
        assert said == "the layer's output is (2, 3, 4), not one stream of [batch, tokens, 5]"
        seen.layer = None
        said = residual_reason(layout, EMPTY, seen, (2, 3), 4)
        assert said == "the layer's output is None, not one stream of [batch, tokens, 4]"
        assert residual_reason(layout._replace(layers=()), EMPTY, seen, (2, 3), 4) == (
            "the adapter's layers are not the positions of a list of modules"
        )


class TestRouters:
    def test_a_hash_router_is_told_by_equal_tokens(self) -> None:
        ids = torch.tensor([7, 8, 9, 7, 8, 9, 7, 8])  # 7 x 3, 8 x 3, 9 x 2: 6 + 6 + 2 pairs of places
        index = torch.tensor([[0, 1], [2, 3], [4, 5]])[ids - 7]
        assert routerfacts._is_hash(ids, index)
        assert routerfacts._is_hash(ids, torch.where(torch.arange(8)[:, None] == 3, index.flip(-1), index))  # any order
        other = index.clone()
        other[3, 0] = 5
        assert not routerfacts._is_hash(ids, other)
        four = torch.tensor([1, 1, 2, 2, 3, 3, 4, 4])
        assert routerfacts._is_hash(four, index[:1].expand(8, 2))  # eight pairs are enough
        four[7] = 5
        assert not routerfacts._is_hash(four, index[:1].expand(8, 2))

    def test_how_far_logits_favour_what_was_selected(self) -> None:
        logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 4.0, 8.0], [5.0, 0.0, 1.0]])
        index = torch.tensor([[0], [2], [2]])
        lifts = []
        for row, chosen in zip(logits.tolist(), (0, 2, 2), strict=True):
            mean = sum(row) / 3
            lifts.append((row[chosen] - mean) / math.sqrt(sum((x - mean) ** 2 for x in row) / 2))
        mean = sum(lifts) / 3
        error = math.sqrt(sum((x - mean) ** 2 for x in lifts) / 2) / math.sqrt(3)
        assert routerfacts._favour(logits, index) == pytest.approx(mean / error, rel=1e-5)

    def test_whether_weights_follow_logits(self) -> None:
        logits = torch.tensor([[0.0, 1.0, 5.0, 2.0], [3.0, 1.0, 0.0, 9.0]])
        index = torch.tensor([[1, 2, 3], [0, 1, 2]])
        for weights, r in (([[0.1, 0.5, 0.2], [0.6, 0.2, 0.0]], 1.0), ([[0.9, 0.5, 0.8], [0.0, 0.4, 0.6]], -1.0)):
            assert routerfacts._follow(logits, Routing(torch.tensor(weights), index)) == pytest.approx(r, abs=1e-5)
        mixed = Routing(torch.tensor([[0.1, 0.5, 0.2], [0.0, 0.4, 0.6]]), index)
        assert routerfacts._follow(logits, mixed) == pytest.approx(0.0, abs=1e-5)
        assert routerfacts._follow(logits, Routing(torch.ones(2, 1), index[:, :1])) == 1.0

    def test_groups(self) -> None:
        none = SimpleNamespace()
        for config, router, groups in (
            (none, none, (1, 1)),
            (SimpleNamespace(n_group=4, topk_group=2), none, (4, 2)),
            (SimpleNamespace(num_expert_group=3), SimpleNamespace(topk_group=2), (3, 2)),
            (SimpleNamespace(n_group=4, topk_group=3), SimpleNamespace(num_group=8, topk_group=5), (8, 5)),
            (SimpleNamespace(n_group=None, topk_group=None), none, (1, 1)),
        ):
            assert routerfacts._groups(config, router) == groups  # type: ignore[arg-type]

    def test_vectors_that_may_be_a_correction(self) -> None:
        router, block = nn.Linear(2, 3), nn.Module()
        router.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))
        router.register_buffer("even", torch.ones(3))
        router.register_buffer("counts", torch.tensor([1, 2, 3]))
        router.register_buffer("expert_bias", torch.zeros(3))
        block.register_buffer("e_score_correction_bias", torch.tensor([0.0, 1.0, 0.0]))
        block.register_buffer("long", torch.arange(4.0))
        block.router = router
        found = routerfacts._vectors(EMPTY._replace(router=router, block=block), 3)
        assert list(found) == ["e_score_correction_bias", "scale", "expert_bias"]
        assert found["scale"] == (router, "scale")
        assert found["e_score_correction_bias"] == (block, "e_score_correction_bias")

    def answer(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        logits, weights, index = draw(4, 5), draw(4, 2, seed=1), torch.tensor([[0, 1], [2, 3], [1, 0], [4, 2]])
        return (logits, weights, index), (torch.zeros(4, 3), index.clone(), weights.clone())

    def refused(self, out: Any, received: Any, tokens: int = 4) -> str:
        with pytest.raises(WorkbenchError) as caught:
            routerfacts._checked(EMPTY, out, received, tokens)
        assert str(caught.value).startswith("Layer 3 ('m.3.router'): ")
        return str(caught.value).partition(": ")[2]

    def test_the_answer_is_checked(self) -> None:
        out, received = self.answer()
        logits, routing = routerfacts._checked(EMPTY, out, received, 4)
        assert logits is out[0]
        assert (routing.weights is out[1], routing.index is out[2]) == (True, True)
        said = (
            "and we know (logits [tokens, experts], weights and index [tokens, k]); this family is not supported, unless an "
            "adapter says how it routes (workbench/model/adapters.py)."
        )
        assert self.refused(out[:2], received) == f"the router returned [(4, 5), (4, 2)], {said}"
        assert self.refused(out, received, 3) == f"the router returned [(4, 5), (4, 2), (4, 2)], {said}"
        assert self.refused((out[0], out[1][:, :1], out[2]), received).endswith(said)
        assert self.refused((out[0], out[1][:3], out[2][:3]), received).endswith(said)
        for at in (0, 1):
            broken = [x.clone() for x in out]
            broken[at][2, 1] = math.nan
            assert self.refused(tuple(broken), received).startswith(
                "the router's logits or weights are not finite on random"
            )
        for at in (1, 2):
            other = [x.clone() for x in received]
            other[at][0] = other[at][0].flip(-1)
            said = "the experts did not receive what the router selected, so routing cannot be trusted."
            assert self.refused(out, tuple(other)) == said

    def test_probabilities(self) -> None:
        block = EMPTY._replace(router=nn.Linear(2, 3))
        assert not routerfacts._are_probabilities(block, torch.tensor([[0.5, 0.6, -0.1]]))
        assert not routerfacts._are_probabilities(block, torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.02]]))
        with pytest.raises(
            WorkbenchError, match=r"^Layer 3 \('m.3.router'\): the router reports probabilities \(rows sum to 1\)"
        ):
            routerfacts._are_probabilities(block, torch.tensor([[0.5, 0.5, 0.009]]))
        theirs = type("Router", (nn.Linear,), {"__module__": "transformers.models.x"})(2, 3)
        assert routerfacts._are_probabilities(EMPTY._replace(router=theirs), torch.tensor([[0.5, 0.5, 0.0]]))
        theirs.register_forward_hook(lambda *_: None)
        with pytest.raises(WorkbenchError, match="through a hook or a class"):
            routerfacts._are_probabilities(EMPTY._replace(router=theirs), torch.tensor([[0.5, 0.5, 0.0]]))

    def test_notes(self) -> None:
        assert routerfacts._identity_notes(EMPTY, 12, 8) == [
            "experts 8-11 are zero (identity) experts: they return their input"
        ]
        assert routerfacts._identity_notes(EMPTY, 8, 8) == []
        assert routerfacts._answer_notes((), True, True, 9) == [
            "the router reports probabilities; their logarithms are stored as logits",
            "class 8 of the router skips the experts: its slots name L*E0 with weight 0",
        ]
        assert routerfacts._answer_notes((), False, False, 9) == []


class Experts(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.up, self.down, self.bias = (nn.Parameter(torch.zeros(s)) for s in ((n, 4, 2), (n, 2, 4), (n, 2)))


class TestLayout:
    def test_fused_weights(self) -> None:
        experts, around = Experts(3), nn.Module()
        around.base_layer = experts
        assert [p.shape for p in fused_weights(around)] == [(3, 4, 2), (3, 2, 4)]
        assert (_rows(experts), _rows(around), _rows(nn.Linear(2, 2))) == (3, 3, 0)
        assert _wrapping("a.router.base_layer.base_layer") == "a.router"
        two = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        assert _is_expert(two)
        assert not _is_expert(nn.Linear(4, 4))
        assert not _is_expert(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), experts))

    def test_layers_to_number(self) -> None:
        layers = (nn.Identity(), nn.Identity())
        assert Layout(nn.Identity(), layers, {0: EMPTY}).n_layers == 2
        assert Layout(nn.Identity(), (), {0: EMPTY, 5: EMPTY}).n_layers == 6

    def test_what_is_no_layout(self) -> None:
        dense = nn.Sequential(nn.Linear(2, 2))
        dense.config = SimpleNamespace()  # type: ignore[assignment]
        with pytest.raises(
            WorkbenchError, match=r"^Sequential has no router that transformers declares, so there are no experts"
        ):
            find_layout(dense)
        dense.config = SimpleNamespace(is_encoder_decoder=True)  # type: ignore[assignment]
        with pytest.raises(
            WorkbenchError, match=r"^Sequential is an encoder-decoder, and stores, roles and generation"
        ):
            find_layout(dense)
        block = type("DogeCDMoE", (nn.Module,), {})()
        with pytest.raises(WorkbenchError, match=r"^Sequential \('0'\) is not supported: its product-key router mixes"):
            find_layout(nn.Sequential(block))


class Chained:
    """Expert n adds n to its input."""

    weights_on_input = False

    def blocks(self, model: Any) -> dict[int, nn.Module]:
        return {2: model[1].inner, 0: model[0].inner}

    def shared(self, block: Any) -> tuple[str, ...]:
        return ("beside",)

    def route(self, block: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index = torch.arange(len(hidden) * 2).reshape(-1, 2) % 3
        return hidden, 1.0 + index.double() / 4, index

    def expert(self, block: Any, number: int, hidden: Tensor) -> Tensor:
        return hidden * hidden + number

    def combine(self, block: Any, hidden: Tensor, routed: Tensor) -> Tensor:
        return 10 * hidden + routed


class TestAdapters:
    @pytest.mark.parametrize("on_input", [False, True])
    def test_the_sum_over_experts(self, on_input: bool) -> None:
        adapter, block, hidden = Chained(), nn.Identity(), draw(5, 4)
        adapter.weights_on_input = on_input
        router, experts = AdaptedRouter(adapter, block), AdaptedExperts(adapter, block)
        _, weights, index = router(hidden)
        expected = torch.zeros(5, 4, dtype=torch.float64)
        for t in range(5):
            for w, e in zip(weights[t], index[t], strict=True):
                x = hidden[t] * w if on_input else hidden[t]
                expected[t] += (x * x + e) * (1 if on_input else w)
        torch.testing.assert_close(experts(hidden, index, weights), expected)
        whole = rerun(adapter, block, router, experts, hidden.reshape(1, 5, 4))
        torch.testing.assert_close(whole, (10 * hidden + expected).reshape(1, 5, 4))
        assert list(experts.parameters()) == []

    def model(self, names: tuple[str, str]) -> Any:
        def part() -> nn.Module:
            inner = nn.Module()
            inner.beside = nn.Linear(2, 2)
            return inner

        steps = nn.ModuleDict({name: nn.ModuleDict({"inner": part()}) for name in names})
        holder = nn.Module()
        holder.steps = steps
        return holder

    def test_the_layout_of_an_adapter(self) -> None:
        model = self.model(("0", "2"))
        adapter: Any = Chained()
        adapter.blocks = lambda m: {2: m.steps["2"]["inner"], 0: m.steps["0"]["inner"]}
        layout = find_layout(model, adapter)
        assert list(layout.blocks) == [0, 2]
        assert layout.layers == tuple(model.steps.children())
        assert layout.base is model
        block = layout.blocks[2]
        assert (block.layer, block.router_name, block.experts_name) == (
            2,
            "steps.2.inner (router)",
            "steps.2.inner (experts)",
        )
        assert (block.shared, block.shared_names) == ((model.steps["2"]["inner"].beside,), ("steps.2.inner.beside",))
        assert (block.block, block.adapter, block.shared_gate) == (model.steps["2"]["inner"], adapter, None)
        adapter.blocks = lambda m: {1: m.steps["2"]["inner"], 0: m.steps["0"]["inner"]}
        assert find_layout(model, adapter).layers == ()
        adapter.blocks = lambda m: {}
        with pytest.raises(WorkbenchError, match=r"^The adapter Chained found no block in Module"):
            find_layout(model, adapter)

    def test_blocks_by_class(self) -> None:
        model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2))), nn.Linear(2, 2))
        assert ByClass("Linear").blocks(model) == {0: model[0][1][0], 1: model[1]}
        assert {name: a.name for name, a in ADAPTERS.items()} == {  # type: ignore[attr-defined]
            "Llama4TextMoe": "Llama4TextMoe", "DbrxFFN": "DbrxFFN", "JetMoeMoE": "JetMoeMoE",
        }  # fmt: skip


class TestSurvey:
    def test_the_tokens_of_the_look(self) -> None:
        ids = probe_ids(SimpleNamespace(get_input_embeddings=lambda: nn.Embedding(50, 2)))
        assert (ids.shape, ids.min() >= 0, ids.max() < 50) == ((2, 24), True, True)
        assert torch.equal(ids[1, -8:], ids[0, :8])
        assert len(ids.unique()) > 20

    def test_a_model_that_fails(self) -> None:
        class Fails(nn.Module):
            def __init__(self, error: Exception, device: str = "cpu") -> None:
                super().__init__()
                self.error, self.weight = error, nn.Parameter(torch.zeros(1, device=device))

            def forward(self, ids: Tensor, use_cache: bool) -> None:
                raise self.error

        ids = torch.zeros(2, 3)
        for error, device, said in (
            (ValueError("no.\nmore"), "cpu", "(ValueError: no); make its own forward work."),
            (RuntimeError(" "), "cpu", "(RuntimeError: no message); make its own forward work."),
            (
                TypeError("x"),
                "meta",
                "(TypeError: x); it reads offloaded weights outside of their modules; load it whole.",
            ),
        ):
            with pytest.raises(WorkbenchError) as caught:
                _ran(Fails(error, device), ids)
            assert str(caught.value) == f"Fails itself fails on 6 random token ids {said}"
        with pytest.raises(WorkbenchError, match=r"^ours$"):
            _ran(Fails(WorkbenchError("ours")), ids)

    def test_what_was_not_seen(self) -> None:
        one = Seen(router=[()], received=[()], routed=torch.zeros(1), block=torch.zeros(1))
        _check_ran(EMPTY, one)
        for changes, said in (
            ({"router": []}, "the router ran 0 times and the experts 1 times in one forward, not once each; a fused"),
            ({"received": [(), ()]}, "the router ran 1 times and the experts 2 times in one forward"),
            (
                {"routed": torch.tensor([math.inf])},
                "the experts' output in float32 is not finite on random tokens, so nothing",
            ),
            ({"routed": None}, "the block's or the experts' own hooks never fired"),
            ({"block": None}, "the block's or the experts' own hooks never fired"),
        ):
            seen = Seen(**{**vars(one), **changes})
            with pytest.raises(WorkbenchError) as caught:
                _check_ran(EMPTY, seen)
            assert str(caught.value).startswith(f"Layer 3 ('m.3.router'): {said}")


class TestTraces:
    def entry(self, output: Any, *given: Any, **named: Any) -> list[Any]:
        return [SimpleNamespace(inputs=(given, named), output=output)]

    def place(self, **changes: Any) -> dict[str, Any]:
        off = dict.fromkeys(("gate", "before", "multiplier", "wanted"))
        return {"router": "r", "experts": "e", "shared": ["s0", "s1"], "probabilities": False, "logits": True, "sizes": True,
                "vectors": True, **off, **changes}  # fmt: skip

    def test_a_layer(self) -> None:
        """Expert e multiplies by e + 1; what the experts said is their weighted sum."""
        hidden, weight, index = draw(1, 3, 4), draw(3, 2, seed=1), torch.tensor([[0, 1], [2, 0], [1, 2]])
        own = torch.stack([hidden[0, t] * (e + 1) for t, row in enumerate(index.tolist()) for e in row])
        routed = (own.view(3, 2, 4) * weight[..., None]).sum(1).view(1, 3, 4)
        shared, logits = (draw(1, 3, 4, seed=2), draw(1, 3, 4, seed=3)), draw(3, 5, seed=4)
        entries = {
            "e": self.entry(routed, hidden, top_k_index=index, top_k_weights=weight), "r": self.entry((logits, 1, 2)),
            "s0": self.entry(shared[0]), "s1": self.entry(shared[1]),
        }  # fmt: skip
        found = in_trace.layer_numbers(self.place(), entries, lambda h, i, w: h * (i + 1) * w)
        assert (found["index"] is index, found["weight"] is weight, found["logits"] is logits) == (True, True, True)
        assert found["off"] < 1e-6
        l2, largest, channel = found["size"]
        torch.testing.assert_close(l2.double(), own.norm(dim=-1).view(3, 2), rtol=1e-5, atol=0)
        torch.testing.assert_close(largest.double(), own.abs().amax(-1).view(3, 2), rtol=1e-5, atol=0)
        assert torch.equal(channel.long(), own.abs().argmax(-1).view(3, 2))
        slots, experts, vectors = found["vectors"]
        assert (slots.tolist(), experts.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2])
        torch.testing.assert_close(vectors, own)
        assert [x["weight"].tolist() for x in found["shared"]] == [[1, 1, 1]] * 2
        for s, x in zip(shared, found["shared"], strict=True):
            torch.testing.assert_close(x["size"][0].double(), s[0].norm(dim=-1), rtol=1e-5, atol=0)
            assert torch.equal(x["vectors"], s[0])
        wanted = in_trace.layer_numbers(self.place(wanted=[2, -2]), entries, lambda h, i, w: h * (i + 1) * w)
        assert wanted["vectors"][0].tolist() == [2, 5]
        assert [x["vectors"] is None for x in wanted["shared"]] == [True, False]
        few = in_trace.layer_numbers(self.place(logits=False, sizes=False, vectors=False), entries, None)
        assert set(few) == {"index", "weight", "shared"}
        assert (few["shared"][0]["size"], few["shared"][0]["vectors"]) == (None, None)
        twice = in_trace.own_outputs(self.place(sizes=False, vectors=False), index, weight, 2 * own, routed[0])
        assert twice == {"off": pytest.approx(1.0)}
        entries["g"] = self.entry(torch.tensor([[0.0], [math.log(3)], [-math.log(3)]]))
        gated = in_trace.shared_numbers(self.place(gate="g"), 0, entries)
        assert gated["weight"].tolist() == pytest.approx([0.5, 0.75, 0.25])

    def test_logits_out_of_probabilities(self) -> None:
        rows = torch.tensor([[0.25, 0.75, 0.0]])
        found = in_trace.logits_of(rows, True)[0].tolist()
        assert found == pytest.approx([math.log(0.25), math.log(0.75), math.log(torch.finfo(torch.float32).tiny)])
        assert in_trace.logits_of(rows, False) is rows

    def test_the_residual_stream(self) -> None:
        stream = torch.tensor([[[3.0, -4.0, 0.0, 0.0], [1.0, 2.0, -3.0, 9.0]]])
        entries = {
            "d": self.entry((stream, None), hidden_states=2 * stream), "n": self.entry(0, stream[..., [1, 0, 3, 2]]),
            "e": self.entry(torch.ones(2, 4)),
        }  # fmt: skip
        found = in_trace.residual_numbers(0, "d", None, entries)
        assert found["l2"].tolist() == pytest.approx([5, math.sqrt(95)])
        assert (found["max_abs"].tolist(), found["argmax"].tolist(), found["routed_change"]) == ([4, 9], [1, 3], None)
        assert in_trace.residual_numbers(-1, "d", None, entries)["max_abs"].tolist() == [8, 18]
        place = self.place(before="n", multiplier=2.0)
        changed = in_trace.residual_numbers(0, "d", place, entries)["routed_change"]
        for row, expected in zip(stream[0][:, [1, 0, 3, 2]], changed.tolist(), strict=True):
            assert expected == pytest.approx(1 - float(torch.cosine_similarity(row, row + 2, dim=0)), abs=1e-5)
        for off in ({"before": None}, {"multiplier": None}):
            assert in_trace.residual_numbers(0, "d", place | off, entries)["routed_change"] is None

    def test_one_forward(self) -> None:
        stream = torch.ones(1, 2, 4)
        entries = {name: self.entry(stream, stream) for name in ("d0", "d1")}
        found = in_trace.forward_numbers(entries, ["d0", "d1"], {}, {}, ["d0", "d1"])
        assert (found["visits"], list(found["residual"]), found["layers"]) == ({"d0": 1, "d1": 1}, [0, 1, -1], {})
        assert in_trace.forward_numbers(entries, ["d0", "x"], {}, {}, ["d0"]) == {"visits": {"d0": 1, "x": 0}}
        assert -1 not in in_trace.forward_numbers(entries, ["d0"], {}, {}, [])["residual"]

    def test_log_probabilities(self) -> None:
        logits, ids = draw(2, 3, 4).float(), torch.tensor([[0, 1, 2], [3, 3, 0]])
        told = in_trace.token_logprobs(logits, ids, 3)
        found, (likeliest, logprobs) = told["logprobs"], told["likeliest"]
        assert found.shape == (2, 2)
        assert set(in_trace.token_logprobs(logits, ids, 0)) == {"logprobs"}
        assert torch.equal(likeliest, logits[:, :-1].argsort(descending=True)[..., :3])
        assert torch.allclose(logprobs[0, 0, :1], logits[0, 0].log_softmax(-1).max())
        assert torch.equal(in_trace.read_logprobs(logits, 1), logits[:, -2:].log_softmax(-1))
        for row in range(2):
            for at in range(2):
                e = [math.exp(x) for x in logits[row, at].tolist()]
                assert found[row, at] == pytest.approx(math.log(e[ids[row, at + 1]] / sum(e)), abs=1e-5)

    def test_what_is_held(self) -> None:
        module = nn.Linear(4, 5)
        module.dtype = torch.float32  # type: ignore[assignment]
        module.register_buffer("vector", torch.arange(3.0))
        found = in_trace.held_numbers(module, ["vector", "bias", "nothing"], 10)
        assert found["dtype"] == "torch.float32"
        assert torch.equal(found["values"]["weight"], module.weight.detach().reshape(-1)[::2].bfloat16())
        assert torch.equal(found["values"]["bias"], module.bias.detach().bfloat16())
        assert list(found["vectors"]) == ["vector", "bias"]
        assert found["vectors"]["vector"].tolist() == [0, 1, 2]


class TestAttention:
    def test_batches_of_one_length(self) -> None:
        rows = [[0] * n for n in (400, 3, 400, 2000, 3, 400, 400)]
        assert list(_without_padding(rows)) == [[1, 4], [0, 2], [5, 6], [3]]

    def test_what_is_paid_to_the_first(self) -> None:
        paid = dict[int, list[Tensor]]()
        weights = draw(2, 3, 4, 4).softmax(-1)
        _add(paid, 5, nn.Identity(), (), (None, weights))
        for row in range(2):
            for head in range(3):
                expected = sum(float(weights[row, head, q, 0]) for q in (1, 2, 3))
                assert float(paid[5][0][row, head]) == pytest.approx(expected)
        for output in (weights, (weights,), (None, weights[0])):
            with pytest.raises(
                WorkbenchError, match=r"^Layer 5 \(Identity\) returns no attention weights even in eager mode"
            ):
                _add(paid, 5, nn.Identity(), (), output)

    def test_all_prompts_together(self) -> None:
        share = np.array([[[0.5, 0.1]], [[np.nan, np.nan]], [[0.2, 0.4]]])
        found = SinksByPrompt((3,), share, np.array([1, 0, 3])).together()
        assert (found.layers, found.n_queries) == ((3,), 4)
        np.testing.assert_allclose(found.share, [[(0.5 + 0.6) / 4, (0.1 + 1.2) / 4]])
        assert found.by_layer() == {3: pytest.approx(0.3)}

    def test_decay(self) -> None:
        base = SinkShare((0, 2), np.array([[0.5, 0.25], [0.0, 0.0]]), 10)
        found = decay(base, SinkShare((0, 2), np.array([[0.6, 0.35], [0.1, 0.1]]), 10))
        assert found[0] == pytest.approx(-0.3)
        assert math.isnan(found[2])


def test_fingerprints_as_text() -> None:
    assert (versioned("ab"), parts("2:ab,cd")) == ("2:ab", ["2:ab", "cd"])
    assert [is_unversioned(x) for x in ("2:ab", "ab", "2:ab,cd", "1:a,2:b")] == [False, True, True, False]
    for a, b, both in (
        *((None, None, ""), ("2:a", None, "2:a"), (None, "b", "b"), ("2:a", "2:a", "2:a"), ("2:a", "2:b", None)),
        *(
            ("b", "2:a", "2:a,b"),
            ("a", "b", None),
            ("2:a,b", "b", "2:a,b"),
            ("2:a,b", "c", None),
            ("1:a", "2:a", "1:a,2:a"),
        ),
    ):
        assert joined(a, b) == both


def test_words_that_differ() -> None:
    assert _difference("on the 3rd of May we", "on the 4th of May we") == ("3rd", "4th")
    assert _difference("a b c d", "a x y d") == ("b c", "x y")
    assert _difference("a b", "a b c") == ("b", "b c")
    assert _difference("a b ", "a b c") == ("", "c")
    assert _difference("same", "same") == ("", "")
    assert _difference("x" * 90 + " a", "y a") == ("x" * 80, "y")
