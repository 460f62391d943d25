"""What every probe of traffic must equal, as functions of the package under test."""

from types import ModuleType

from tests.probes.oracle.cases import Case
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.traffic import brute
from tests.probes.oracle.traffic.goldens import KEYS


def locality_equals_brute(probes: ModuleType, case: Case, tokens: str, windows: tuple[int, ...], longest: int) -> None:
    k = case.anatomy.layers[-1].top_k
    expected = brute.locality(case.rows, case.experts, windows, (k, 2 * k), tokens, longest)
    if expected is None:
        return
    expected = {
        (*key[:3], None if key[3] is None else min(key[3], case.experts[key[0]])): x for key, x in expected.items()
    }
    found = probes.locality(case.store, windows=windows, caches=(1, 2), tokens=tokens, longest=longest, n_bootstrap=0)
    assert_rows(found, KEYS, expected)


def capacity_equals_brute(probes: ModuleType, case: Case, tokens: str, parts: int, together: int) -> None:
    factors = (0.5, 1.0, 1.25)
    expected = brute.capacity(case.rows, case.experts, factors, parts, together, tokens)
    if expected is not None:
        options = {"factors": factors, "parts": parts, "together": together, "tokens": tokens, "n_bootstrap": 0}
        found = probes.capacity(case.store, **options)
        assert_rows(found, ("layer", "factor", "first", "last"), expected)


CHECKS = {
    "locality": lambda probes, case: locality_equals_brute(probes, case, "all", (2, 3), 512),
    "capacity": lambda probes, case: capacity_equals_brute(probes, case, "all", 3, 2),
}
"""Each in its default variant, for planted mistakes."""
