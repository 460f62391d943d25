"""A part of the grid (`python -m tests.real.grid` is the whole): exactly the writers are flagged, however neurons are dealt."""

from typing import Any

import pytest
import torch

from tests.real.grid import LAYER, SIZES, WHOLE, found, grouped, of_ordinary_size, texts, two_writers
from tests.real.groups import Watched, added, watched

pytestmark = [pytest.mark.real, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def dense(smollm2: tuple[Any, Any]) -> tuple[Any, Watched, list[int]]:
    """The model, its forwards, and the two neurons that write the massive activation."""
    model, tokenizer = smollm2
    neurons = two_writers(model, tokenizer)
    assert len(neurons) == 2
    return model, watched(model, texts(tokenizer)), neurons


@pytest.mark.parametrize("size", sorted(SIZES))
def test_exactly_the_experts_that_write_it_are_flagged(dense, size) -> None:
    model, seen, neurons = dense
    all_found = [found(model, seen, neurons, size, seed) for seed in range(5)] + [
        found(model, seen, neurons, size, 7, WHOLE)
    ]
    for one in all_found:
        assert one.flagged == one.truth
        assert one.forming == (LAYER,)
        assert one.together == (one.truth if len(one.truth) == 2 else [])
        assert one.paper == one.truth or len(one.truth) == 2  # its percentile lets the largest pass alone


def test_both_kinds_of_grouping_are_among_those_looked_at(dense) -> None:
    model, seen, neurons = dense
    truths = [found(model, seen, neurons, (8, 1), seed).truth for seed in range(5)]
    assert {len(truth) for truth in truths} == {1, 2}


def test_nothing_is_flagged_on_the_twin(dense, smollm2) -> None:
    model, _, neurons = dense
    with of_ordinary_size(model, neurons):
        seen = watched(model, texts(smollm2[1]))
        for size in ((8, 1), (32, 0)):
            one = found(model, seen, neurons, size, seed=0)
            assert (one.flagged, one.forming) == ([], ())


@torch.no_grad()
def test_the_groups_add_up_to_what_the_layer_adds(dense) -> None:
    model, seen, _ = dense
    for size in ((8, 1), (32, 4)):
        parts = added(model.model.layers[LAYER], seen.inner[LAYER], grouped(*size, seed=5)[LAYER])
        whole = model.model.layers[LAYER].mlp.down_proj(seen.inner[LAYER])
        assert torch.allclose(parts.sum(0), whole, rtol=1e-3, atol=0.05)
