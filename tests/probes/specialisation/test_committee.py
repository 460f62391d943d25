"""What is known of committees: even routing, one expert for all, domains that share nothing; refusals; a program out of time."""

import numpy as np
import pytest

from probes import committee, esft
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import memory_store
from tests.probes.specialisation.test_domain_specialisation import labelled
from workbench.errors import WorkbenchError


def test_what_is_known_of_the_smallest_sets() -> None:
    # every expert in turn, in both domains: half of the routing takes half of the experts
    turns = np.stack([np.arange(8), (np.arange(8) + 1) % 8], axis=1)
    found = committee(labelled([turns] * 6, 8, ["a", "b"]), tokens="all", n_bootstrap=0)
    assert len(found.frame) == 4
    assert set(found.frame["carried"]) == {0.5}
    # expert 0 takes one of two places everywhere: it is the committee by itself
    rng = np.random.default_rng(0)
    one = [np.stack([np.zeros(9, int), rng.integers(1, 8, 9)], axis=1) for _ in range(6)]
    found = committee(labelled(one, 8, ["a", "b", "c"]), tokens="all")
    assert [str(ref) for ref in found.experts()] == ["L0E0"]
    assert found.frame[["carried", "low", "high"]].to_numpy().tolist() == [[0.5, 0.5, 0.5]]
    # each of four domains has two experts of its own: a committee of half of each domain has one of each
    apart = [np.tile([2 * (n % 4), 2 * (n % 4) + 1], (5, 1)) for n in range(8)]
    found = committee(labelled(apart, 8, ["a", "b", "c", "d"]), tokens="all", n_bootstrap=0)
    assert len(found.frame) == 4
    assert found.frame["least"].tolist() == [0, 0, 0, 0]
    assert "each domain by itself needs: kind=a 1, kind=b 1, kind=c 1, kind=d 1" in found.notes


def test_domains_that_route_alike_have_the_set_of_esft() -> None:
    rng = np.random.default_rng(1)
    routes = [rng.permuted(np.tile(np.arange(12), (40, 1)), axis=1)[:, :2] ** 2 // 13 for _ in range(2)]
    routes = [np.where(r[:, :1] == r[:, 1:], [0, 11], r) for r in routes]
    store = labelled([routes[0], routes[0], routes[1], routes[1]], 12, ["a", "b"])  # in turn: the same texts twice
    for p in (0.3, 0.6, 0.9):
        mine = committee(store, measure="ratio", p=p, tokens="all", n_bootstrap=0)
        theirs = esft(store, p=p, tokens="all", n_bootstrap=0)
        assert len(mine.frame) == len(theirs.frame)


def test_what_cannot_be_asked_is_one_sentence() -> None:
    rows, anatomy = golden().rows, golden().anatomy
    bare = memory_store(anatomy, {**rows, "slots": [{**s, "weight": None} for s in rows["slots"]]})
    bare.plan_json["lacks"] = ["weight"]
    for store, options, message in (
        (golden().store, {"measure": "x"}, "measure='x' is not known; it can be weight, ratio"),
        (bare, {}, "holds expert ids without their routing weights"),
        (golden().store, {"p": 0.0}, "p=0 should be more than 0 and at most 1"),
        (golden().store, {"p": 1.5}, "p=1.5 should be more than 0"),
        (golden().store, {"seconds": 0.0}, "and seconds=0 more than 0"),
    ):
        with pytest.raises(WorkbenchError, match=message):
            committee(store, **options)
    assert len(committee(golden().store, p=1.0, tokens="prompt", n_bootstrap=0).frame) == 7, (
        "the dead expert is in no set"
    )


def test_out_of_time_a_set_is_given_and_said_to_be_unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.optimize

    class Ended:
        x, mip_dual_bound = None, 1.0

    monkeypatch.setattr(scipy.optimize, "milp", lambda *_, **__: Ended())
    found = committee(golden().store, measure="ratio", tokens="prompt")
    assert "layers 1, 2: the program did not end in time, and a smaller set may exist" in found.notes
    assert (found.frame["carried"] >= 0.5 - 1e-9).all()
