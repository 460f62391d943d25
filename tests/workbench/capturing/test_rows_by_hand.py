"""From what a forward did to rows of the store: two sequences, one padded, one decode step, an expert of each kind; by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from workbench.capturing.rows import BatchRows, token_rows
from workbench.errors import WorkbenchError
from workbench.prompts import ROLES
from workbench.records import (
    ForwardRecord,
    Harvest,
    LayerRecord,
    Magnitude,
    OutputRows,
    Recorder,
    ResidualRecord,
    SharedRecord,
    decode_step,
    magnitude,
    median_abs,
    prompt_step,
    routed_change,
)

MASK = np.array([[1, 1, 0], [1, 1, 1]])  # sequence 0 has two tokens, padded on the right


def floats(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def forward(n: int, base: float, slots: list[int], chosen: list[int]) -> ForwardRecord:
    """`n` rows of two slots; every number says its row and slot, from `base` on; vectors of the slots, in their order."""
    number = base + torch.arange(2 * n, dtype=torch.float64).view(n, 2)
    vectors = torch.stack([base + torch.tensor([s, -s], dtype=torch.float64) for s in slots])
    size = Magnitude(*(number[:, 0] * k for k in (2, 3)), torch.arange(n, dtype=torch.int32) + 5)
    layer = LayerRecord(
        torch.arange(2 * n).view(n, 2) + int(base), number / 8, number[:, :1] + 0.5, number * 10, number * 20,
        (number * 30).int(), OutputRows(torch.tensor(slots), torch.tensor(chosen), vectors),
        (SharedRecord(number[:, 0] / 16, size, number[:, :1] * 7),),
    )  # fmt: skip
    row = number[:, 0]
    stream = ResidualRecord(row, row + 0.25, row + 0.5, (row + 1).int(), None)
    return ForwardRecord({4: layer}, {-1: stream, 4: stream._replace(routed_change=row / 4)})


@pytest.fixture
def batch() -> BatchRows:
    """Slots 3, 4 (padding: it goes), 0, 9 and then 1 of the decode step; there sequence 1 alone goes on, at position 3."""
    harvest = Harvest()
    harvest.add(forward(6, 0, [3, 4, 0, 9], [13, 14, 10, 19]), prompt_step(MASK))
    harvest.add(forward(2, 100, [1, 2], [7, 8]), decode_step(np.array([False, True]), np.array([2, 3])))
    return BatchRows(harvest.finish(), pa.array(["p", "q"]), np.array([1, 0]), np.array([4, 2]))


def frame(batches: Any) -> pd.DataFrame:
    return pa.Table.from_batches(list(batches)).to_pandas()


# tokens: (prompt, sample, position), and the row's first number of the forward
KEYS = [("q", 4, 0), ("q", 4, 1), ("p", 2, 0), ("p", 2, 1), ("p", 2, 2), ("p", 2, 3)]
FIRST = [0.0, 2.0, 6.0, 8.0, 10.0, 102.0]


def test_steps() -> None:
    step = prompt_step(MASK)
    assert [x.tolist() for x in step[:3]] == [[0, 1, 3, 4, 5], [0, 0, 1, 1, 1], [0, 1, 0, 1, 2]]
    assert step.n_rows == 6
    left = prompt_step(MASK[:, ::-1])
    assert [x.tolist() for x in left[:3]] == [[1, 2, 3, 4, 5], [0, 0, 1, 1, 1], [0, 1, 0, 1, 2]]
    step = decode_step(np.array([True, False, True]), np.array([5, 6, 9]))
    assert ([x.tolist() for x in step[:3]], step.n_rows) == ([[0, 2], [0, 2], [5, 9]], 3)


def test_slots(batch: BatchRows) -> None:
    found = frame(batch.slots())
    rows = [
        (*key, 4, s, int(n + s), (n + s) / 8, 10 * (n + s), 20 * (n + s), int(30 * (n + s)))
        for key, n in zip(KEYS, FIRST, strict=True)
        for s in (0, 1)
    ]
    shared = [
        (*key, 4, -1, -1, n / 16, 2 * n, 3 * n, at) for key, n, at in zip(KEYS, FIRST, [5, 6, 8, 9, 10, 6], strict=True)
    ]
    assert [tuple(row) for row in found.astype({"prompt_id": str}).values.tolist()] == [*rows, *shared]
    assert str(found["weight"].dtype) == "float32"


def test_residual_and_logits(batch: BatchRows) -> None:
    found = frame(batch.residual()).astype({"prompt_id": str})
    names = ["prompt_id", "sample", "position", "layer", "l2", "max_abs", "median_abs", "argmax"]
    assert [tuple(row) for row in found[names].values.tolist()] == [
        (*key, layer, n, n + 0.25, n + 0.5, int(n) + 1) for layer in (-1, 4) for key, n in zip(KEYS, FIRST, strict=True)
    ]
    assert found["routed_change"].isna().tolist() == [True] * 6 + [False] * 6
    assert found["routed_change"].tolist()[6:] == [n / 4 for n in FIRST]
    found = frame(batch.logits()).astype({"prompt_id": str})
    assert [tuple(row[:4]) for row in found.values.tolist()] == [(*key, 4) for key in KEYS]
    assert [x.tolist() for x in found["router_logits"]] == [[n + 0.5] for n in FIRST]


def test_outputs(batch: BatchRows) -> None:
    found = frame(batch.outputs()).astype({"prompt_id": str})
    names = ["prompt_id", "sample", "position", "layer", "slot", "expert"]
    rows = [tuple(row) for row in found[names].values.tolist()]
    assert rows[:4] == [
        ("q", 4, 1, 4, 1, 13),  # slot 3 is slot 1 of row 1
        ("q", 4, 0, 4, 0, 10),
        ("p", 2, 1, 4, 1, 19),  # slot 9 is slot 1 of row 4
        ("p", 2, 3, 4, 0, 8),  # slot 2 of the decode step is slot 0 of sequence 1
    ]
    assert [x.tolist() for x in found["output"][:4]] == [[3, -3], [0, 0], [9, -9], [102, 98]]
    assert rows[4:] == [(*key, 4, -1, -1) for key in KEYS]
    assert [x.tolist() for x in found["output"][4:]] == [[7 * n] for n in FIRST]


def test_what_is_not_finite(batch: BatchRows) -> None:
    assert list(batch.nonfinite()) == []
    batch.chunk.layers[4].weight[3, 1] = float("nan")  # p at position 1, expert 9
    batch.chunk.residual[-1].l2[[0, 1]] = float("inf")
    head = pd.DataFrame(
        {"sequence": [1], "layer": [5], "what": ["logits"], "expert": pd.array([None], "Int32"), "n_tokens": [2],
         "n_own": pd.array([None], "Int64"), "first_position": [7]}
    )  # fmt: skip
    found = frame(batch.nonfinite(head)).astype({"prompt_id": str}).astype(object)
    assert found.where(found.notna(), None).values.tolist() == [
        ["q", 4, -1, "residual", None, 2, None, 0],
        ["p", 2, 4, "weight", 9, 1, None, 1],
        ["p", 2, 5, "logits", None, 2, None, 7],
    ]


def test_tokens() -> None:
    made = token_rows(
        pa.array(["a", "b"]), np.array([1, 0]), np.array([3, 0]), np.array([2, 5]), np.array([9, 8]), pa.array(["x", "y"]),
        np.array([1, 7]), np.array([True, False]), np.array([-1.5, np.nan]),
    )  # fmt: skip
    assert made.to_pylist() == [
        {"prompt_id": "b", "sample": 3, "position": 2, "token_id": 9, "token": "x", "role": ROLES[1], "generated": True,
         "logprob": -1.5},
        {"prompt_id": "a", "sample": 0, "position": 5, "token_id": 8, "token": "y", "role": ROLES[7], "generated": False,
         "logprob": None},
    ]  # fmt: skip
    assert (ROLES[1], ROLES[7]) == ("user", "special")


def test_magnitudes() -> None:
    rows = torch.tensor([[3.0, -4.0, 0.0], [1.0, 1.0, -1.0]])
    l2, largest, channel = magnitude(rows)
    assert l2.tolist() == pytest.approx([5, 3**0.5])
    assert (largest.tolist(), channel.tolist(), channel.dtype) == ([4, 1], [1, 0], torch.int32)
    assert median_abs(torch.tensor([[3.0, -4.0, 1.0], [-2.0, 9.0, 5.0]])).tolist() == [3, 5]
    before, routed = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[-1.0, 1.0], [0.0, 4.0]])
    assert routed_change(before, routed, 1.0).tolist() == pytest.approx([1, 0], abs=1e-6)  # a right angle; none
    assert routed_change(before, routed, 0.5).tolist() == pytest.approx([1 - 0.5**0.5, 0], abs=1e-6)


class TestRecorder:
    """Two layers; index [2 rows, 2 slots] with experts 4, 1 and 0, 4."""

    index = torch.tensor([[4, 1], [0, 4]])

    def recorder(self, *keep: str, **how: Any) -> Recorder:
        made = Recorder(frozenset(keep), (1, 2), multipliers={1: 2.0}, **how)
        for layer in (1, 2):
            made.see_slots(layer, self.index, torch.ones(2, 2))
        return made

    def test_what_is_kept_where(self) -> None:
        made = self.recorder("logits", "outputs", layers=frozenset({2}))
        asked = [made.wants(what, layer) for what in ("logits", "outputs", "norms", "residual") for layer in (1, 2)]
        assert asked == [False, True, False, True, False, False, False, False]
        assert self.recorder("norms", layers=frozenset({2})).wants("norms", 1)
        assert [self.recorder(*k).wants_outputs for k in ((), ("norms",), ("outputs",), ("logits",))] == [
            False,
            True,
            True,
            False,
        ]
        for layer in (1, 2):
            made.see_logits(layer, torch.ones(2, 5))
            made.see_outputs(layer, torch.ones(4, 3), torch.arange(4))
        layers = made.take().layers
        assert [(x.logits is None, x.outputs is None, x.output_l2 is None) for x in layers.values()] == [
            (True, True, True),
            (False, False, True),
        ]

    def test_outputs_in_parts_and_of_chosen_experts(self) -> None:
        outputs = torch.arange(12.0).view(4, 3)
        made = self.recorder("norms", "outputs", experts=frozenset({(1, 4), (2, 0), (1, -1)}))
        order = torch.tensor([2, 0, 3, 1])  # as some implementation goes through the slots
        for layer in (1, 2):
            made.see_outputs(layer, outputs[order[:3]], order[:3])
            made.see_outputs(layer, outputs[order[3:]], order[3:])
            made.finish_slots(layer)
            for number in (1, 0):
                made.see_shared(layer, number, outputs.view(2, 2, 3) * (number + 1))
        made.see_gate(2, torch.zeros(2, 2, 1))
        first, second = made.take().layers.values()
        assert [x.tolist() for x in first.outputs[:2]] == [[0, 3], [4, 4]]  # type: ignore[index]
        assert first.outputs.vectors.tolist() == [[0, 1, 2], [9, 10, 11]]  # type: ignore[union-attr]
        assert [x.tolist() for x in second.outputs] == [[2], [0], [[6, 7, 8]]]  # type: ignore[union-attr]
        for found in (first.output_l2, first.output_max_abs, first.output_argmax):
            assert found is not None
            assert found.shape == (2, 2)
        assert first.output_max_abs.tolist() == [[2, 5], [8, 11]]  # type: ignore[union-attr]
        assert first.output_l2.view(-1).tolist() == pytest.approx([x.norm().item() for x in outputs])  # type: ignore[union-attr]
        assert [s.vectors is None for s in (*first.shared, *second.shared)] == [False, True, True, True]
        assert [s.weight.tolist() for s in first.shared] == [[1] * 4] * 2
        assert [s.weight.tolist() for s in second.shared] == [[0.5] * 4] * 2
        assert first.shared[1].size.max_abs.tolist() == [4, 10, 16, 22]  # type: ignore[union-attr]

    def test_the_residual_stream(self) -> None:
        made = self.recorder("residual")
        for layer in (1, 2):
            made.see_before(layer, torch.tensor([[[1.0, 0.0]]]))
            made.see_routed(layer, torch.tensor([[-0.5, 0.5]]))
            made.see_residual(layer, torch.tensor([[[3.0, -4.0]]]))
        made.see_residual(-1, torch.ones(1, 1, 2))
        residual = made.take().residual
        assert list(residual) == [-1, 1, 2]
        assert (residual[1].l2.tolist(), residual[1].max_abs.tolist(), residual[1].argmax.tolist()) == ([5], [4], [1])
        assert residual[1].median_abs.tolist() == [3]
        assert residual[1].routed_change.tolist() == pytest.approx([1], abs=1e-6)  # type: ignore[union-attr]
        assert (residual[2].routed_change, residual[-1].routed_change) == (None, None)
        assert made.routed() == {}

    def test_a_silent_layer(self) -> None:
        made = self.recorder()
        made.begin()
        made.see_slots(2, self.index, torch.ones(2, 2))
        with pytest.raises(
            WorkbenchError, match=r"^Layers \[1\] routed nothing that we could see; run `workbench inspect` on"
        ):
            made.take()
