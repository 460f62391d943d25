"""What is known of entropies: even and constant routing, weights that are alike, not finite or not there, empty slots."""

from itertools import combinations
from math import log2
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes import routing_entropy
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import anatomy as memory_anatomy
from tests.probes.oracle.memory import disk_store, memory_store
from tests.probes.traffic.routed import even, routed_rows, routed_store
from tests.support.stores import anatomy, random_tables
from workbench.resample import widened
from workbench.store import write_store

EVERY_PAIR = np.array([*combinations(range(4), 2)])
COLUMNS = ["layer", "n", "n_experts", "load_entropy_bits", "evenness", "token_entropy_bits", "low", "high", "n_dead"]


def test_even_routing_is_even_and_constant_routing_has_no_entropy() -> None:
    even = routing_entropy(routed_store([EVERY_PAIR] * 3, 4)).frame.iloc[0]
    assert even.tolist() == [0, 18, 4, 2.0, 1.0, 1.0, 1.0, 1.0, 0]
    same = routing_entropy(routed_store([np.full((5, 1), 2)] * 3, 4)).frame.iloc[0]
    assert same.tolist() == [0, 15, 4, 0.0, 0.0, 0.0, 0.0, 0.0, 3]
    assert not np.signbit(same.to_numpy()).any()
    alone = routing_entropy(routed_store([np.zeros((5, 1), int)], 1)).frame.iloc[0]
    assert alone[["evenness", "load_entropy_bits"]].tolist() == [1.0, 0.0]


def test_its_columns_options_and_notes() -> None:
    found = routing_entropy(golden().store, tokens="prompt", roles="user", cluster="prompt", n_bootstrap=9, seed=4)
    assert [*found.frame] == COLUMNS
    kinds = ["int32", "int64", "int32", *["float64"] * 5, "int32"]
    assert found.frame.dtypes.astype(str).tolist() == kinds
    options = {"tokens": "prompt", "roles": "user", "where": None, "cluster": "prompt", "n_bootstrap": 9, "seed": 4}
    assert found.options == options
    assert found.notes == (
        "8 tokens of 4 responses read",
        "intervals resample 4 of 'prompt' as wholes, and intervals from fewer than 10 are too narrow",
        "low and high are token entropy's; load entropy has none: that of a resample is biased down",
        "no p-value: even routing is no null that anyone expects",
        "intervals rest on 9 resamples and may leave out the score itself: ask with n_bootstrap=100 or more",
    )
    assert found.fingerprint == golden().anatomy.fingerprint
    none = routing_entropy(golden().store, n_bootstrap=0)
    assert none.frame[["low", "high"]].isna().all(axis=None)
    assert "no interval: none was asked for" in none.notes


def test_the_interval_resamples_whole_prompts_and_is_wider_where_one_is_long() -> None:
    rng = np.random.default_rng(5)
    rows, shape = routed_rows([even(rng, n, 2, 4) for n in [3] * 11 + [40]], 4)
    bits, size = np.zeros(12), np.array([3.0] * 11 + [40])
    for one, other in zip(rows["slots"][::2], rows["slots"][1::2], strict=True):
        share = rng.integers(1, 5) / 8
        one["weight"], other["weight"] = share, 1 - share
        bits[int(one["prompt_id"][1:])] -= share * log2(share) + (1 - share) * log2(1 - share)
    drawn = np.random.default_rng([3, 1]).multinomial(12, np.full(12, 1 / 12), size=300)
    level = 100 * widened(size.sum() ** 2 / (size**2).sum())
    ends = np.percentile((drawn @ bits) / (drawn @ size), [50 - level / 2, 50 + level / 2])
    found = routing_entropy(memory_store(shape, rows), cluster="prompt", n_bootstrap=300, seed=3).frame.iloc[0]
    assert found[["low", "high"]].tolist() == pytest.approx(ends)
    assert found["token_entropy_bits"] == pytest.approx(bits.sum() / size.sum())


def test_what_a_model_multiplies_weights_by_is_divided_out() -> None:
    doubled = golden()
    for row in doubled.rows["slots"]:
        row["weight"] *= 2
    pd.testing.assert_frame_equal(routing_entropy(doubled.store).frame, routing_entropy(golden().store).frame)


def test_tokens_whose_weight_is_not_finite_are_left_out_of_token_entropy_alone(tmp_path: Path) -> None:
    case = golden()
    whole = routing_entropy(case.store, tokens="prompt", n_bootstrap=0).frame
    for row in case.rows["slots"]:  # 1 bit, were it read
        row["weight"] = 0.5 if row["prompt_id"] == "c" else row["weight"]
    bad = next(row for row in case.rows["slots"] if row["prompt_id"] == "c" and row["layer"] == 2)
    bad["weight"] = float("inf")
    found = routing_entropy(disk_store(tmp_path / "s", case.anatomy, case.rows), tokens="prompt", n_bootstrap=0)
    pd.testing.assert_frame_equal(found.frame, whole)
    assert "1 tokens with a routing weight that is not finite are left out of token entropy" in found.notes


def test_a_store_without_weights_has_no_token_entropy(tmp_path: Path) -> None:
    tables = random_tables(n_prompts=3)
    tables["slots"]["weight"] = np.nan
    found = routing_entropy(write_store(tmp_path / "s", anatomy(), tables, lacks=["weight"]), tokens="all")
    assert found.frame[["token_entropy_bits", "low", "high"]].isna().all(axis=None)
    assert found.frame["load_entropy_bits"].gt(0).all()
    assert "no token entropy: the store holds expert ids without their routing weights" in found.notes


@pytest.mark.parametrize("lost", [1, 2])
def test_empty_slots_are_no_selection_and_a_token_without_any_has_no_entropy(lost: int) -> None:
    rows, _ = routed_rows([np.array([[0, 1], [2, 3]])], 4)
    kept = [{**row, "layer": 1} for row in rows["slots"] if row["position"] == 0 or row["slot"] >= lost]
    store = memory_store(memory_anatomy((4, 4), 2), {**rows, "slots": rows["slots"] + kept})
    found = routing_entropy(store).frame.set_index("layer")
    # left in layer 1: {0,1} and {3}, or {0,1} alone
    assert found["load_entropy_bits"].tolist() == pytest.approx([2.0, log2(4 - lost)])
    assert found["token_entropy_bits"].tolist() == [1.0, {1: 0.5, 2: 1.0}[lost]]
    assert found["n_dead"].tolist() == [0, lost]
    assert found["n"].tolist() == [2, 2]
