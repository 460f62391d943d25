"""What was recorded of a text becomes numbers."""

from types import SimpleNamespace

import numpy as np
import torch
from workbench_app.dashboard.texts import trace

from tests.app.paper import said


def test_what_was_recorded_becomes_numbers():
    parts = {
        "index": torch.tensor([[1]]),
        "weight": torch.tensor([[0.5]]),
        "output_l2": torch.tensor([[2.0]]),
        "output_max_abs": torch.tensor([[3.0]]),
    }
    found = trace.recorded_layer(SimpleNamespace(**parts))
    assert [part.tolist() for part in found] == [[[1]], [[0.5]], [[2.0]], [[3.0]]]
    assert found.expert.dtype == np.int64
    assert said(trace.Trace(("a",), ("user",), 1, {0: found}).at(0, 0)) == "[[1, 0.5, 2, 3]]"
