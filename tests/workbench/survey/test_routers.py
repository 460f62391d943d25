"""What a router is told by: hashes, groups, corrections, probabilities, and answers that cannot be."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.tensors import draw
from workbench.errors import WorkbenchError
from workbench.model import MoEBlock
from workbench.routing import Routing
from workbench.survey import router as routerfacts

EMPTY = MoEBlock(3, nn.Identity(), nn.Identity(), nn.Identity(), (), None, "m.3.router", "m.3.experts", ())


class TestRouters:
    def test_a_hash_router_is_told_by_equal_tokens(self) -> None:
        ids = torch.tensor([7, 8, 9, 7, 8, 9, 7, 8])  # 7 x 3, 8 x 3, 9 x 2: 6 + 6 + 2 pairs of places
        index = torch.tensor([[0, 1], [2, 3], [4, 5]])[ids - 7]
        assert routerfacts.is_hash(ids, index)
        assert routerfacts.is_hash(ids, torch.where(torch.arange(8)[:, None] == 3, index.flip(-1), index))  # any order
        other = index.clone()
        other[3, 0] = 5
        assert not routerfacts.is_hash(ids, other)
        four = torch.tensor([1, 1, 2, 2, 3, 3, 4, 4])
        assert routerfacts.is_hash(four, index[:1].expand(8, 2))  # eight pairs are enough
        four[7] = 5
        assert not routerfacts.is_hash(four, index[:1].expand(8, 2))

    def test_how_far_logits_favour_what_was_selected(self) -> None:
        logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 4.0, 8.0], [5.0, 0.0, 1.0]])
        index = torch.tensor([[0], [2], [2]])
        lifts = []
        for row, chosen in zip(logits.tolist(), (0, 2, 2), strict=True):
            mean = sum(row) / 3
            lifts.append((row[chosen] - mean) / math.sqrt(sum((x - mean) ** 2 for x in row) / 2))
        mean = sum(lifts) / 3
        error = math.sqrt(sum((x - mean) ** 2 for x in lifts) / 2) / math.sqrt(3)
        assert routerfacts.favour(logits, index) == pytest.approx(mean / error, rel=1e-5)

    def test_whether_weights_follow_logits(self) -> None:
        logits = torch.tensor([[0.0, 1.0, 5.0, 2.0], [3.0, 1.0, 0.0, 9.0]])
        index = torch.tensor([[1, 2, 3], [0, 1, 2]])
        for weights, r in (([[0.1, 0.5, 0.2], [0.6, 0.2, 0.0]], 1.0), ([[0.9, 0.5, 0.8], [0.0, 0.4, 0.6]], -1.0)):
            assert routerfacts.follow_logits(logits, Routing(torch.tensor(weights), index)) == pytest.approx(
                r, abs=1e-5
            )
        mixed = Routing(torch.tensor([[0.1, 0.5, 0.2], [0.0, 0.4, 0.6]]), index)
        assert routerfacts.follow_logits(logits, mixed) == pytest.approx(0.0, abs=1e-5)
        assert routerfacts.follow_logits(logits, Routing(torch.ones(2, 1), index[:, :1])) == 1.0

    def test_groups(self) -> None:
        none = SimpleNamespace()
        for config, router, groups in (
            (none, none, (1, 1)),
            (SimpleNamespace(n_group=4, topk_group=2), none, (4, 2)),
            (SimpleNamespace(num_expert_group=3), SimpleNamespace(topk_group=2), (3, 2)),
            (SimpleNamespace(n_group=4, topk_group=3), SimpleNamespace(num_group=8, topk_group=5), (8, 5)),
            (SimpleNamespace(n_group=None, topk_group=None), none, (1, 1)),
        ):
            assert routerfacts.groups(config, router) == groups  # type: ignore[arg-type]

    def test_vectors_that_may_be_a_correction(self) -> None:
        router, block = nn.Linear(2, 3), nn.Module()
        router.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))
        router.register_buffer("even", torch.ones(3))
        router.register_buffer("counts", torch.tensor([1, 2, 3]))
        router.register_buffer("expert_bias", torch.zeros(3))
        block.register_buffer("e_score_correction_bias", torch.tensor([0.0, 1.0, 0.0]))
        block.register_buffer("long", torch.arange(4.0))
        block.router = router
        found = routerfacts.vectors(EMPTY._replace(router=router, block=block), 3)
        assert list(found) == ["e_score_correction_bias", "scale", "expert_bias"]
        assert found["scale"] == (router, "scale")
        assert found["e_score_correction_bias"] == (block, "e_score_correction_bias")

    def answer(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        logits, weights, index = draw(4, 5), draw(4, 2, seed=1), torch.tensor([[0, 1], [2, 3], [1, 0], [4, 2]])
        return (logits, weights, index), (torch.zeros(4, 3), index.clone(), weights.clone())

    def refused(self, out: Any, received: Any, tokens: int = 4) -> str:
        with pytest.raises(WorkbenchError) as caught:
            routerfacts.checked(EMPTY, out, received, tokens)
        assert str(caught.value).startswith("Layer 3 ('m.3.router'): ")
        return str(caught.value).partition(": ")[2]

    def test_the_answer_is_checked(self) -> None:
        out, received = self.answer()
        logits, routing = routerfacts.checked(EMPTY, out, received, 4)
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
        assert not routerfacts.are_probabilities(block, torch.tensor([[0.5, 0.6, -0.1]]))
        assert not routerfacts.are_probabilities(block, torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.02]]))
        with pytest.raises(
            WorkbenchError, match=r"^Layer 3 \('m.3.router'\): the router reports probabilities \(rows sum to 1\)"
        ):
            routerfacts.are_probabilities(block, torch.tensor([[0.5, 0.5, 0.009]]))
        theirs = type("Router", (nn.Linear,), {"__module__": "transformers.models.x"})(2, 3)
        assert routerfacts.are_probabilities(EMPTY._replace(router=theirs), torch.tensor([[0.5, 0.5, 0.0]]))
        theirs.register_forward_hook(lambda *_: None)
        with pytest.raises(WorkbenchError, match="through a hook or a class"):
            routerfacts.are_probabilities(EMPTY._replace(router=theirs), torch.tensor([[0.5, 0.5, 0.0]]))

    def test_notes(self) -> None:
        assert routerfacts.identity_notes(EMPTY, 12, 8) == [
            "experts 8-11 are zero (identity) experts: they return their input"
        ]
        assert routerfacts.identity_notes(EMPTY, 8, 8) == []
        assert routerfacts.answer_notes((), True, True, 9) == [
            "the router reports probabilities; their logarithms are stored as logits",
            "class 8 of the router skips the experts: its slots name L*E0 with weight 0",
        ]
        assert routerfacts.answer_notes((), False, False, 9) == []
