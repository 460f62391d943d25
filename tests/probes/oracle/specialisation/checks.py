"""What every probe of specialisation must equal, as functions of the package under test."""

from types import ModuleType
from typing import Any

from tests.probes.oracle.cases import Case
from tests.probes.oracle.checks import QUICK, agree
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.specialisation import brute
from tests.probes.oracle.specialisation.goldens import KEYS


def token_specialisation_equals_brute(probes: ModuleType, case: Case, tokens: str, least: int) -> None:
    expected = brute.token_specialisation(case.rows, case.experts, tokens, least)
    if expected is not None:
        assert_rows(probes.token_specialisation(case.store, tokens=tokens, least=least, n_shuffles=1), KEYS, expected)


def domain_specialisation_equals_brute(probes: ModuleType, case: Case, tokens: str, measure: str) -> None:
    expected = brute.domain_specialisation(case.rows, case.experts, "verdict", tokens, measure)

    def found() -> Any:
        return probes.domain_specialisation(case.store, domains="verdict", measure=measure, tokens=tokens, **QUICK)

    agree(found, None if expected is None else expected[0])
    if expected is not None:
        flags = {(row.layer, row.expert): row.flags.split("; ") for row in found().frame.itertuples()}
        for x, most in expected[1].items():
            told = [flag for flag in flags[x] if flag.startswith("most in ")]
            assert told == ([f"most in verdict={most}"] if most else []), (x, told, most)


def committee_equals_brute(probes: ModuleType, case: Case, tokens: str, measure: str, p: float) -> None:
    expected = brute.committee(case.rows, case.experts, "verdict", tokens, measure, p)

    def found() -> Any:
        return probes.committee(case.store, domains="verdict", measure=measure, p=p, tokens=tokens, n_bootstrap=0)

    if expected is None:
        agree(found, None)
        return
    frame = found().frame
    assert set(frame["layer"]) == set(expected)
    for layer, (share, size) in expected.items():
        rows = frame[frame["layer"] == layer]
        carried = min(sum(one[e] for e in rows["expert"]) for one in share.values())
        assert len(rows) == size, f"layer {layer}: {len(rows)} members, not {size}"
        assert carried >= p - 1e-8
        for row in rows.to_dict("records"):
            of = {name: one[row["expert"]] for name, one in share.items()}
            want = of | {"share": sum(of.values()) / len(of), "least": min(of.values()), "carried": carried}
            for name, value in want.items():
                assert abs(row[name] - value) < 1e-6, (layer, row["expert"], name, row[name], value)


def difficulty_equals_brute(probes: ModuleType, case: Case, tokens: str, of: str, p: float, least: int) -> None:
    expected = brute.difficulty(case.rows, case.experts, p, least, tokens, of)
    if expected is not None:
        found = probes.difficulty(case.store, of=of, p=p, least=least, tokens=tokens, n_bootstrap=0)
        assert_rows(found, ("token_id",), {(v,): row for v, row in expected.items()})


CHECKS = {
    "difficulty": lambda probes, case: difficulty_equals_brute(probes, case, "all", "weight", 0.5, 1),
    "committee": lambda probes, case: committee_equals_brute(probes, case, "prompt", "ratio", 0.5),
    "token_specialisation": lambda probes, case: token_specialisation_equals_brute(probes, case, "all", 2),
    "domain_specialisation": lambda probes, case: domain_specialisation_equals_brute(probes, case, "prompt", "spread"),
}
"""Each in its default variant, for planted mistakes."""
