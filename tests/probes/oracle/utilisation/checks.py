"""What every table of use must equal, as functions of the package under test."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.probes.oracle.cases import Case
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.structure.checks import assert_pairs, pairs
from tests.probes.oracle.utilisation import brute
from workbench.errors import WorkbenchError

COLUMNS = ("n", "share", "expected", "lift")


def routing_entropy_equals_brute(probes: ModuleType, case: Case, tokens: str) -> None:
    expected = brute.routing_entropy(case.rows, case.experts, tokens)
    found = asked(lambda: probes.routing_entropy(case.store, tokens=tokens, n_bootstrap=20), expected)
    if expected is not None:
        assert_rows(found, ("layer",), expected)
        frame = found.frame.dropna()
        assert (frame["low"] <= frame["token_entropy_bits"] + 1e-9).all()
        assert (frame["token_entropy_bits"] <= frame["high"] + 1e-9).all()


def co_selection_equals_brute(probes: ModuleType, case: Case, tokens: str, first: int = 0) -> None:
    """All pairs, and again the first of them alone, of all layers and of each."""
    expected = brute.co_selection(case.rows, case.experts, tokens)
    found = asked(lambda: probes.co_selection(case.store, tokens=tokens, first=0), expected)
    if expected is None:
        return
    got = pairs(found, *COLUMNS)
    assert_pairs(got, expected)
    assert [*got] == [*expected]
    few = probes.co_selection(case.store, tokens=tokens, first=3).frame
    assert few.equals(found.frame.head(3))
    for layer in case.experts:
        alone = pairs(probes.co_selection(case.store, layer, tokens=tokens, first=first), *COLUMNS)
        own = [place for place in expected if place[0] == layer]
        assert [*alone] == own[: first or None]


def dead_experts_equals_brute(probes: ModuleType, case: Case, tokens: str) -> None:
    expected = brute.dead_experts(case.rows, case.experts, tokens)
    found = asked(lambda: probes.dead_experts(case.store, tokens=tokens), expected)
    if expected is not None:
        rows = [*found.frame.itertuples(index=False, name=None)]
        assert rows == [("dead", *row) for row in expected]
        assert [(ref.layer, ref.expert) for ref in found.experts()] == [row[:2] for row in expected]


def asked(ask: Callable[[], Any], expected: Any) -> Any:
    """What is found; where nothing is expected (None), that a user is told why."""
    try:
        found = ask()
    except WorkbenchError:
        assert expected is None
        return None
    assert expected is not None, "the question cannot be asked, and no error was raised"
    return found


CHECKS = {
    "routing_entropy": lambda probes, case: routing_entropy_equals_brute(probes, case, "prompt"),
    "co_selection": lambda probes, case: co_selection_equals_brute(probes, case, "prompt"),
    "dead_experts": lambda probes, case: dead_experts_equals_brute(probes, case, "last_prompt"),
}
"""Each in its default variant, for planted mistakes."""
