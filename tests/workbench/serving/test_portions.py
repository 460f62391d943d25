"""What is handed over of a batch: each token once, in order, with the token that its forward made; forwards by hand."""

from typing import Any

import numpy as np

from workbench.backends import Keep
from workbench.routing import Dose
from workbench.serving.client.portions import Given, News, Portions
from workbench.serving.taken import Piece, packed, unpacked

LAYER = 3


def piece(start: int, stop: int, request: str = "r", changed: int = 0) -> Piece:
    """Position p went to the experts p and p + 1."""
    at = np.arange(start, stop)
    arrays = {f"index {LAYER}": np.stack([at, at + 1], 1), f"weight {LAYER}": np.stack([at, -at], 1).astype(np.float32)}
    return Piece(request, at, {**arrays, "changed": np.full(len(at), changed), "emptied": np.zeros(len(at), int)})


def news(ids: list[int], ends: bool = False, sequence: int = 0) -> News:
    return News(sequence, ids, [-0.5] * len(ids), [[] for _ in ids], ends)


def portions(*given: Given, doses: Any = None) -> Portions:
    return Portions(list(given), {LAYER: 2}, Keep(), doses or [None] * len(given))


def positions(found: Any) -> list[int]:
    return [] if found is None else found.where.position.tolist()


def test_a_prompt_in_chunks_waits_for_the_token_that_it_makes() -> None:
    made = portions(Given(5, generates=True, is_kept=True))
    assert made.portion([], {0: [piece(0, 3)]}) is None
    found = made.portion([news([7])], {0: [piece(3, 5)]})
    assert positions(found) == [0, 1, 2, 3, 4]
    assert found is not None
    assert found.record is not None
    assert found.record.layers[LAYER].index.tolist() == [[p, p + 1] for p in range(5)]
    assert found.made is not None
    assert (found.made.id.tolist(), found.made.ends.tolist()) == ([7], [False])


def test_what_runs_ahead_waits_and_what_is_behind_the_end_is_left_out() -> None:
    made = portions(Given(2, generates=True, is_kept=True))
    assert positions(made.portion([news([7])], {0: [piece(0, 4)]})) == [0, 1]
    assert positions(made.portion([news([8, 9], ends=True)], {0: [piece(4, 6)]})) == [2, 3]


def test_what_is_forwarded_again_is_handed_over_once() -> None:
    made = portions(Given(3, generates=True, is_kept=True))
    assert positions(made.portion([news([7])], {0: [piece(0, 3)]})) == [0, 1, 2]
    assert positions(made.portion([news([8])], {0: [piece(0, 4)]})) == [3]  # preempted, and begun anew


def test_a_row_that_is_read_has_all_its_tokens() -> None:
    made = portions(Given(3, generates=False, is_kept=True))
    found = made.portion([news([7], ends=True)], {0: [piece(0, 3)]})
    assert positions(found) == [0, 1, 2]
    assert found is not None
    assert found.made is None


def test_rows_of_which_nothing_is_kept_are_counted() -> None:
    dose = Dose(4)
    made = Portions([Given(3, True, False), Given(2, True, True)], {LAYER: 2}, None, [dose, dose])
    found = made.portion([news([7]), news([9], sequence=1)], {1: [piece(0, 2, changed=2)]})
    assert positions(found) == [0, 1, 2, 0, 1]
    assert found is not None
    assert found.where.sequence.tolist() == [0, 0, 0, 1, 1]
    assert found.record is None
    assert dose.counts()[:4] == (5, 2, 20, 4)


def test_pieces_go_to_another_process_and_back() -> None:
    sent = [piece(0, 3, "a"), piece(2, 3, "b"), Piece("c", np.arange(0), {})]
    back = unpacked(packed(sent))
    assert [p.request for p in back] == ["a", "b", "c"]
    for one, other in zip(sent, back, strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        assert one.arrays.keys() == other.arrays.keys()
        assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    assert unpacked(packed([])) == []
