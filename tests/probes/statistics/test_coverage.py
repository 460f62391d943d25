"""95 % intervals cover 95 % where prompts hang together, and would not if pairs or clusters were forgotten.

`python -m tests.coverage` simulates every design and every probe 1,000 times; here are the two that tell the mistakes apart.
"""

import numpy as np
import pytest

from tests import coverage
from tests.coverage import Design, crossing, designs

TIMES = 400
LEAST, MOST = 0.92, 0.98
"""Of 400 intervals that hold 95 %: fewer than 368 or more than 392 have probability 0.01. The seeds are fixed, and what they give
lies six intervals or more from either, so the last digit of a processor decides nothing."""


def chosen() -> dict[str, Design]:
    return {"refusal": designs()["refusal"], "crossing": crossing(15)}


@pytest.mark.parametrize("name", ["refusal", "crossing"])
@pytest.mark.parametrize("measure", ["compare, a number", "ftri", "contrast"])
def test_intervals_cover(name: str, measure: str) -> None:
    found = coverage.MEASURES[measure](chosen()[name], TIMES, np.random.default_rng(1))
    assert LEAST <= found <= MOST, found


@pytest.mark.parametrize("name", ["refusal", "crossing"])
def test_intervals_of_rare_changes_cover(name: str) -> None:
    """At least: a share of so few is either covered too often or too seldom."""
    assert coverage.compare_rare(chosen()[name], TIMES, np.random.default_rng(1)) >= LEAST


@pytest.mark.parametrize("name", ["refusal", "crossing"])
def test_a_null_is_rejected_five_times_in_a_hundred(name: str) -> None:
    found = coverage.null_rejected(chosen()[name], TIMES, np.random.default_rng(2))
    assert 0.02 <= found <= 0.08, found


@pytest.mark.parametrize("name", ["refusal", "crossing"])
def test_pairs_alone_would_be_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above can fail: with pairs resampled, and each exchanged by itself, far fewer cover and far more reject."""
    design = chosen()[name]
    pairs = np.unique(np.array([p or "none" for p in design.pair]), return_inverse=True)[1]
    monkeypatch.setattr(coverage, "groups", lambda design: pairs)
    found = coverage.compare_number(design, TIMES // 2, np.random.default_rng(1))
    assert found < LEAST - 0.02, found


def test_the_designs_hang_together_as_the_product_finds_them() -> None:
    for design in designs().values():
        truth, found = design.truth, coverage.groups(design)
        assert len(set(zip(truth.tolist(), found.tolist(), strict=True))) == truth.max() + 1 == found.max() + 1
        who = coverage.of_store(design).cluster
        assert len(set(zip(truth.tolist(), who.tolist(), strict=True))) == truth.max() + 1
