"""The largest outputs of every expert, and an answer about super experts that says everything."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from probes import super_experts
from probes.magnitudes import MassiveRule, rule_from
from probes.magnitudes.extremes import extremes
from probes.outputs import thresholds
from probes.outputs.super_experts import INFORMATIVE
from probes.ranking import not_finite_note, refs_of
from tests.probes.oracle.cases import empty
from tests.probes.oracle.goldens import outlier_rows
from tests.probes.oracle.memory import anatomy, memory_store


def written(values: list[tuple[int, int, float]], n_shared: int = 1) -> Any:
    """One prompt: (position, expert, largest output); expert -1 is the shared one."""
    rows = empty()
    rows["prompts"].append({"prompt_id": "p", "n_tokens": 1 + max(v[0] for v in values)})
    for position in range(rows["prompts"][0]["n_tokens"]):
        key = {"prompt_id": "p", "sample": 0, "position": position}
        rows["tokens"].append({**key, "token": "x", "token_id": 1, "role": "user", "generated": False})
        rows["residual"] += [{**key, "layer": layer, "max_abs": 1.0, "median_abs": 1.0} for layer in (-1, 0)]
    for position, expert, value in values:
        key = {"prompt_id": "p", "sample": 0, "position": position, "layer": 0, "weight": 1.0}
        rows["slots"].append({**key, "slot": expert if expert < 0 else 0, "expert": expert, "output_max_abs": value})
    return memory_store(anatomy((3,), 1, n_shared), rows)


def test_the_largest_output_of_every_expert_and_of_its_first_tokens() -> None:
    inf, nan = float("inf"), float("nan")
    values = [
        (0, -1, 2.0),
        (0, 0, 5.0),
        (1, -1, 3.0),
        (1, 1, inf),
        (2, -1, 1.0),
        (2, 0, 9.0),
        (3, 1, 4.0),
        (3, -1, nan),
    ]
    store = written(values)
    rows = {
        name: found.to_dict("list")
        for name, found in (("all", extremes(store)), ("first", extremes(store, first_row=True)))
    }
    for found in rows.values():
        assert (found["layer"], found["expert"], found["is_shared"]) == (
            [0] * 4,
            [0, 0, 1, 2],
            [True, False, False, False],
        )
        assert (found["n"], found["received"]) == ([3, 2, 1, 0], [4, 2, 2, 0])
    np.testing.assert_equal(rows["all"]["score"], [3.0, 9.0, 4.0, nan])
    np.testing.assert_equal(rows["first"]["score"], [2.0, 5.0, nan, nan])  # expert 1's first value is no number
    found = super_experts(store)
    assert found.notes[0].startswith("Values are not finite: output of ")
    assert found.notes[0].endswith(" They are left out of n, maxima and means")
    assert {str(x) for x in found.flagged("not finite")} == {"L0S0", "L0E1"}
    assert [str(x) for x in found.flagged("dead")] == ["L0E2"]
    assert not_finite_note(store, pd.DataFrame()) == ()


def test_an_answer_about_super_experts_says_everything() -> None:
    store = memory_store(anatomy((0, 11, 11, 11), 1, 1), outlier_rows())
    found = super_experts(store)
    massive = [100.0, 1000.0, 1.2, "ordinary"]
    assert found.options == {"rule": "tenth_of_max", "guard": True, "massive": massive, "shared": True}
    rule = "|h| > 100 and > 1000 x the median |h| of the layer's tokens, a rule of ours"
    none = "no p-value, no interval: a maximum has no null of labels, and its bootstrap interval is not valid"
    looked = "of the {} experts that the rule looks at: "
    said = looked.format(11) + "max / 10 = 60"
    assert found.notes == (f"layer 1 forms massive activations ({rule})", said, none)
    flags = {f: {str(x) for x in found.flagged(f)} for f in ("super expert", "dead", "not finite", "ties")}
    assert flags["dead"] == {"L1E10", "L2E10", "L3E10"}
    assert (flags["super expert"], flags["not finite"]) == ({"L1E7"}, set())
    assert flags["ties"] == {str(r) for r in refs_of(found.frame[found.frame["score"].isin([1.0, 1.5])])}
    # 3 x 11 routed and 3 shared; by the paper's rule the 99.5th percentile is 572.8, and max / 10 is 60
    alone = super_experts(store, "paper", guard=False, shared=False)
    assert "is_shared" not in alone.frame or not alone.frame["is_shared"].any()
    assert len(alone.frame) == 33
    # 10 values of layer 1 without the shared one: 0.995 x 9 = 8.955: 56 + 0.955 x 544 = 575.5
    few = "the 99.5th percentile is not informative among 10 experts (fewer than 400)"
    noise = "without the guard: 1 in 200 of pure noise passes a 99.5th percentile"
    said = looked.format(10) + "99.5th percentile = 575.5, max / 10 = 60"
    assert alone.notes == (found.notes[0], said, few, noise, none)
    unguarded = super_experts(store, "repository")
    # layers 0 to 2; 600 alone is above 542.9, and its layer forms
    assert [str(x) for x in unguarded.flagged("passes the rule, not the guard")] == []
    three = super_experts(store, "mean_3_std", massive=MassiveRule(absolute=1e6))
    assert three.notes[0].startswith("no layer forms massive activations (|h| > 1e+06 and > 1000 x")
    assert [str(x) for x in three.flagged("passes the rule, not the guard")] == ["L1E7"]
    assert not three.flagged("super expert")
    drawn = thresholds(store, found)
    # medians with the shared expert: of 1.5, 600, 56, 2 and seven 1 it is 1; ten of them
    assert (drawn.limits, drawn.layers, drawn.guards) == ({"max / 10": 60.0}, (1,), {1: 10.0, 2: 10.0, 3: 10.0})
    repository = thresholds(store, unguarded)
    assert repository.layers == (1, 2)
    assert repository.limits["floor(max / 10)"] == 60.0
    assert repository.limits["99.5th percentile"] == pytest.approx(56 + 0.895 * 544)


def test_a_rule_of_before_compares_with_the_token_itself() -> None:
    assert rule_from([1.0, 2.0, 3.0]) == MassiveRule(1.0, 2.0, 3.0, "own")
    assert rule_from([1.0, 2.0, None, "ordinary"]) == MassiveRule(1.0, 2.0, None, "ordinary")
    assert str(rule_from([100, 5, 1.2])) == "|h| > 100 and > 5 x the token's own median |h|"
    assert INFORMATIVE == 400
