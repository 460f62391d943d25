"""Models that cannot be looked at: no language-model head, split weights, weights without values."""

import torch
from torch import nn

from tests.support.refusals import refused
from workbench.survey.suitable import check_head, check_suitable


class TestModels:
    def test_a_head(self) -> None:
        model = nn.Linear(2, 2)
        check_head(model, torch.zeros(2, 3, 9), (2, 3))
        for logits, shape in ((torch.zeros(2, 9), "(2, 9)"), (torch.zeros(2, 4, 9), "(2, 4, 9)"), (None, "None")):
            assert refused(check_head, model, logits, (2, 3)) == (
                f"Linear answers 2 x 3 token ids with logits of shape {shape}, not with one row per token: it has no "
                f"language-model "
                f"head; load its ForCausalLM class."
            )

    def test_whole_and_here(self) -> None:
        model = nn.Linear(2, 2)
        check_suitable(model)
        model._tp_size = 1  # type: ignore[assignment]
        check_suitable(model)
        model._tp_size = 2  # type: ignore[assignment]
        assert refused(check_suitable, model).startswith(
            "Linear is split over 2 processes (tensor, expert or data parallel), so"
        )
        far = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2, device="meta"))
        assert refused(check_suitable, far).startswith(
            "Sequential has no values for 4 of its weights (0.weight, 0.bias and 2 more): "
        )
