"""From a record to the rows of a store: a shared expert's sizes and a routed one's, worked out by hand, padding left out."""

import numpy as np
import pyarrow as pa
import torch

from workbench.capturing.rows import BatchRows
from workbench.records import ForwardRecord, Harvest, LayerRecord, Magnitude, ResidualRecord, SharedRecord, prompt_step

# two sequences of three and two tokens, padded on the right to three: rows 0 1 2 and 3 4, row 5 is padding
MASK = np.array([[1, 1, 1], [1, 1, 0]])
# l2, largest |value| and its channel of (3, -4), (0, 2), (-1, 0), (6, 8), (5, 12) and of what padding computed
SIZES = Magnitude(
    torch.tensor([5.0, 2.0, 1.0, 10.0, 13.0, 99.0]),
    torch.tensor([4.0, 2.0, 1.0, 8.0, 12.0, 98.0]),
    torch.tensor([1, 1, 0, 1, 1, 0], dtype=torch.int32),
)
EXPERT, WEIGHT = (
    torch.tensor([[2], [0], [1], [1], [2], [0]]),
    torch.tensor([[0.5], [0.25], [1.0], [0.75], [0.125], [9.0]]),
)
GATE = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.9])


def rows() -> BatchRows:
    routed = LayerRecord(
        EXPERT, WEIGHT, None, SIZES.l2[:, None] + 100, SIZES.max_abs[:, None] + 200, SIZES.argmax[:, None] + 2
    )
    routed.shared = (SharedRecord(GATE, SIZES, None),)
    residual = ResidualRecord(SIZES.l2 + 300, SIZES.max_abs + 400, SIZES.l2 + 500, SIZES.argmax + 4, GATE)
    harvest = Harvest()
    harvest.add(ForwardRecord({1: routed}, {1: residual}), prompt_step(MASK))
    return BatchRows(harvest.finish(), pa.array(["p", "q"]), np.array([0, 1]), np.array([0, 0]))


def columns(batches: object, names: list[str]) -> list[tuple[object, ...]]:
    table = pa.Table.from_batches(list(batches))  # pyright: ignore[reportArgumentType]
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_a_shared_experts_slot_has_its_own_norm_its_own_largest_value_and_its_channel() -> None:
    names = ["prompt_id", "position", "slot", "expert", "output_l2", "output_max_abs", "output_argmax"]
    found = [row for row in columns(rows().slots(), names) if row[2] == -1]
    assert found == [
        ("p", 0, -1, -1, 5.0, 4.0, 1),
        ("p", 1, -1, -1, 2.0, 2.0, 1),
        ("p", 2, -1, -1, 1.0, 1.0, 0),
        ("q", 0, -1, -1, 10.0, 8.0, 1),
        ("q", 1, -1, -1, 13.0, 12.0, 1),
    ]
    weights = [row for row in columns(rows().slots(), ["slot", "weight"]) if row[0] == -1]
    assert [round(float(str(weight)), 6) for _, weight in weights] == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_routed_slot_has_its_own() -> None:
    names = ["prompt_id", "position", "slot", "expert", "weight", "output_l2", "output_max_abs", "output_argmax"]
    assert [row for row in columns(rows().slots(), names) if row[2] == 0] == [
        ("p", 0, 0, 2, 0.5, 105.0, 204.0, 3),
        ("p", 1, 0, 0, 0.25, 102.0, 202.0, 3),
        ("p", 2, 0, 1, 1.0, 101.0, 201.0, 2),
        ("q", 0, 0, 1, 0.75, 110.0, 208.0, 3),
        ("q", 1, 0, 2, 0.125, 113.0, 212.0, 3),
    ]


def test_the_stream_has_each_quantity_in_its_column() -> None:
    names = ["prompt_id", "position", "layer", "l2", "max_abs", "median_abs", "argmax"]
    assert columns(rows().residual(), names) == [
        ("p", 0, 1, 305.0, 404.0, 505.0, 5),
        ("p", 1, 1, 302.0, 402.0, 502.0, 5),
        ("p", 2, 1, 301.0, 401.0, 501.0, 4),
        ("q", 0, 1, 310.0, 408.0, 510.0, 5),
        ("q", 1, 1, 313.0, 412.0, 513.0, 5),
    ]
