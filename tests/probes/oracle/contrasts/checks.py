"""What drift must equal, as functions of the package under test."""

from types import ModuleType

from tests.probes.oracle.cases import Case
from tests.probes.oracle.checks import QUICK, agree
from tests.probes.oracle.contrasts import brute
from tests.probes.oracle.contrasts.cases import tuned
from tests.probes.oracle.importance.cases import enriched


def drift_equals_brute(probes: ModuleType, case: Case, other: Case, what: str, tokens: str) -> None:
    expected = brute.drift(case.rows, other.rows, case.experts, what, tokens)
    agree(lambda: probes.drift(case.store, other.store, what=what, tokens=tokens, **QUICK), expected)


def every_drift_equals_brute(probes: ModuleType, case: Case) -> None:
    case = enriched(case)
    for what in ("use", "weight", "output"):
        drift_equals_brute(probes, case, tuned(case, 1), what, "prompt")


CHECKS = {"drift": every_drift_equals_brute}
"""In its default variant, for planted mistakes."""
