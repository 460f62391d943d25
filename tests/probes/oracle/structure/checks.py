"""What every probe of structure must equal, as functions of the package under test."""

import re
from itertools import pairwise
from types import ModuleType
from typing import Any

from tests.probes.oracle.cases import Case
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.structure import brute
from tests.probes.oracle.structure.cases import enriched
from workbench.errors import WorkbenchError

PLACES = ["layer", "expert", "other_layer", "other_expert"]


def pairs(found: Any, *columns: str) -> dict[tuple[int, ...], tuple[float | None, ...]]:
    """{(layer, expert, other layer, other expert): values of the columns, None where null}, in the order of the rows."""
    places, values = (found.frame[[*names]].itertuples(index=False, name=None) for names in (PLACES, columns))
    return {tuple(place): tuple(None if x != x else x for x in row) for place, row in zip(places, values, strict=True)}


def assert_pairs(got: dict[Any, Any], expected: dict[Any, Any]) -> None:
    assert {*got} == {*expected}
    for place, values in expected.items():
        for mine, theirs in zip(got[place], values, strict=True):
            assert (mine is None) == (theirs is None), f"{place}: {got[place]}, not {values}"
            assert mine is None or abs(mine - theirs) < 1e-9, f"{place}: {got[place]}, not {values}"


def pathways_equals_brute(probes: ModuleType, case: Case, tokens: str) -> None:
    expected = brute.pathways(case.rows, case.experts, tokens)
    try:
        found = probes.pathways(case.store, tokens=tokens, first=0, n_bootstrap=0)
    except WorkbenchError:
        assert expected is None
        return
    got = pairs(found, "n", "affinity", "lift", "excess")
    assert_pairs(got, expected)
    ordered = [round(excess, 12) for *_, excess in got.values()]
    assert ordered == sorted(ordered, reverse=True)


def devices_of(found: Any) -> dict[int, list[int]]:
    """Layer -> the number of the set of each expert; every expert is in one set."""
    frame = found.frame.sort_values(["layer", "expert"])
    assert not frame.duplicated(["layer", "expert"]).any()
    numbers = {name: number for number, name in enumerate(found.sets)}
    return {int(layer): [numbers[name] for name in part["set"]] for layer, part in frame.groupby("layer")}


def placement_equals_brute(probes: ModuleType, case: Case, tokens: str, one_program: bool, devices: int = 2) -> None:
    expected = brute.placement(case.rows, case.experts, tokens, devices)
    how = {"tokens": tokens, "heldout": 0.0, "n_bootstrap": 0, "one_program": one_program}
    try:
        found = probes.placement(case.store, devices, **how)
    except WorkbenchError:
        assert expected is None or devices > max(case.experts.values())
        return
    fewest, robin, total = expected
    placed = devices_of(found)
    assert {layer: len(of) for layer, of in placed.items()} == case.experts
    for of in placed.values():
        sizes = [of.count(device) for device in range(devices)]
        assert max(sizes) - min(sizes) <= 1
    sets = [token for _, token in brute.sets_read(case.rows, tokens)]
    crossed, _ = brute.crossings(sets, placed)
    assert crossed == fewest if one_program else fewest <= crossed <= robin
    said = re.match(
        rf"([0-9.]+) % of {total:,} pairs of experts that follow each other cross; round-robin ([0-9.]+) %: ",
        found.notes[0],
    )
    assert said is not None
    for share, n_crossed in zip(said.groups(), (crossed, robin), strict=True):  # to the last digit that is said
        assert abs(float(share) - 100 * n_crossed / total) <= 0.05 + 1e-9
    n = {(row.layer, row.expert): row.n for row in found.frame.itertuples()}
    assert n == {
        (layer, e): sum(e in token[layer] for token in sets) for layer, k in case.experts.items() for e in range(k)
    }


def similarity_equals_brute(probes: ModuleType, case: Case, tokens: str, by: str, centred: bool) -> None:
    expected = brute.similarity(case.rows, case.experts, by, tokens, centred)
    try:
        found = probes.similarity(case.store, by=by, centred=centred, first=0, tokens=tokens)
    except WorkbenchError:
        assert expected is None
        return
    got = pairs(found, "n", "cosine")
    assert_pairs(got, expected)
    values = [-2 if cosine is None else cosine for _, cosine in got.values()]
    assert all(a >= b - 1e-9 for a, b in pairwise(values))


def router_span_equals_brute(probes: ModuleType, case: Case, centred: bool) -> None:
    found = probes.router_span(case.store, centred=centred)
    assert_rows(found, ("layer",), brute.router_span(case.rows, case.experts, centred))


def path_clusters_equals_brute(probes: ModuleType, case: Case, tokens: str, clusters: int, share: float) -> None:
    expected = brute.path_clusters(case.rows, case.experts, tokens, clusters, share)
    try:
        found = probes.path_clusters(case.store, tokens=tokens, clusters=clusters, share=share)
    except WorkbenchError:
        assert expected is None
        return
    assert_members(found, expected)


def assert_members(found: Any, expected: list[tuple[Any, ...]]) -> None:
    """Set, layer, expert and n of every member in order; and its shares in the cluster and elsewhere."""
    got = [tuple(row) for row in found.frame.itertuples(index=False, name=None)]
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    assert all(
        abs(a - b) < 1e-9
        for one, other in zip(got, expected, strict=True)
        for a, b in zip(one[4:], other[4:], strict=True)
    )


CHECKS = {
    "router_span": lambda probes, case: router_span_equals_brute(probes, enriched(case), centred=True),
    "path_clusters": lambda probes, case: path_clusters_equals_brute(probes, case, "prompt", 2, 0.5),
    "similarity": lambda probes, case: similarity_equals_brute(probes, enriched(case), "all", "router", centred=False),
    "placement": lambda probes, case: placement_equals_brute(probes, case, "all", one_program=True),
    "pathways": lambda probes, case: pathways_equals_brute(probes, case, "all"),
}
"""Each in its default variant, for planted mistakes."""
