"""Scores beyond the word that is read: by hand, by loops, where words say all and where they say nothing; chance; refusals."""

import os
from math import log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import probes
from probes import contrast, domain_specialisation, ftri, npmi
from tests.probes.baselines import loops
from tests.probes.oracle.brute import label_of, sequences
from tests.probes.oracle.cases import Case, golden, label, random_case
from tests.probes.oracle.checks import agree, assert_same
from tests.probes.oracle.goldens import N_PROMPT
from tests.probes.oracle.memory import memory_store
from tests.probes.traffic.routed import routed_rows
from workbench.errors import WorkbenchError
from workbench.store import Store

QUICK: Any = {"n_permutations": 0, "n_bootstrap": 0}
CASES = st.builds(
    random_case,
    seed=st.integers(0, 2**32),
    n_prompts=st.integers(2, 7),
    top_k=st.integers(1, 3),
    samples=st.sampled_from([1, 3]),
)
TOKENS = st.sampled_from(["all", "prompt", "response"])
WORDS = st.sampled_from(["token", "bigram"])
DRAWN = settings(max_examples=int(os.environ.get("WORKBENCH_CASES", "20")), deadline=None, derandomize=True)


def with_n(score: dict[tuple[int, int], float | None]) -> dict[tuple[int, int], tuple[float | None, int]]:
    return {x: (value, N_PROMPT[x]) for x, value in score.items()}


def test_by_hand() -> None:
    """Prompt tokens of `cases.golden`. Words: what (id 4) begins each prompt; is and it (id 2).

    Layer 1: both words have the rates 3/4 3/4 1/2, so nothing changes. Layer 2: what 1/2 1/2 1/2 1/2, the other 1/2 1/2 1/4 3/4.
    Residuals a token:  a  1/2 -1/2 -3/8 3/8    b  -1/6 1/6 1/3 -1/3    c  1/2 -1/2 -1/2 1/2    d  -1/2 1/2 1/8 -1/8
    """
    how: Any = {"tokens": "prompt", "beyond": "token", **QUICK}
    store = golden().store
    two = {(2, 0): 5 / 6, (2, 1): -5 / 6, (2, 2): -2 / 3, (2, 3): 2 / 3, (2, 4): 0.0}
    found = ftri(store, "refused", "answered", **how)
    assert_same(found, with_n({(1, 0): 1 / 3, (1, 1): 0.0, (1, 2): -1 / 3, **two}))
    said = "beyond the token: selections without what each token's own rate gives; 100% of the tokens read have a token"
    assert any(note.startswith(said) for note in found.notes)
    pooled = {(2, 0): 0.8, (2, 1): -0.8, (2, 2): -2 / 3, (2, 3): 2 / 3, (2, 4): 0.0}
    one = {(1, 0): 2 / 5, (1, 1): -2 / 15, (1, 2): -4 / 15}
    assert_same(contrast(store, "refused", "answered", **how), with_n({**one, **pooled}))
    # the rates are the residuals' and the expert's own: of layer 2  1 1/5,  0 4/5,  -1/24 5/8,  25/24 3/8
    spread = {
        (1, 0): 1 / 4,
        (1, 1): 1 / 11,
        (1, 2): 2 / 7,
        (2, 0): 2 / 3,
        (2, 1): 1.0,
        (2, 2): 8 / 7,
        (2, 3): 8 / 17,
        (2, 4): None,
    }
    assert_same(domain_specialisation(store, domains="verdict", **how), with_n(spread))
    # of 3 tokens refused words give layer 1  9/4 9/4 3/2,  layer 2  3/2 3/2 5/4 7/4; selected are 3 2 1 and 3 0 0 3 of 8 read
    above = {(1, 0): log2(4 / 3) / log2(8 / 3), (1, 1): log2(8 / 9) / 2, (1, 2): log2(2 / 3) / 3}
    above |= {(2, 0): 1 / log2(8 / 3), (2, 1): -1, (2, 2): -1, (2, 3): log2(12 / 7) / log2(8 / 3), (2, 4): None}
    assert_same(npmi(store, target="refused", **how), with_n(above))


@DRAWN
@given(CASES, TOKENS, WORDS)
def test_scores_beyond_words_equal_loops(case: Case, tokens: str, by: str) -> None:
    two = ["refused", "answered"]
    how: Any = {"tokens": tokens, "beyond": by, **QUICK}
    for ask, brute in ((probes.ftri, loops.ftri), (probes.contrast, loops.contrast)):
        expected = brute(case.rows, case.experts, two, tokens, by)
        agree(lambda ask=ask: ask(case.store, "verdict=refused", "verdict=answered", **how), expected)
    values = sorted({v for s in sequences(case.rows) if (v := label_of(case.rows, s, "verdict")) is not None})
    expected = loops.spread(case.rows, case.experts, values, tokens, by) if len(values) > 1 else None
    agree(lambda: probes.domain_specialisation(case.store, domains="verdict", **how), expected)


@DRAWN
@given(st.integers(0, 2**32), TOKENS, WORDS)
def test_npmi_beyond_words_equals_loops(seed: int, tokens: str, by: str) -> None:
    case = random_case(seed)
    rows = {**case.rows, "labels": [label(f"p{n}", "refused" if n % 2 else "answered") for n in range(6)]}
    expected = loops.npmi(rows, case.experts, ["refused", "answered"], tokens, by)
    store = memory_store(case.anatomy, {name: found for name, found in rows.items() if name != "residual"})
    agree(lambda: npmi(store, target="verdict=refused", tokens=tokens, beyond=by, **QUICK), expected)


def classed(prompts: list[np.ndarray], n_experts: int) -> Store:
    """Prompts of the words 0, 1, 2, ... in their order; every second one is of class b."""
    rows, anatomy = routed_rows(prompts, n_experts)
    rows["labels"] = [label(f"p{n:04d}", "ab"[n % 2], name="kind") for n in range(len(prompts))]
    return memory_store(anatomy, rows)


def test_experts_that_follow_words_have_nothing_left_and_experts_that_follow_the_class_keep_it_all() -> None:
    """Slot 0 goes by the word; slot 1 by the class. Class b has the first three words alone, so a raw score tells it by words."""
    prompts = [np.stack([np.arange(6), np.full(6, 6 + n % 2)], axis=1)[: 6 - 3 * (n % 2)] for n in range(20)]
    store = classed(prompts, 9)
    raw = ftri(store, "kind=b", tokens="all", **QUICK).frame.set_index("expert")["score"]
    assert raw[[0, 1, 2]].tolist() == pytest.approx([1 / 6] * 3)
    for by in ("token", "bigram"):
        found = ftri(store, "kind=b", tokens="all", beyond=by, n_permutations=199, n_bootstrap=0)
        frame = found.frame.set_index("expert")
        assert frame["score"][[0, 1, 2, 3, 4, 5, 8]].tolist() == [0] * 7
        assert {str(ref) for ref in found.flagged(f"follows the {by} alone")} == {f"L0E{e}" for e in range(6)}
        # of the three words that both have half of each is b's; the other three say nothing: 1/2 of b, and 1/4 of a
        assert frame["score"][7] == pytest.approx(1 / 2 + 1 / 4)
        assert frame["p_adjusted"][[0, 7]].tolist() == [1, 1 / 200]
        assert "67% of the tokens read have" in " ".join(found.notes)
        assert "; 6 experts follow it alone" in " ".join(found.notes)
    assert (
        domain_specialisation(store, tokens="all", beyond="token", **QUICK).frame.set_index("expert")["score"][0] == 0
    )
    gone = npmi(store, target="kind=b", tokens="all", beyond="token", **QUICK).frame.set_index("expert")["score"]
    assert gone[[0, 1, 2, 3, 4, 5]].tolist() == [0] * 6
    assert gone[6] == -1
    assert contrast(store, "kind=b", tokens="all", beyond="token", **QUICK).frame.set_index("expert")["score"][0] == 0


def test_where_both_classes_say_the_same_words_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    prompts = [rng.permuted(np.tile(np.arange(8), (5, 1)), axis=1)[:, :2] for _ in range(12)]
    store = classed(prompts, 8)
    for ask in (ftri, contrast):
        plain, left = (ask(store, "kind=a", tokens="all", beyond=by, n_permutations=99) for by in ("nothing", "token"))
        for column in ("score", "p", "p_adjusted"):
            assert left.frame[column].tolist() == pytest.approx(plain.frame[column].tolist())
    plain, left = (
        domain_specialisation(store, tokens="all", beyond=by, n_permutations=99) for by in ("nothing", "token")
    )
    assert left.frame[["score", "p"]].to_numpy() == pytest.approx(plain.frame[["score", "p"]].to_numpy())


def test_a_role_s_words_shift_with_it() -> None:
    """p-values of a role beyond words: shifts of the residuals, counted one by one."""
    found = npmi(golden().store, role="think", tokens="all", beyond="token", n_permutations=99)
    assert found.frame["score"].dropna().tolist() == [0] * 7, "<think> is one word, which nothing else says"
    rows = golden().rows
    for token in rows["tokens"]:
        token["token_id"] = 1
    store = memory_store(golden().anatomy, {name: found for name, found in rows.items() if name != "residual"})
    same, plain = (npmi(store, role="think", beyond=by, n_permutations=199) for by in ("token", "nothing"))
    columns = ["score", "low", "high", "p", "p_adjusted"]
    # one word for all: it gives every token the same, and what is left is what there was, as long as rates are those of all
    assert same.frame["score"].to_numpy() == pytest.approx(plain.frame["score"].to_numpy(), nan_ok=True)
    assert same.frame[columns[3:]].to_numpy() == pytest.approx(plain.frame[columns[3:]].to_numpy(), nan_ok=True)


def test_what_cannot_be_asked_is_one_sentence() -> None:
    store, wrong = golden().store, "beyond='x' is not known; it can be nothing, token, bigram"
    bare = memory_store(
        golden().anatomy, {**golden().rows, "tokens": [{**t, "token_id": None} for t in golden().rows["tokens"]]}
    )
    asked: list[tuple[Any, str]] = [
        (lambda: ftri(store, "refused", "answered", beyond="x"), wrong),
        (lambda: contrast(store, "refused", "answered", beyond="x"), wrong),
        (lambda: npmi(store, role="think", beyond="x"), wrong),
        (
            lambda: npmi(store, token="<think>", beyond="token"),
            "npmi was asked for token beyond the token: a marker is itself a word",
        ),
        (lambda: npmi(store, beyond="bigram"), "npmi was asked for markers beyond the bigram"),
        (
            lambda: domain_specialisation(store, beyond="x"),
            "beyond='x' cannot be asked of measure='spread'; it can be nothing, token",
        ),
        (lambda: domain_specialisation(store, beyond="token", measure="bits"), "cannot be asked of measure='bits'"),
        (
            lambda: ftri(bare, "refused", "answered", beyond="token"),
            "was captured without text, so its token ids are unknown",
        ),
    ]
    for ask, message in asked:
        with pytest.raises(WorkbenchError, match=message):
            ask()
    plain = ftri(bare, "refused", "answered", **QUICK)
    assert (
        "routing or topic? no baseline: the store was captured without text, so its token ids are unknown"
        in plain.notes
    )
