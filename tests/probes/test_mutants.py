"""Five mistakes planted in every method are caught, by the golden table or by the brute force on fixed cases."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.probes.oracle import checks
from tests.probes.oracle.cases import random_case
from tests.probes.oracle.planted import KINDS, Mistake, planted
from tests.probes.oracle.whole import CHECKS, GOLDENS, MISTAKES

PLANTED = [pytest.param(m, x, id=f"{m}-{x.kind.replace(' ', '-')}") for m, found in MISTAKES.items() for x in found]
SEEDS = range(6)


def run_checks(method: str, package: ModuleType) -> None:
    """The method's golden table, then its brute force in its default variant on fixed random stores."""
    GOLDENS[method](package)
    for seed in SEEDS:
        case = random_case(seed)
        if method in CHECKS:
            CHECKS[method](package, case)
        elif method == "ftri":
            checks.ftri_equals_brute(package, case, "prompt", "rate", "pooled")
        elif method == "contrast":
            checks.contrast_equals_brute(package, case, "prompt", "tokens")
        elif method == "npmi":
            checks.npmi_equals_brute(package, case, "all", {"<think>": 1, "what": -1})
        elif method == "usage":
            checks.usage_equals_brute(package, case, "all", "load")
        elif method == "safex":
            checks.safex_equals_brute(package, case, "prompt", "control", 0.3)
        else:
            checks.super_experts_equals_brute(package, case, "paper", True)


@pytest.mark.parametrize("method", sorted(MISTAKES))
def test_without_a_mistake_the_checks_pass(method: str, tmp_path: Path) -> None:
    with planted(tmp_path, None) as package:
        run_checks(method, package)


@pytest.mark.parametrize(("method", "mistake"), PLANTED)
def test_a_planted_mistake_is_caught(method: str, mistake: Mistake, tmp_path: Path) -> None:
    with planted(tmp_path, mistake) as package, pytest.raises(AssertionError):
        run_checks(method, package)


def test_every_method_has_the_five_kinds() -> None:
    assert {method: {m.kind for m in found} for method, found in MISTAKES.items()} == dict.fromkeys(GOLDENS, KINDS)
