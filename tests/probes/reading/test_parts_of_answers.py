"""Which tokens are read: where the answer begins, what prompts share, responses without any."""

import numpy as np
import pytest

from probes import ftri
from probes.reading import describe, select, shared_end
from probes.reading.shared_end import common_end
from tests.probes.reading.made import where, words
from workbench.errors import WorkbenchError


def test_the_answer_begins_after_thoughts_and_blanks() -> None:
    store = words("ab|T_xy/ab/ab|x/ab|Ts_")
    # p0: x at 4, decided at 3; p1 holds no response: the last prompt token; p2: decided at 1; p3 never says anything
    assert where(store, select(store, "first_answer")) == ["p0:3", "p1:1", "p2:1"]
    assert where(store, select(store, "first_generated")) == ["p0:2", "p2:2", "p3:2"]
    assert where(store, select(store, "last_prompt")) == ["p0:1", "p1:1", "p2:1", "p3:1"]


def test_the_frame_is_what_all_used_prompts_share() -> None:
    store = words("sawb/sbxa/scya")
    used = np.array([True, True, False])
    assert where(store, select(store, "frame", None, used)) == ["p0:1", "p0:3", "p1:1", "p1:3"]
    assert where(store, select(store, "frame")) == ["p0:1", "p1:3", "p2:3"]
    with pytest.raises(
        WorkbenchError, match="No token is common to all 2 prompts, so there is no sentence frame; read tokens="
    ):
        select(words("ab/cd"), "frame")
    with pytest.raises(WorkbenchError, match=r"is in tokens='a mask of 0 tokens' with role user, think; read"):
        select(store, np.zeros(12, bool), ["user", "think"])
    assert describe(np.array([True, True, False])) == "a mask of 2 tokens"
    with pytest.raises(WorkbenchError, match=r"tokens has shape \[12\] of int64; it needs a name"):
        select(store, np.zeros(12, int))


def test_what_two_prompts_of_a_pair_end_with() -> None:
    assert common_end([[1, 2, 3], [9, 2, 3]]) == 2
    assert common_end([[2, 3], [1, 2, 3], [3]]) == 1
    assert common_end([[1], [2]]) == 0
    store = words("abcd|c/xcd|d/ad/zzd/d|d", pair=["k", "k", "k", "m", None])
    classes = np.array([0, 1, -1, 0, 1])
    assert where(store, shared_end(store, classes)) == ["p0:2", "p0:3", "p1:1", "p1:2"]
    # with the third prompt compared too, all end with one token only
    assert where(store, shared_end(store, np.array([0, 1, 1, 0, 1]))) == ["p0:3", "p1:2", "p2:1"]
    with pytest.raises(WorkbenchError, match="No pair of 'memory' has two compared prompts that end alike"):
        shared_end(store, np.array([0, 0, -1, 0, 1]))  # both of one class


def test_responses_without_a_token_to_read_are_counted() -> None:
    store = words("ab|xy/ab/ab|xy/ab|xy/ab", verdict=["yes", "yes", "no", "yes", "no"])
    asked = {"tokens": "response", "n_permutations": 0, "n_bootstrap": 0}
    assert ftri(store, "yes", "no", **asked).notes[:3] == (
        "yes: 2 responses, 2.0 tokens read on average", "no: 1 responses, 2.0 tokens read on average",
        "2 responses had no token to read and were left out",
    )  # fmt: skip
    silent = words("ab|xy/ab/ab/ab|xy/ab", verdict=["yes", "yes", "no", "yes", "no"])
    with pytest.raises(WorkbenchError, match="there are 2 of 'yes', 0 of 'no', and each class needs one or more"):
        ftri(silent, "yes", "no", **asked)
