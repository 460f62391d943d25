"""Turns at the model end with their block, and who left is out of the queue."""

import pytest
from workbench_app.dashboard.session import Left
from workbench_app.dashboard.session.turns import Turns


def test_turns_end_with_the_block_and_whoever_left_is_out_of_the_queue():
    turns, mine, other = Turns(), object(), object()
    with turns.turn(mine):
        assert (turns.place(mine), turns.place(other), turns.waiting) == (0, None, 1)
        with pytest.raises(Left), turns.turn(other, lambda: turns.place(other) == 1):
            raise AssertionError("it is not its turn")
        assert turns.waiting == 1
    with pytest.raises(ValueError, match="x"), turns.turn(mine):
        raise ValueError("x")
    assert turns.waiting == 0
