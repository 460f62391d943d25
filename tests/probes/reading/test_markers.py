"""Markers: spelled by a run of tokens, inside words, across sequences, and only mentioned."""

import numpy as np
import pytest

from probes import npmi
from probes.reading import find_marker, select
from probes.reading.markers import spelled
from tests.probes.reading.made import where, words
from workbench.errors import WorkbenchError


@pytest.mark.parametrize(
    ("texts", "marker", "found"),
    [
        (["a", "<thi", "nk", ">", "b"], "<think>", [3]),
        (["a<thi", "nk>b"], "<think>", [1]),  # its ends are shared with what stands around
        (["x", "</", "think", ">", "</", "think", ">"], "</think>", [3, 6]),
        (["con", "cat", "s"], "cat", [1]),
        (["con", "ca", "t"], "cat", [2]),
        (["conca", "t"], "cat", []),  # inside a word
        (["ca", "ts"], "cat", []),  # the word goes on
        ([" ca", "t"], "cat", [1]),
        (["-ca", "t"], "cat", []),
        (["so", " what", " is", "?"], "what is", [2]),
        (["aa"], "", []),
        (["xyz", "w"], "q", []),
    ],
)
def test_a_marker_is_spelled_by_a_run_of_tokens(texts: list[str], marker: str, found: list[int]) -> None:
    assert np.flatnonzero(spelled(texts, np.zeros(len(texts), int), marker)).tolist() == found


def test_no_marker_is_spelled_across_two_sequences() -> None:
    texts = ["<thi", "nk>", "<thi", "nk>"]
    assert np.flatnonzero(spelled(texts, np.array([0, 1, 1, 1]), "<think>")).tolist() == [3]


def test_a_marker_by_its_number_or_text_among_the_tokens_read() -> None:
    store = words("aba|b/ab")
    every = np.ones(6, bool)
    assert where(store, find_marker(store, ord("b"), every)) == ["p0:1", "p0:3", "p1:1"]
    assert where(store, find_marker(store, "b", select(store, "prompt"))) == ["p0:1", "p1:1"]
    with pytest.raises(
        WorkbenchError, match=r"The marker '98' is at none of the 1 tokens read of 'memory'; tokens with angle "
    ):
        find_marker(store, 98, np.arange(6) == 0)
    with pytest.raises(
        WorkbenchError, match=r"'<thonk>' is at none of the 3 tokens read of 'memory'; did you mean '<think>'"
    ):
        find_marker(words("aT|b"), "<thonk>", np.ones(3, bool))
    with pytest.raises(WorkbenchError, match=r"tokens with angle brackets are none\."):
        find_marker(store, "q", every)


def test_a_marker_that_is_only_mentioned_counts_as_a_token_alone() -> None:
    store, quick = words("aMb|Tc/ab|Tc"), {"n_permutations": 0, "n_bootstrap": 0}
    assert npmi(store, token="<think>", **quick).notes[0] == "<think>: 3 occurrences in 2 responses"
    assert npmi(store, {"<think>": 1}, **quick).notes[0] == "<think>: 2 occurrences in 2 responses"
