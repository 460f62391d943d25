"""What every probe of specialisation must equal, as functions of the package under test."""

from types import ModuleType

from tests.probes.oracle.cases import Case
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.specialisation import brute
from tests.probes.oracle.specialisation.goldens import KEYS


def token_specialisation_equals_brute(probes: ModuleType, case: Case, tokens: str, least: int) -> None:
    expected = brute.token_specialisation(case.rows, case.experts, tokens, least)
    if expected is not None:
        assert_rows(probes.token_specialisation(case.store, tokens=tokens, least=least, n_shuffles=1), KEYS, expected)


CHECKS = {"token_specialisation": lambda probes, case: token_specialisation_equals_brute(probes, case, "all", 2)}
"""Each in its default variant, for planted mistakes."""
