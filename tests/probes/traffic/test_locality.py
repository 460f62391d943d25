"""What locality is known to be: even routing, constant routing, caches that hold all; intervals; what is refused."""

from typing import Any

import numpy as np
import pytest

from probes import LayerTable, locality
from tests.probes.oracle.cases import golden
from tests.probes.traffic.routed import even, routed_store
from workbench.errors import WorkbenchError

QUICK: dict[str, Any] = {"n_bootstrap": 0}


def values(found: LayerTable, column: str = "value") -> dict[tuple[str, float, float], float]:
    rows = found.frame.fillna(0)
    return dict(zip(zip(rows["measure"], rows["window"], rows["cache"], strict=True), rows[column], strict=True))


def test_even_routing_is_near_its_limit_and_its_floor() -> None:
    """methods.md, 5.1: measured on 2,000 tokens of even top-8 of 64: .466, .324, .253, .230, towards 2 (k/E) / (1 + k/E)."""
    store = routed_store([even(np.random.default_rng(0), 2000, 8, 64)], 64)
    found = values(locality(store, longest=2000, **QUICK))
    floor = values(locality(store, longest=2000, **QUICK), "floor")
    for window, measured in ((4, 0.466), (16, 0.324), (64, 0.253), (256, 0.230)):
        assert found["SRP", window, 0] == pytest.approx(measured, abs=0.004)
        assert floor["SRP", window, 0] == pytest.approx(measured, abs=0.004)
    limit = 2 * (8 / 64) / (1 + 8 / 64)
    assert abs(found["SRP", 256, 0] - limit) < 0.02
    for key in found:
        assert found[key] == pytest.approx(floor[key], abs=0.02), key
    # a policy that cannot look ahead holds each expert as often as it has places: 8, 16, 32 of 64
    for name in ("LRU", "LFU"):
        for size in (8, 16, 32):
            assert found[name, 0, size] == pytest.approx(size / 64, abs=0.02)


def test_constant_routing_is_one() -> None:
    store = routed_store([np.tile([3, 1], (40, 1))], 8)
    found = locality(store, windows=[1, 4, 16], longest=40, **QUICK)
    assert found.frame.query("measure == 'SRP'")["value"].tolist() == [1, 1, 1]
    assert found.frame.query("measure == 'SRP'")["size"].tolist() == [1, 1, 1]
    assert found.frame.query("measure != 'SRP'")["value"].unique() == pytest.approx(
        [39 / 40]
    )  # the first token finds nothing


def test_no_policy_beats_one_that_looks_ahead_where_it_can_hold_little() -> None:
    """Texts that turn between three topics: the oracle of the next 16 tokens knows when one ends."""
    rng = np.random.default_rng(1)
    topics = [np.stack([rng.permutation(8)[:2] + 8 * (t % 3) for _ in range(12)]) for t in range(20)]
    found = values(locality(routed_store([np.concatenate(topics)], 24), windows=[16], **QUICK))
    for size in (2, 4, 8):
        assert found["oracle", 16, size] >= max(found["LRU", 0, size], found["LFU", 0, size])
    assert found["oracle", 16, 4] > found["LFU", 0, 4] + 0.02


def test_what_lies_above_the_floor_of_loads_is_order() -> None:
    """Two experts take all, in any order: SRP is high, and so is its floor by loads. The same selections in order: only SRP."""
    rng = np.random.default_rng(2)
    shuffled = rng.permuted(np.repeat([[0, 1], [2, 3]], 200, axis=0))[:, :1]
    ordered = np.sort(shuffled, axis=0)
    by_chance, in_order = (
        locality(routed_store([r], 8), windows=[16], **QUICK).frame.iloc[0] for r in (shuffled, ordered)
    )
    assert by_chance["value"] == pytest.approx(by_chance["load_floor"], abs=0.03)
    assert in_order["load_floor"] == pytest.approx(by_chance["load_floor"], abs=1e-9)
    assert in_order["value"] > 0.9


def test_intervals_resample_prompts_and_hold_the_value() -> None:
    rng = np.random.default_rng(3)
    found: Any = locality(
        routed_store([even(rng, 30, 2, 8) for _ in range(40)], 8), windows=[4, 40], n_bootstrap=200
    ).frame
    known = found.dropna(subset="value").query("not cache == 8")  # which holds all: 2 x 30 - 8 hits in every prompt
    assert found.query("cache == 8")["value"].unique() == pytest.approx([52 / 60])
    assert ((known["low"] < known["value"]) & (known["value"] < known["high"])).all()
    assert (known["high"] - known["low"]).max() < 0.1
    lost = found[found["value"].isna()]
    assert lost["window"].tolist() == [40]
    assert lost["n"].tolist() == [0]


def test_a_token_that_is_left_out_ends_a_stretch() -> None:
    said = locality(golden().store, windows=[2], tokens="prompt", **QUICK)
    assert said.notes[0] == "8 tokens read in 4 stretches of up to 3 tokens"
    mask = golden().store.tokens["position"].to_numpy() != 1
    assert locality(golden().store, windows=[2], tokens=mask, **QUICK).notes[0] == (
        "8 tokens read in 7 stretches of up to 2 tokens"  # b goes on with two; c ends at 0
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"windows": []}, r"windows=\[\] are no numbers of tokens"),
        ({"windows": [0]}, r"windows=\[0\] are no numbers of tokens"),
        ({"caches": [0]}, r"caches=\[0\] hold nothing"),
        ({"longest": 0}, "longest=0 is no length of a stretch"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        locality(golden().store, **wrong)


def test_a_window_longer_than_every_stretch_costs_nothing() -> None:
    store = routed_store([even(np.random.default_rng(0), 40, 2, 8)] * 3, 8)
    long = locality(store, windows=[4, 10**9], longest=40, n_bootstrap=200)  # 8 GB and more, were it counted
    short = locality(store, windows=[4, 41], longest=40, n_bootstrap=200)
    assert "no SRP at 1000000000 tokens: no stretch is so long" in long.notes
    assert values(long.__class__(**vars(long) | {"frame": long.frame.replace(1e9, 41)})) == values(short)
    none = long.frame.query("measure == 'SRP' and window > 40")
    assert none[["value", "floor", "load_floor", "size"]].isna().all(axis=None)
