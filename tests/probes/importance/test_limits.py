"""Probes of importance where the answer is known without them: even and constant routing, scale, shifts, one expert a token."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from probes import easy_ep, shape, tcess, unlearning_affinity, usage
from tests.probes.oracle.cases import Case, empty, golden
from tests.probes.oracle.checks import scores
from tests.probes.oracle.importance.cases import drawn, judged, sized, turned
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.errors import WorkbenchError
from workbench.store import Store


def column(found: Any) -> np.ndarray:
    return found.frame.sort_values(["layer", "expert"])["score"].to_numpy()


def changed(case: Case, table: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Case:
    for row in case.rows[table]:
        row |= change(row)
    return case


def routed(sets: list[tuple[int, ...]], n_experts: int) -> Store:
    """One prompt whose tokens select these sets."""
    rows = empty()
    rows["prompts"].append({"prompt_id": "p", "n_tokens": len(sets)})
    for position, chosen in enumerate(sets):
        key = {"prompt_id": "p", "sample": 0, "position": position}
        rows["tokens"].append({**key, "token": "x", "token_id": 0, "role": "user", "generated": False})
        rows["slots"] += [{**key, "layer": 0, "slot": i, "expert": e, "weight": 0.5} for i, e in enumerate(chosen)]
    return memory_store(anatomy((n_experts,), len(sets[0])), rows)


def test_one_expert_a_token_has_no_coalition() -> None:
    found = shape(routed([(0,), (1,), (0,), (2,)], 4))
    assert set(column(found)) == {0.0}
    assert any("no rank correlation with frequency" in note for note in found.notes)


def test_constant_and_even_coalitions_need_nobody_more() -> None:
    assert set(column(shape(routed([(0, 1)] * 5, 3)))) == {0.0}
    even = [(a, b) for a in range(4) for b in range(a)]
    assert column(shape(routed(even, 4))) == pytest.approx(0)


def test_a_coalition_that_one_expert_completes_more_than_others_counts() -> None:
    # {0,1} 3 times, {0,2} and {1,2} once: 0: alpha = min(3/4, 1/2), 3 - 2 + 1 - 1 = 1; 2: alpha 1/4, 0 of both
    assert column(shape(routed([(0, 1)] * 3 + [(0, 2), (1, 2)], 3))) == pytest.approx([1 / 5, 1 / 5, 0])
    assert (column(shape(drawn(3).store)) <= column(usage(drawn(3).store, measure="rate", n_bootstrap=0)) + 1e-12).all()


def test_a_stream_that_nobody_turns_makes_everyone_idle() -> None:
    still = changed(turned(), "residual", lambda row: {"routed_change": -1e-9})
    assert set(column(easy_ep(still.full_store, n_bootstrap=0))) == {0.0}
    twice = changed(turned(), "residual", lambda row: {"routed_change": 2 * row["routed_change"]})
    assert column(easy_ep(twice.full_store)) == pytest.approx(2 * column(easy_ep(turned().full_store)))


def test_domains_have_equal_say_however_many_tokens_they_have() -> None:
    found = easy_ep(turned().full_store, domains="verdict").frame
    assert found.groupby("layer")["score"].sum().tolist() == pytest.approx([1, 1])
    assert found["low"].isna().all()


def test_even_logits_give_even_affinity_and_a_shift_changes_none() -> None:
    even = changed(judged(), "logits", lambda row: {"router_logits": [3.0] * len(row["router_logits"])})
    assert column(unlearning_affinity(even.store)) == pytest.approx([1 / 3] * 3 + [1 / 5] * 5)
    shifted = changed(drawn(4), "logits", lambda row: {"router_logits": [z + 7 for z in row["router_logits"]]})
    assert column(unlearning_affinity(shifted.store)) == pytest.approx(column(unlearning_affinity(drawn(4).store)))
    found = unlearning_affinity(drawn(4).store).frame
    assert found.groupby("layer")["score"].sum().tolist() == pytest.approx([1, 1])
    assert (found["low"] <= found["score"]).all()
    assert (found["score"] <= found["high"]).all()


def test_all_of_a_token_s_logits_add_up_to_their_mean() -> None:
    store = drawn(5).store
    found = scores(tcess(store, tokens="all", first=9))
    mean = np.mean([row["router_logits"] for row in drawn(5).rows["logits"] if row["layer"] == 1], axis=0)
    assert [found[1, e][0] for e in range(len(mean))] == pytest.approx(mean, abs=1e-6)


def test_a_prompt_finds_its_own_task() -> None:
    # the prompts of a task win alike in layer 1, and its scores are told from the other's
    def wins(row: dict[str, Any]) -> dict[str, Any]:
        best = 0 if row["prompt_id"] in "ac" else 2
        return {"router_logits": [float(e == best) for e in range(len(row["router_logits"]))]}

    store = changed(judged(), "logits", wins).store
    for prompt, task in (("a", "refused"), ("b", "answered"), ("c", "refused"), ("d", "answered")):
        notes = tcess(store, tasks="verdict", prompt=prompt).notes
        assert any(note.startswith(f"the pattern of {task}, nearest to prompt {prompt} in layer 1") for note in notes)


REFUSED = [
    (lambda: easy_ep(sized().store), "kept no residual, which says how far .* keep={'norms', 'residual'}"),
    (lambda: easy_ep(turned().full_store, domains="topic"), "'topic' in 'memory' .none. has tokens"),
    (
        lambda: tcess(golden().store),
        "kept no router logits; capture it again with keep={'norms', 'residual', 'logits'}",
    ),
    (lambda: unlearning_affinity(golden().store), "kept no router logits"),
    (lambda: tcess(judged().store, first=0), "first=0 takes no expert of a token; give 1 or more"),
    (lambda: tcess(judged().store, tasks="verdict"), "by tasks=LABEL and prompt=ID together"),
    (lambda: tcess(judged().store, tasks="verdict", prompt="z"), "has no prompt 'z' whose task could be found"),
    (lambda: tcess(judged().store, tasks="verdict", prompt="a", where="pair=x"), "No token .* is read for refused"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED)
def test_what_cannot_be_asked_is_a_sentence(ask: Callable[[], Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        ask()
