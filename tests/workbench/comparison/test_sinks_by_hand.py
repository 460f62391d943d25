"""Attention to the first token from tensors made here: batches, sums over prompts, decay."""

import math

import numpy as np
import pytest
from torch import Tensor, nn

from tests.support.tensors import draw
from workbench.comparison import SinkShare, decay
from workbench.comparison.sinks import SinksByPrompt, add_up, without_padding
from workbench.errors import WorkbenchError


class TestAttention:
    def test_batches_of_one_length(self) -> None:
        rows = [[0] * n for n in (400, 3, 400, 2000, 3, 400, 400)]
        assert list(without_padding(rows)) == [[1, 4], [0, 2], [5, 6], [3]]

    def test_what_is_paid_to_the_first(self) -> None:
        paid = dict[int, list[Tensor]]()
        weights = draw(2, 3, 4, 4).softmax(-1)
        add_up(paid, 5, nn.Identity(), (), (None, weights))
        for row in range(2):
            for head in range(3):
                expected = sum(float(weights[row, head, q, 0]) for q in (1, 2, 3))
                assert float(paid[5][0][row, head]) == pytest.approx(expected)
        for output in (weights, (weights,), (None, weights[0])):
            with pytest.raises(
                WorkbenchError, match=r"^Layer 5 \(Identity\) returns no attention weights even in eager mode"
            ):
                add_up(paid, 5, nn.Identity(), (), output)

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
