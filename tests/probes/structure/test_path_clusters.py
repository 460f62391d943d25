"""Paths whose clusters are known, what is drawn, what is said of words, what is refused."""

import re

import numpy as np
import pytest

from probes import path_clusters
from tests.probes.oracle.cases import golden
from tests.probes.structure.made import routed
from workbench import Plan
from workbench.errors import WorkbenchError
from workbench.store import Store

FAMILIES = ([0, 3, 5], [1, 2, 7], [4, 6, 8])


def families(n_tokens: int = 60, stray: float = 0.0) -> Store:
    """Three layers of 9 experts, top-2; token n of a prompt stays within one of three families, but for strays."""
    rng = np.random.default_rng(0)
    paths = [
        [
            [int(rng.integers(9)) if rng.random() < stray else int(e) for e in rng.permutation(FAMILIES[n % 3])[:2]]
            for _ in range(3)
        ]
        for n in range(n_tokens)
    ]
    return routed([paths], (9, 9, 9)).store


def test_families_of_experts_are_the_clusters() -> None:
    found = path_clusters(families(), clusters=3)
    assert found.sets == ("cluster 1", "cluster 2", "cluster 3")
    members = [{(x.layer, x.expert) for x in found.experts(name)} for name in found.sets]
    of_family = [{(layer, e) for layer in range(3) for e in family} for family in FAMILIES]
    assert all(any(own <= whole for whole in of_family) for own in members)
    assert (found.frame["elsewhere"] == 0).all()
    assert len(Plan.off(found.experts("cluster 1"))) == len(members[0])


def test_paths_cohere_more_than_when_dealt_anew_and_even_routing_does_not() -> None:
    def cohesion(store: Store) -> list[float]:
        (said,) = [note for note in path_clusters(store, clusters=3).notes if "dealt anew" in note]
        return [float(x) for x in re.findall(r"\d\.\d\d", said)]

    own, dealt = cohesion(families())
    assert own > dealt + 0.2
    own, dealt = cohesion(families(600, stray=1.0))
    assert own == pytest.approx(dealt, abs=0.03)


def test_a_rerun_is_the_same_and_a_sample_is_drawn_by_its_seed() -> None:
    store = families(90)
    one, other = (path_clusters(store, clusters=3, most=45, seed=seed) for seed in (0, 1))
    assert one.notes[0] == "45 tokens of 1 responses read, drawn from 90"
    assert one.frame.equals(path_clusters(store, clusters=3, most=45, seed=0).frame)
    assert not one.frame.equals(other.frame)
    assert path_clusters(store, clusters=3, most=0).frame.equals(path_clusters(store, clusters=3).frame)


def test_tokens_without_text_have_no_words() -> None:
    store = golden().store
    store.tokens["token"] = None
    assert not any("its words" in note for note in path_clusters(store, clusters=2).notes)


@pytest.mark.parametrize("how", [{"clusters": 1}, {"share": 0.0}, {"share": 1.1}, {"most": -1}])
def test_numbers_out_of_range_are_refused(how: dict) -> None:
    with pytest.raises(
        WorkbenchError, match="give no clusters; give 2 clusters or more, share above 0 up to 1, most from 0"
    ):
        path_clusters(golden().store, **how)


def test_too_few_tokens_and_too_much_memory_are_refused() -> None:
    with pytest.raises(WorkbenchError, match="8 tokens of 'memory' are read, fewer than clusters=9; read more"):
        path_clusters(golden().store, tokens="prompt", clusters=9)
    with pytest.raises(
        WorkbenchError, match=r"3 clusters of 60 paths: .* over limit_mb=0; read fewer tokens, or give most"
    ):
        path_clusters(families(), clusters=3, limit_mb=0)
