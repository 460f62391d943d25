"""What a forward's requests selected, cut out of one copy for all of them: each has its own rows of each of its layers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from workbench.records import LayerRecord
from workbench.serving.steps import Slots, Span, apart

TOP_K, EXPERTS, TOKENS = {1: 2, 4: 3}, {1: 5, 4: 7}, 9


@pytest.fixture
def layers() -> dict[int, Any]:
    """Two layers of other sizes, whose values are all different."""
    made, count = dict[int, Any](), 0
    for n, k in TOP_K.items():
        sizes = (TOKENS * k, TOKENS * k, TOKENS * EXPERTS[n])
        parts = [torch.arange(count + i * 1000, count + i * 1000 + size) for i, size in enumerate(sizes)]
        kept = LayerRecord(parts[0].view(-1, k), parts[1].view(-1, k) / 8, parts[2].view(-1, EXPERTS[n]) / 8)
        made[n], count = SimpleNamespace(number=n, top_k=k, n_experts=EXPERTS[n], kept=kept), count + 10_000
    return made


def spans(*places: tuple[int, int]) -> list[Span]:
    """A request for each (first row in the forward, tokens)."""
    return [Span(f"r{at}", at, np.arange(n)) for at, n in places]


@pytest.mark.parametrize("wanted", [(), (1,), (4,), (1, 4), (9,)])
@pytest.mark.parametrize("places", [[(0, 9)], [(2, 3)], [(0, 4), (4, 1), (5, 4)], [(1, 2), (7, 2)], [(6, 3), (0, 1)]])
def test_each_has_its_own_rows(layers: dict[int, Any], places: list[tuple[int, int]], wanted: tuple[int, ...]) -> None:
    own = spans(*places)
    slots = Slots(layers, own)
    for span in reversed(own):  # whoever is asked first
        piece = apart(slots.of(span, wanted), layers)
        expected = {}
        for n, layer in layers.items():
            expected |= {f"index {n}": layer.kept.index[span.rows], f"weight {n}": layer.kept.weight[span.rows]}
            expected |= {f"logits {n}": layer.kept.logits[span.rows]} if n in wanted else {}
        assert piece.arrays.keys() == expected.keys()
        for name, found in piece.arrays.items():
            assert found.tolist() == expected[name].tolist(), name
        assert piece.request == span.request


def test_of_logits_that_nobody_kept_there_are_none_and_ids_stay(layers: dict[int, Any]) -> None:
    layers[4].kept = LayerRecord(layers[4].kept.index, layers[4].kept.weight)
    (span,) = spans((3, 2))
    span = span._replace(ids=np.array([7, 8]))
    found = apart(Slots(layers, [span]).of(span, (1, 4)), layers).arrays
    assert {name for name in found if name.startswith("logits")} == {"logits 1"}
    assert found["ids"].tolist() == [7, 8]
