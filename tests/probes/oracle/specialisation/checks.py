"""What every probe of specialisation must equal, as functions of the package under test."""

from types import ModuleType
from typing import Any

import numpy as np

from tests.probes.oracle.cases import Case
from tests.probes.oracle.checks import QUICK, agree
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.specialisation import brute
from tests.probes.oracle.specialisation.directions import with_directions
from tests.probes.oracle.specialisation.goldens import KEYS
from tests.probes.oracle.structure import brute as structure_brute
from workbench.errors import WorkbenchError


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


def decode_equals_brute(probes: ModuleType, case: Case, of: str, side: str, token: str | None) -> None:
    expected = brute.decode(case.rows, of, side, token)
    try:
        found = probes.decode(case.store, of=of, side=side, token=token, first=0)
    except WorkbenchError:
        assert expected is None
        return
    assert directions_of(found) == expected


def directions_of(found: Any) -> list[tuple[Any, ...]]:
    """Word, n, place and share of every row, in order; neuron None for an expert."""
    names = ["token_id", "token", "n", "layer", "expert", "neuron", "share"]
    rows = found.frame[names].itertuples(index=False, name=None)
    return [tuple(None if x != x else x for x in row) for row in rows]


def every_decode_equals_brute(probes: ModuleType, case: Case) -> None:
    case = with_directions(case)
    for of, side in (("neurons", "write"), ("neurons", "gate"), ("experts", "read")):
        decode_equals_brute(probes, case, of, side, None)


def describe_equals_brute(probes: ModuleType, case: Case, tokens: str, n_words: int, evidence: float) -> None:
    """The clusters are drawn here by the documented seed; what is done with them is brute force."""
    held = _held_out(case, tokens)
    expected = None if held is None else brute.describe(case.rows, case.experts, tokens, held, n_words, evidence)
    try:
        found = probes.describe(case.store, tokens=tokens, n_words=n_words, evidence=evidence, n_bootstrap=0)
    except WorkbenchError:
        assert expected is None
        return
    assert expected is not None
    said = {r["token_id"]: r["token"] for r in case.rows["tokens"]} | {None: None}
    names = ["layer", "expert", "n", "auroc", "described", "label"]
    got = {(row[0], row[1]): row[2:] for row in found.frame[names].itertuples(index=False, name=None)}
    assert {*got} == {*expected}
    for place, (n, auroc, described, at, before) in expected.items():
        mine = got[place]
        assert (mine[0], mine[2]) == (n, described), place
        assert (auroc is None and mine[1] != mine[1]) or abs(mine[1] - auroc) < 1e-9, f"{place}: {mine[1]}, not {auroc}"
        words = [" ".join("the start" if w is None else repr(said[w]) for w in kind) for kind in (at, before)]
        assert mine[3] == "; ".join([*([words[0]] if at else []), *([f"after {words[1]}"] if before else [])]), place


def _held_out(case: Case, tokens: str) -> set[str] | None:
    """The prompts of half the clusters with tokens that are read: pairs where prompts name them."""
    prompts = [p["prompt_id"] for p in case.rows["prompts"]]
    pair = {p["prompt_id"]: p["pair"] or p["prompt_id"] for p in case.rows["prompts"]}
    numbers = {key: i for i, key in enumerate(dict.fromkeys(pair[p] for p in prompts))}
    read = {key[0] for key in structure_brute.keys_read(case.rows, tokens)}
    present = sorted({numbers[pair[p]] for p in read})
    if len(present) < 2:
        return None
    drawn = np.random.default_rng([0, 4]).permutation(present)[: min(max(round(len(present) / 2), 1), len(present) - 1)]
    return {p for p in prompts if numbers[pair[p]] in drawn.tolist()}


CHECKS = {
    "describe": lambda probes, case: describe_equals_brute(probes, case, "prompt", 2, 0),
    "decode": every_decode_equals_brute,
    "difficulty": lambda probes, case: difficulty_equals_brute(probes, case, "all", "weight", 0.5, 1),
    "committee": lambda probes, case: committee_equals_brute(probes, case, "prompt", "ratio", 0.5),
    "token_specialisation": lambda probes, case: token_specialisation_equals_brute(probes, case, "all", 2),
    "domain_specialisation": lambda probes, case: domain_specialisation_equals_brute(probes, case, "prompt", "spread"),
}
"""Each in its default variant, for planted mistakes."""
