"""A store counted by shares on several workers: the counts are those of one process, and lost shares are counted again."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes import ftri, usage
from tests.support.stores import anatomy, random_tables
from tests.workbench.replicas.fake_ray import FakeRay
from workbench import WorkbenchError, open_store
from workbench.replicas import Cluster, counting_on
from workbench.store import Store, selections, write_store


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.fixture
def store(tmp_path: Path) -> Store:
    tables = random_tables(n_prompts=30, samples=2, n_shared=1, shape=anatomy(n_shared=1))
    return write_store(tmp_path / "store", anatomy(n_shared=1), tables, n_shards=7)


def asked(store: Store) -> list[dict[str, Any]]:
    n = len(store.tokens)
    draw = np.random.default_rng(0)
    mask, groups = draw.random(n) < 0.5, draw.integers(-1, 9, n)
    ways = [{}, {"tokens": mask}, {"by": groups}, {"tokens": mask, "by": groups}, {"layers": [2]}]
    return [{**way, "value": value} for way in ways for value in ("count", "weight")]


def test_the_counts_are_those_of_one_process(ray: FakeRay, store: Store) -> None:
    with counting_on(Cluster(workers=3), store.path) as spread:
        for how in asked(store):
            here, there = store.counts(**how), spread.counts(**how)
            assert here.n.sum() > 0
            assert (there.layers, there.n.dtype) == (here.layers, here.n.dtype)
            np.testing.assert_array_equal(there.tokens, here.tokens)
            np.testing.assert_allclose(there.n, here.n, rtol=0 if how["value"] == "count" else 1e-12)
    assert not ray.is_running


def test_every_share_is_of_few_groups_and_all_are_the_whole(store: Store) -> None:
    shares = [selections(store, None, "prompt", "count", store.layers, (i, 7)) for i in range(7)]
    np.testing.assert_array_equal(sum(shares), store.counts().n.transpose(1, 0, 2))
    assert max(int(n.any(axis=(0, 2)).sum()) for n in shares) < 15


def test_the_scores_are_those_of_one_process(ray: FakeRay, store: Store) -> None:
    store.add_labels("half", {name: "a" if i % 2 else "b" for i, name in enumerate(store.prompt_ids)}, "tests")
    how: dict[str, Any] = {"target": "half=a", "baseline": "half=b", "n_permutations": 50, "n_bootstrap": 50}
    with counting_on(Cluster(workers=3), store.path) as spread:
        assert ftri(spread, **how).frame.equals(ftri(open_store(store.path), **how).frame)
        assert usage(spread).frame.equals(usage(open_store(store.path)).frame)


def test_a_lost_workers_shares_are_counted_by_others(ray: FakeRay, store: Store) -> None:
    ray.lose = 2
    with counting_on(Cluster(workers=3), store.path) as spread:
        np.testing.assert_array_equal(spread.counts().n, store.counts().n)


def test_what_counting_refuses_is_its_own_sentence(ray: FakeRay, store: Store) -> None:
    with (
        counting_on(Cluster(workers=2), store.path) as spread,
        pytest.raises(WorkbenchError, match="it needs one value"),
    ):
        spread.counts(tokens=np.ones(3, bool))
    with pytest.raises(WorkbenchError, match="is not a store"), counting_on(Cluster(), store.path / "nothing"):
        pass
    assert not ray.is_running
