"""What is known of routing that follows ids, and of routing that follows nothing; the baseline against loops; refusals."""

from typing import Any

import numpy as np
import pytest

from probes import token_specialisation
from probes.baselines import token_baseline
from tests.probes.oracle.cases import golden, random_case
from tests.probes.oracle.memory import memory_store
from tests.probes.oracle.specialisation import brute
from tests.probes.traffic.routed import even, routed_store
from workbench.errors import WorkbenchError


def test_routing_by_the_id_alone_is_predicted_and_told_from_even_routing() -> None:
    """Prompts of 16 words that each go to two experts of their own: 3 bits of 8 pairs; the ids are the positions here."""
    by_id = np.stack([np.arange(16) % 8 * 2, np.arange(16) % 8 * 2 + 1], axis=1)
    found = token_specialisation(routed_store([by_id] * 20, 16), tokens="all", least=20)
    row = found.frame.iloc[0]
    assert row["information"] == pytest.approx(3)
    assert row["spread"] == pytest.approx(np.sqrt(1 / 8 * 7 / 8))
    assert found.notes[0] == (
        "routing or topic? the token's id alone predicts 100% of what held-out prompts select, its bigram 100%, load alone 12% "
        "(320 tokens)"
    )
    rng = np.random.default_rng(0)
    none: Any = token_specialisation(routed_store([even(rng, 16, 2, 16) for _ in range(60)], 16), tokens="all").frame
    assert none["information"].min() > 0.05, "few tokens of many ids look informative"
    assert none["excess"].abs().max() < 0.03, "over chance they are not"


def test_the_baseline_equals_loops_over_rows() -> None:
    for seed in range(4):
        case = random_case(seed)
        store = case.store
        prompts = {f"p{n}" for n in range(6)}
        found = token_baseline(store, store.routed_tokens)
        assert found is not None
        # the side that was drawn is one of those in which pairs stay together
        pair = {p["prompt_id"]: p["pair"] or p["prompt_id"] for p in case.rows["prompts"]}
        names = sorted(set(pair.values()))
        sides = [{p for p in prompts if pair[p] in half} for half in subsets(names)]
        loops = [brute.held_out_recall(case.rows, case.experts, side) for side in sides]
        assert any(np.allclose(found[:3], one) for one in loops), (seed, found)
        assert found.n == store.routed_tokens.sum()


def subsets(names: list[str]) -> list[set[str]]:
    n = (len(names) + 1) // 2
    chosen = [{x for i, x in enumerate(names) if bits >> i & 1} for bits in range(2 ** len(names))]
    return [some for some in chosen if len(some) == n]


def test_what_cannot_be_asked_is_one_sentence_or_a_note() -> None:
    rows = golden().rows
    bare = {**rows, "tokens": [{**t, "token_id": None, "token": None} for t in rows["tokens"]]}
    with pytest.raises(WorkbenchError, match="was captured without text, so its token ids are unknown"):
        token_specialisation(memory_store(golden().anatomy, bare))
    with pytest.raises(WorkbenchError, match="n_shuffles=0 and least=1 should both be 1 or more"):
        token_specialisation(golden().store, n_shuffles=0, least=1)
    one = token_specialisation(golden().store, where="pair=x")
    assert one.notes[0] == "routing or topic? no baseline of held-out prompts: there is one cluster of prompts alone"
