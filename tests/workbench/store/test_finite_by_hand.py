"""What is not finite, counted by hand, and the sentences that say it."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from tests.workbench.comparison.test_effects_said import INF, NAN
from workbench.records import (
    Chunk,
    LayerRecord,
    Magnitude,
    OutputRows,
    ResidualRecord,
    SharedRecord,
    logits_not_finite,
    not_finite,
)
from workbench.shards import experts_with, said
from workbench.shards.finite import own_experts


class TestFinite:
    def rows(self, frame: pd.DataFrame) -> list[list[Any]]:
        assert list(frame.columns) == ["sequence", "layer", "what", "expert", "n_tokens", "n_own", "first_position"]
        return [[None if pd.isna(x) else x for x in row] for row in frame.astype(object).values.tolist()]

    def chunk(self, layers: dict[int, LayerRecord], residual: dict[int, ResidualRecord]) -> Chunk:
        return Chunk(np.array([4, 4, 7]), np.array([5, 6, 0]), layers, residual, lambda: None)

    def test_counts_by_hand(self) -> None:
        """Three tokens: two of sequence 4, one of sequence 7; token 1 alone has finite weights."""
        one = torch.ones(3)
        record = LayerRecord(
            index=torch.tensor([[1, 4], [2, 0], [4, 3]]),
            weight=torch.tensor([[0.5, NAN], [0.1, 0.2], [INF, 0.3]]),
            logits=torch.tensor([[0, 0, 0], [0, 0, NAN], [0, 0, 0]]),
            output_l2=torch.tensor([[1, 2], [NAN, INF], [NAN, 1]]),
            shared=(
                SharedRecord(torch.tensor([1, 1, NAN]), Magnitude(torch.tensor([NAN, 1, 1]), one, one), None),
                SharedRecord(one, None, torch.tensor([[1, 1], [NAN, NAN], [1, -INF]])),
            ),
        )
        residual = {
            3: ResidualRecord(torch.tensor([1, INF, 1]), one, one, one, torch.tensor([NAN, 1, 1])),
            -1: ResidualRecord(torch.tensor([NAN, NAN, 1]), one, one, one, None),
        }
        found = not_finite(self.chunk({3: record}, residual))
        assert self.rows(found) == [
            [4, 3, "router_logits", 2, 1, None, 6],
            *([4, 3, "weight", 4, 1, None, 5], [7, 3, "weight", 4, 1, None, 0]),
            *([4, 3, "output", 0, 1, 1, 6], [4, 3, "output", 2, 1, 1, 6], [7, 3, "output", 4, 1, 0, 0]),
            *([7, 3, "weight", -1, 1, None, 0], [4, 3, "output", -1, 1, 0, 5]),
            *([4, 3, "output", -2, 1, 1, 6], [7, 3, "output", -2, 1, 0, 0]),
            *([4, 3, "routed_change", None, 1, None, 5], [4, 3, "residual", None, 1, None, 6]),
            [4, -1, "residual", None, 2, None, 5],
        ]
        vectors = torch.tensor([[1, NAN], [NAN, NAN], [1, 1]])
        outputs = OutputRows(torch.tensor([1, 5, 2]), torch.tensor([4, 3, 2]), vectors)  # of rows 0, 2 and 1
        found = not_finite(self.chunk({3: LayerRecord(record.index, record.weight, outputs=outputs)}, {}))
        assert self.rows(found)[2:] == [[4, 3, "output", 4, 1, 0, 5], [7, 3, "output", 3, 1, 0, 0]]
        assert not len(not_finite(self.chunk({}, {})))

    def test_logits(self) -> None:
        found = logits_not_finite(7, np.array([5, 6, 8]), np.array([3, 0, 9]), [[-1, NAN, NAN], [-INF], [0.0]])
        assert self.rows(found) == [[5, 7, "logits", None, 2, None, 4], [6, 7, "logits", None, 1, None, 0]]
        assert not len(logits_not_finite(7, np.array([5]), np.array([3]), [[-1]]))

    def frame(self, *rows: Any) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=["layer", "what", "expert", "n_tokens", "n_own"]).astype(
            {"expert": "Int32", "n_own": "Int64"}
        )

    def test_sentences(self) -> None:
        found = self.frame(
            *(
                (4, "residual", None, 9, None),
                (2, "output", 3, 5, 2),
                (2, "output", 1, 7, 0),
                (2, "weight", -1, 4, None),
            ),
            *((2, "output", 3, 6, 1), (3, "output", 0, 1, 1), (3, "output", 5, 1, 0), (2, "router_logits", 2, 8, None)),
        )
        assert said(found) == (
            "Values are not finite, first in layer 2: router logit of L2E2 at 8 tokens, routing weight of L2S0 at 4 "
            "tokens, output "
            "of L2E3 at 11 tokens; of finite inputs also by L3E0; and in 2 layers above."
        )
        assert list(map(str, own_experts(found))) == ["L2E3", "L3E0"]
        assert {str(ref) for ref in experts_with(found)} == {"L2E1", "L2E2", "L2E3", "L2S0", "L3E0", "L3E5"}
        assert said(self.frame((-1, "residual", None, 4, None), (-1, "residual", None, 3, None))) == (
            "Values are not finite, first in the embeddings: residual at 7 tokens."
        )
        many = self.frame(*((0, "output", e, 2, 0) for e in range(5)))
        assert said(many) == (
            "Values are not finite, first in layer 0: output of L0E0 at 2 tokens, L0E1 at 2 tokens, L0E2 at 2 tokens, L0E3 at 2 "
            "tokens and 1 more."
        )
        assert said(self.frame((0, "logits", None, 2, None))).endswith(
            "first in layer 0: next-token logits at 2 tokens."
        )
        assert said(self.frame()) == ""
