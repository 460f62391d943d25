"""The parts of a trace, on tensors made here: a layer, the residual stream, one forward, log-probabilities."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.tensors import draw
from workbench.backends.nnsight import in_trace


class TestTraces:
    def entry(self, output: Any, *given: Any, **named: Any) -> list[Any]:
        return [SimpleNamespace(inputs=(given, named), output=output)]

    def place(self, **changes: Any) -> dict[str, Any]:
        off = dict.fromkeys(("gate", "before", "multiplier", "wanted"))
        return {"router": "r", "experts": "e", "shared": ["s0", "s1"], "probabilities": False, "logits": True, "sizes": True,
                "vectors": True, "reads": False, **off, **changes}  # fmt: skip

    def test_a_layer(self) -> None:
        """Expert e multiplies by e + 1; what the experts said is their weighted sum."""
        hidden, weight, index = draw(1, 3, 4), draw(3, 2, seed=1), torch.tensor([[0, 1], [2, 0], [1, 2]])
        own = torch.stack([hidden[0, t] * (e + 1) for t, row in enumerate(index.tolist()) for e in row])
        routed = (own.view(3, 2, 4) * weight[..., None]).sum(1).view(1, 3, 4)
        shared, logits = (draw(1, 3, 4, seed=2), draw(1, 3, 4, seed=3)), draw(3, 5, seed=4)
        entries = {
            "e": self.entry(routed, hidden, top_k_index=index, top_k_weights=weight), "r": self.entry((logits, 1, 2), 3 * hidden),
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
        reads = in_trace.layer_numbers(self.place(logits=False, sizes=False, vectors=False, reads=True), entries, None)
        assert torch.equal(reads["router_input"], 3 * hidden[0])
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
