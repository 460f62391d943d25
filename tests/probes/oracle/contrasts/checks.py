"""What drift and contrasted logits must equal, as functions of the package under test."""

from types import ModuleType

import pytest

from tests.probes.oracle.cases import Case
from tests.probes.oracle.checks import QUICK, agree
from tests.probes.oracle.contrasts import brute
from tests.probes.oracle.contrasts.cases import tuned, with_neurons
from tests.probes.oracle.importance.cases import enriched
from workbench.errors import WorkbenchError


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


def assert_neurons(found, expected) -> None:
    """Which neurons stand out, with score, z and n."""
    names = zip(*(found.frame[name].tolist() for name in ("layer", "expert", "neuron")), strict=True)
    numbers = zip(*(found.frame[name].tolist() for name in ("score", "z", "n")), strict=True)
    got = dict(zip(names, numbers, strict=True))
    assert set(got) == set(expected)
    assert all(abs(a - b) < 1e-6 for key in got for a, b in zip(got[key], expected[key], strict=True))
    assert found.frame["score"].is_monotonic_decreasing


def neuron_equals_brute(probes: ModuleType, case: Case, tokens: str, candidates: int, least: float) -> None:
    classes, top_k = ("refused", "answered"), max(x.top_k for x in case.anatomy.layers)
    expected = brute.neuron(case.rows, case.experts, classes, tokens, candidates, top_k, least)
    how = {"tokens": tokens, "candidates": candidates, "z": least}

    def ask():
        return probes.neuron(case.store, "verdict=refused", "verdict=answered", **how)

    if expected is None:
        with pytest.raises(WorkbenchError):
            ask()
    else:
        assert_neurons(ask(), expected)


CHECKS = {
    "neuron": lambda probes, case: neuron_equals_brute(probes, with_neurons(case), "prompt", 1, 1.0),
    "drift": every_drift_equals_brute,
    "logit_contrast": lambda probes, case: logit_contrast_equals_brute(
        probes, enriched(case), "prompt", "responses", centred=True
    ),
}
"""Each in its default variant, for planted mistakes."""
