"""What drift and contrasted logits must equal, as functions of the package under test."""

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


def logit_contrast_equals_brute(probes: ModuleType, case: Case, tokens: str, pooling: str, centred: bool) -> None:
    expected = brute.logit_contrast(case.rows, case.experts, ("refused", "answered"), tokens, pooling, centred)
    how = {"tokens": tokens, "pooling": pooling, "centred": centred, **QUICK}
    agree(lambda: probes.logit_contrast(case.store, "verdict=refused", "verdict=answered", **how), expected)


CHECKS = {
    "drift": every_drift_equals_brute,
    "logit_contrast": lambda probes, case: logit_contrast_equals_brute(
        probes, enriched(case), "prompt", "responses", centred=True
    ),
}
"""Each in its default variant, for planted mistakes."""
