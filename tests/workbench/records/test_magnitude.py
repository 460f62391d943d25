"""Magnitudes against their definition, over ties, zeros, infinities, NaN and narrow floats."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.records import magnitude
from workbench.records import magnitudes as module

_NEAR = [1 + 2**-23, -1 - 2**-22]  # what differs from 1 in the last bits of a float32 alone
_VALUES = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, *_NEAR, 2.5, -2.5, 1e-30, 3e4, float("inf"), -float("inf"), float("nan")]
)
_ROWS = st.integers(1, 9).flatmap(
    lambda width: st.lists(st.lists(_VALUES, min_size=width, max_size=width), max_size=12)
)


def _by_definition(row):
    """Norm, largest |value| and its first channel; a NaN is larger than everything, as numpy and torch have it."""
    sizes = [abs(value) for value in row]
    at = next((i for i, size in enumerate(sizes) if size != size), sizes.index(max(sizes)))
    return sum(size**2 for size in sizes) ** 0.5, sizes[at], at


@example(
    [[0.1, 0.3, 0.7], [1.0, *_NEAR], [_NEAR[1], 1.0, 0.5], [0.0, -0.0, 0.0], [0.5, -1.0, 1.0]], torch.float32, 6
)  # last bits decide
@given(_ROWS, st.sampled_from([torch.float32, torch.bfloat16, torch.float16]), st.integers(1, 40))
def test_it_is_norm_largest_size_and_first_channel_of_it(rows, dtype, chunk):
    vectors = torch.tensor(rows, dtype=dtype).reshape(len(rows), len(rows[0]) if rows else 3)
    size, module.VALUES_AT_ONCE = module.VALUES_AT_ONCE, chunk
    try:
        found = magnitude(vectors)
    finally:
        module.VALUES_AT_ONCE = size
    wanted = [_by_definition(row) for row in vectors.tolist()]
    assert (found.l2.dtype, found.max_abs.dtype, found.argmax.dtype) == (torch.float32, torch.float32, torch.int32)
    assert found.argmax.tolist() == [at for _, _, at in wanted]
    torch.testing.assert_close(found.max_abs, torch.tensor([m for _, m, _ in wanted]), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(found.l2, torch.tensor([n for n, _, _ in wanted]), equal_nan=True)
    assert not torch.signbit(found.max_abs).logical_and(found.max_abs == 0).any()


def test_of_several_nan_the_first_counts_whatever_their_bits():
    bits = [[0x3F800000, 0x7FC00000, 0x7FC00001], [0x7F800000, 0x7FFFFFFF, 0x7FC00000], [0, -1, 0x7FC00000]]
    found = magnitude(torch.tensor(bits, dtype=torch.int32).view(torch.float32))
    assert found.argmax.tolist() == [1, 1, 1]
    assert found.max_abs.isnan().all()


@pytest.mark.parametrize("width", [1, 300, 2048])
def test_wide_vectors_in_several_chunks(width, monkeypatch):
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 4 * width)
    vectors = torch.randn(11, width, generator=torch.Generator().manual_seed(0))
    vectors[3, -1], vectors[8, width // 2] = -9.0, 9.0
    sizes = vectors.abs().numpy()
    found = magnitude(vectors)
    assert found.argmax.tolist() == sizes.argmax(1).tolist()
    assert found.max_abs.tolist() == sizes.max(1).tolist()
    torch.testing.assert_close(found.l2, vectors.double().square().sum(1).sqrt().float())


def test_vectors_without_a_channel_are_of_size_zero():
    found = magnitude(torch.zeros(2, 0))
    assert [column.tolist() for column in found] == [[0, 0], [0, 0], [0, 0]]
    assert [column.tolist() for column in magnitude(torch.zeros(0, 3))] == [[], [], []]


def test_it_is_float32_whatever_torch_makes_by_default():
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        found = magnitude(torch.full((2, 3), 0.3, dtype=torch.float32))
        assert (found.l2.dtype, found.max_abs.dtype) == (torch.float32, torch.float32)
        assert found.max_abs.tolist() == torch.full((2,), 0.3, dtype=torch.float32).tolist()
    finally:
        torch.set_default_dtype(default)
