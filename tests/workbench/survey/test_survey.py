"""The look at a model: its tokens, a model that fails, and what was not seen."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.workbench.survey.test_routers import EMPTY
from workbench.errors import WorkbenchError
from workbench.survey import Seen, probe_ids
from workbench.survey.forward import check_ran, ran


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
                ran(Fails(error, device), ids)
            assert str(caught.value) == f"Fails itself fails on 6 random token ids {said}"
        with pytest.raises(WorkbenchError, match=r"^ours$"):
            ran(Fails(WorkbenchError("ours")), ids)

    def test_what_was_not_seen(self) -> None:
        one = Seen(router=[()], received=[()], routed=torch.zeros(1), block=torch.zeros(1))
        check_ran(EMPTY, one)
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
                check_ran(EMPTY, seen)
            assert str(caught.value).startswith(f"Layer 3 ('m.3.router'): {said}")
