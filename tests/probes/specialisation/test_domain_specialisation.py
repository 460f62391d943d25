"""What is known of experts of one domain and of all; the interval and the p-value drawn once more; chance; refusals."""

import numpy as np
import pytest

from probes import domain_specialisation
from tests.probes.oracle.cases import GOLDEN_LABEL, GOLDEN_PROMPT, golden, label
from tests.probes.oracle.memory import Rows, memory_store
from tests.probes.traffic.routed import even, routed_rows
from workbench.errors import WorkbenchError
from workbench.store import Store

QUICK = {"n_permutations": 0, "n_bootstrap": 0}


def labelled(prompts: list[np.ndarray], n_experts: int, values: list[str]) -> Store:
    """One prompt a value, in turn."""
    rows, anatomy = routed_rows(prompts, n_experts)
    rows["labels"] = [label(f"p{n:04d}", values[n % len(values)], name="kind") for n in range(len(prompts))]
    return memory_store(anatomy, rows)


def test_experts_of_one_domain_have_the_end_of_the_range_and_experts_of_all_have_zero() -> None:
    """Of four domains each has an expert of its own, 0 to 3, and all select expert 4 besides."""
    prompts = [np.stack([np.full(6, n % 4), np.full(6, 4)], axis=1) for n in range(8)]
    store = labelled(prompts, 6, ["a", "b", "c", "d"])
    for measure, end in (("spread", np.sqrt(3)), ("bits", 2.0)):
        found = domain_specialisation(store, measure=measure, tokens="all", **QUICK)
        score = found.frame.set_index("expert")["score"]
        assert score.loc[[0, 1, 2, 3]].tolist() == pytest.approx([end] * 4)
        assert score[4] == 0
        assert np.isnan(score[5])
        assert [str(ref) for ref in found.flagged("most in kind=c")] == ["L0E2"]
        assert "most in" not in found.frame.set_index("expert")["flags"][4]
    assert found.options["domains"] == "kind"
    assert found.notes[0].startswith("routing or topic? the token's id alone predicts ")


@pytest.mark.slow
def test_even_routing_is_rarely_told_apart_and_a_domain_s_expert_is() -> None:
    """200 labellings at random: p below 0.05, corrected over all experts, in at most 18."""
    rng = np.random.default_rng(0)
    passed = 0
    for seed in range(200):
        store = labelled([even(rng, 8, 2, 8) for _ in range(12)], 8, ["a", "b", "c"])
        found = domain_specialisation(store, tokens="all", n_permutations=99, n_bootstrap=0, seed=seed)
        passed += bool((found.frame["p_adjusted"] < 0.05).any())
    assert passed <= 18
    own = [np.where(np.arange(2) == 0, n % 3, even(rng, 8, 2, 8)) for n in range(24)]
    found = domain_specialisation(labelled(own, 8, ["a", "b", "c"]), tokens="all", n_permutations=199, n_bootstrap=0)
    assert found.frame.set_index("expert")["p_adjusted"][[0, 1, 2]].tolist() == [1 / 200] * 3


def test_interval_and_p_value_are_those_of_the_draws_counted_one_by_one() -> None:
    found = domain_specialisation(golden().store, domains="verdict", tokens="prompt")
    experts = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3)]
    selected = {p: [sum(e in t[n - 1] for t in routes) for n, e in experts] for p, routes in GOLDEN_PROMPT.items()}

    def rates(of: dict[str, str], times: dict[str, int]) -> np.ndarray:
        sides = [[p for p in "abcd" for _ in range(times[p]) if of[p] == v] for v in ("answered", "refused")]
        return np.array([sum(np.array(selected[p]) for p in s) / sum(len(GOLDEN_PROMPT[p]) for p in s) for s in sides])

    once = dict.fromkeys("abcd", 1)
    keys = np.random.default_rng([0, 0]).random((1000, 4))
    null = [
        rates({p: GOLDEN_LABEL["abcd"[i]] for p, i in zip("abcd", np.argsort(row), strict=True)}, once) for row in keys
    ]
    far, seen = np.array([x.std(axis=0) for x in null]), rates(GOLDEN_LABEL, once).std(axis=0)
    rows = found.frame.set_index(["layer", "expert"]).loc[experts]
    assert rows["p"].tolist() == pytest.approx([(1 + sum(far[:, i] >= s - 1e-9)) / 1001 for i, s in enumerate(seen)])
    largest = far.max(axis=1)
    assert rows["p_adjusted"].tolist() == pytest.approx([(1 + sum(largest >= s - 1e-9)) / 1001 for s in seen])
    # a resample of the pairs x = (a, b) and y = (c, d) is xx, xy or yy
    times = ((2, 2, 0, 0), (1, 1, 1, 1), (0, 0, 2, 2))
    drawn = [rates(GOLDEN_LABEL, dict(zip("abcd", n, strict=True))) for n in times]
    score = [x.std(axis=0) / x.mean(axis=0) for x in drawn]
    assert rows["low"].to_numpy() == pytest.approx(np.min(score, axis=0))
    assert rows["high"].to_numpy() == pytest.approx(np.max(score, axis=0))


def test_what_cannot_be_asked_is_one_sentence() -> None:
    case = golden()

    def with_labels(labels: list) -> Rows:
        return {**case.rows, "labels": labels}

    refused: list[tuple[Rows, dict, str]] = [
        (case.rows, {"measure": "x"}, "measure='x' is not known; it can be spread, bits"),
        (case.rows, {"domains": "topic"}, "has no label 'topic'; it has verdict"),
        (case.rows, {"where": "verdict=refused"}, "'verdict' has 1 values among the prompts read of 'memory' where"),
        (with_labels([]), {}, "of the labels of 'memory' with 2 to 12 values none has: name one by domains="),
        (
            with_labels([label(p, v, name=n) for n in ("b", "a") for p, v in zip("ab", "xy", strict=True)]),
            {},
            "values a, b have: say domains=a",
        ),
    ]
    for rows, options, message in refused:
        with pytest.raises(WorkbenchError, match=message):
            domain_specialisation(memory_store(case.anatomy, rows), **options)
    some = memory_store(case.anatomy, with_labels([label(p, v) for p, v in (("a", "x"), ("b", "y"))]))
    assert "2 responses have no verdict and were left out" in domain_specialisation(some, **QUICK).notes


def test_a_domain_of_few_tokens_is_named() -> None:
    rng = np.random.default_rng(0)
    store = labelled([even(rng, n, 2, 6) for n in (5, 29, 20, 25, 1)], 6, ["a", "b", "c"])  # a: 30 tokens, b: 30, c: 20
    found = domain_specialisation(store, tokens="all", **QUICK).notes
    assert "rates and intervals say little of domains under 30 tokens: kind=c (20 tokens)" in found
    whole = labelled([even(rng, 30, 2, 6) for _ in "ab"], 6, ["a", "b"])
    assert "say little of domains" not in str(domain_specialisation(whole, tokens="all", **QUICK).notes)
