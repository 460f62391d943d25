"""Records of forwards put behind each other and changed as wholes: by hand, nothing lost, nothing of one field in another."""

import pytest
import torch

from workbench.records import Harvest, LayerRecord, Magnitude, OutputRows, ResidualRecord, SharedRecord, prompt_step


def numbers(start: float, rows: int, width: int) -> torch.Tensor:
    return (start + torch.arange(rows * width)).view(rows, width)


def layer(start: int, rows: int, slots: list[int]) -> LayerRecord:
    """Two slots a row; field n begins at `start` + 100 n, so that no field can pass for another."""
    at = [numbers(start + 100 * n, rows, 2) for n in range(6)]
    line = [numbers(start + 100 * n, rows, 1).view(-1) for n in range(6, 10)]
    outputs = OutputRows(torch.tensor(slots), torch.tensor(slots) + 50, numbers(start + 1000, len(slots), 3))
    shared = SharedRecord(line[0], Magnitude(*line[1:]), numbers(start + 1100, rows, 3))
    return LayerRecord(*at, outputs=outputs, shared=(shared,))


def test_rows_come_behind_each_other_and_slots_are_numbered_on() -> None:
    one, two, three = layer(0, 2, [3, 0]), layer(20, 1, [1]), layer(40, 3, [0, 5])
    found = LayerRecord.joined([one, two, three])
    for name in ("index", "weight", "logits", "output_l2", "output_max_abs", "output_argmax"):
        assert torch.equal(getattr(found, name), torch.cat([getattr(x, name) for x in (one, two, three)])), name
    assert found.outputs is not None
    assert found.outputs.slots.tolist() == [3, 0, 4 + 1, 6 + 0, 6 + 5]
    assert found.outputs.experts.tolist() == [53, 50, 51, 50, 55]
    assert found.outputs.vectors[:, 0].tolist() == [1000, 1003, 1020, 1040, 1043]
    (shared,) = found.shared
    assert shared.weight.tolist() == [600, 601, 620, 640, 641, 642]
    assert shared.size is not None
    assert [x[0].item() for x in shared.size] == [700, 800, 900]
    assert shared.vectors is not None
    assert shared.vectors[:, 0].tolist() == [1100, 1103, 1120, 1140, 1143, 1146]
    assert LayerRecord.joined([one]) is one


def test_a_forward_without_outputs_counts_its_slots_all_the_same() -> None:
    one, two = layer(0, 2, [3]), layer(20, 1, [1])
    one.outputs = None
    joined = LayerRecord.joined([one, two]).outputs
    assert joined is not None
    assert joined.slots.tolist() == [4 + 1]


def test_what_one_forward_lacks_is_no_shorter_column() -> None:
    one, two = layer(0, 2, [3]), layer(20, 1, [1])
    two.logits = None
    with pytest.raises(AssertionError, match="kept in some of the forwards alone"):
        LayerRecord.joined([one, two])
    two = layer(20, 1, [1])
    two.shared = (two.shared[0]._replace(size=None),)
    with pytest.raises(AssertionError, match="kept in some of the forwards alone"):
        LayerRecord.joined([one, two])


def test_each_changes_every_tensor_and_nothing_else() -> None:
    found = layer(0, 2, [3, 0]).each(lambda x: -x)
    again = found.each(lambda x: -x)
    assert found.index.tolist() == [[0, -1], [-2, -3]]
    kept = layer(0, 2, [3, 0])
    assert again.outputs is not None
    assert kept.outputs is not None
    assert all(map(torch.equal, again.outputs, kept.outputs))
    assert again.size is not None
    assert kept.size is not None
    assert all(map(torch.equal, again.size, kept.size))
    assert [x[1].item() for x in found.shared[0].size or ()] == [-701, -801, -901]
    bare = LayerRecord(kept.index, kept.weight).each(lambda x: x + 1)
    assert (bare.logits, bare.size, bare.outputs, bare.shared) == (None, None, None, ())


def test_the_stream() -> None:
    one = ResidualRecord(*(torch.tensor([n, n + 1.0]) for n in range(0, 50, 10)))
    found = ResidualRecord.joined([one, one.each(lambda x: x + 5)])
    assert [x.tolist() for x in found if x is not None] == [[n, n + 1, n + 5, n + 6] for n in range(0, 50, 10)]
    assert ResidualRecord.joined([one._replace(routed_change=None)] * 2).routed_change is None
    with pytest.raises(AssertionError, match="kept in some of the forwards alone"):
        ResidualRecord.joined([one, one._replace(routed_change=None)])


def test_a_chunk_is_as_the_store_has_it() -> None:
    """float32 and int32, whatever the model computed in: norms in float64, say, and int64 experts."""
    from workbench.records import ForwardRecord

    harvest = Harvest()
    record = layer(0, 2, [1]).each(lambda x: x.double())
    record.index = record.index.long()
    harvest.add(ForwardRecord({0: record}, {}), prompt_step(torch.tensor([[1, 1]]).numpy()))
    chunk = harvest.finish()
    chunk.ready()
    assert (chunk.layers[0].weight.dtype, chunk.layers[0].index.dtype) == (torch.float32, torch.int32)
