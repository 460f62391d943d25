"""Small cases that a method meets once in a while: markers inside words, silent answers, first rows, uneven clusters."""

from math import log2
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probes import co_selection, dead_experts, ftri, npmi, routing_entropy, super_experts, usage
from probes.magnitudes import MassiveRule, rule_from
from probes.magnitudes.extremes import extremes
from probes.outputs import thresholds
from probes.outputs.super_experts import INFORMATIVE
from probes.ranking import assemble, join_flags, not_finite_note, refs_of, tied
from probes.reading import describe, expert_axis, find_marker, select, shared_end
from probes.reading.markers import spelled
from probes.reading.shared_end import common_end
from probes.statistics import Sample, class_members, interval, permutation_test
from probes.statistics.difference import effective_size
from probes.statistics.permute import Blocks, log_relabellings, members, permutations
from probes.statistics.shift import all_shifts, circles
from tests.probes.oracle.cases import empty, golden, label
from tests.probes.oracle.goldens import outlier_rows
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.errors import WorkbenchError

# ---- markers


@pytest.mark.parametrize(
    ("texts", "marker", "found"),
    [
        (["a", "<thi", "nk", ">", "b"], "<think>", [3]),
        (["a<thi", "nk>b"], "<think>", [1]),  # its ends are shared with what stands around
        (["x", "</", "think", ">", "</", "think", ">"], "</think>", [3, 6]),
        (["con", "cat", "s"], "cat", [1]),
        (["con", "ca", "t"], "cat", [2]),
        (["conca", "t"], "cat", []),  # inside a word
        (["ca", "ts"], "cat", []),  # the word goes on
        ([" ca", "t"], "cat", [1]),
        (["-ca", "t"], "cat", []),
        (["so", " what", " is", "?"], "what is", [2]),
        (["aa"], "", []),
        (["xyz", "w"], "q", []),
    ],
)
def test_a_marker_is_spelled_by_a_run_of_tokens(texts: list[str], marker: str, found: list[int]) -> None:
    assert np.flatnonzero(spelled(texts, np.zeros(len(texts), int), marker)).tolist() == found


def test_no_marker_is_spelled_across_two_sequences() -> None:
    texts = ["<thi", "nk>", "<thi", "nk>"]
    assert np.flatnonzero(spelled(texts, np.array([0, 1, 1, 1]), "<think>")).tolist() == [3]


def words(texts: str, **columns: Any) -> Any:
    """One prompt a text: words of one letter are the user's; those after a bar were generated."""
    rows = empty()
    for number, text in enumerate(texts.split("/")):
        asked, _, said = text.partition("|")
        prompt = f"p{number}"
        about = {name: values[number] for name, values in columns.items()}
        rows["labels"] += [label(prompt, about.pop("verdict"))] if "verdict" in about else []
        rows["prompts"].append({"prompt_id": prompt, "n_tokens": len(asked), **about})
        for position, letter in enumerate(asked + said):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            generated = position >= len(asked)
            token = {"_": " ", "T": "<think>", "M": "<think>"}.get(letter, letter)
            role = {"T": "think", "s": "special"}.get(letter, "assistant" if generated else "user")
            rows["tokens"].append(
                {**key, "token": token, "token_id": ord(letter), "role": role, "generated": generated}
            )
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": ord(letter) % 3, "weight": 1.0})
    return memory_store(anatomy((3,), 1), rows)


def where(store: Any, mask: np.ndarray) -> list[str]:
    rows = store.tokens[mask]
    return [f"{p}:{i}" for p, i in zip(rows["prompt_id"], rows["position"], strict=True)]


def test_a_marker_by_its_number_or_text_among_the_tokens_read() -> None:
    store = words("aba|b/ab")
    every = np.ones(6, bool)
    assert where(store, find_marker(store, ord("b"), every)) == ["p0:1", "p0:3", "p1:1"]
    assert where(store, find_marker(store, "b", select(store, "prompt"))) == ["p0:1", "p1:1"]
    with pytest.raises(
        WorkbenchError, match=r"The marker '98' is at none of the 1 tokens read of 'memory'; tokens with angle "
    ):
        find_marker(store, 98, np.arange(6) == 0)
    with pytest.raises(
        WorkbenchError, match=r"'<thonk>' is at none of the 3 tokens read of 'memory'; did you mean '<think>'"
    ):
        find_marker(words("aT|b"), "<thonk>", np.ones(3, bool))
    with pytest.raises(WorkbenchError, match=r"tokens with angle brackets are none\."):
        find_marker(store, "q", every)


def test_a_marker_that_is_only_mentioned_counts_as_a_token_alone() -> None:
    store, quick = words("aMb|Tc/ab|Tc"), {"n_permutations": 0, "n_bootstrap": 0}
    assert npmi(store, token="<think>", **quick).notes[0] == "<think>: 3 occurrences in 2 responses"
    assert npmi(store, {"<think>": 1}, **quick).notes[0] == "<think>: 2 occurrences in 2 responses"


# ---- tokens read


def test_the_answer_begins_after_thoughts_and_blanks() -> None:
    store = words("ab|T_xy/ab/ab|x/ab|Ts_")
    # p0: x at 4, decided at 3; p1 holds no response: the last prompt token; p2: decided at 1; p3 never says anything
    assert where(store, select(store, "first_answer")) == ["p0:3", "p1:1", "p2:1"]
    assert where(store, select(store, "first_generated")) == ["p0:2", "p2:2", "p3:2"]
    assert where(store, select(store, "last_prompt")) == ["p0:1", "p1:1", "p2:1", "p3:1"]


def test_the_frame_is_what_all_used_prompts_share() -> None:
    store = words("sawb/sbxa/scya")
    used = np.array([True, True, False])
    assert where(store, select(store, "frame", None, used)) == ["p0:1", "p0:3", "p1:1", "p1:3"]
    assert where(store, select(store, "frame")) == ["p0:1", "p1:3", "p2:3"]
    with pytest.raises(
        WorkbenchError, match="No token is common to all 2 prompts, so there is no sentence frame; read tokens="
    ):
        select(words("ab/cd"), "frame")
    with pytest.raises(WorkbenchError, match=r"is in tokens='a mask of 0 tokens' with role user, think; read"):
        select(store, np.zeros(12, bool), ["user", "think"])
    assert describe(np.array([True, True, False])) == "a mask of 2 tokens"
    with pytest.raises(WorkbenchError, match=r"tokens has shape \[12\] of int64; it needs a name"):
        select(store, np.zeros(12, int))


def test_what_two_prompts_of_a_pair_end_with() -> None:
    assert common_end([[1, 2, 3], [9, 2, 3]]) == 2
    assert common_end([[2, 3], [1, 2, 3], [3]]) == 1
    assert common_end([[1], [2]]) == 0
    store = words("abcd|c/xcd|d/ad/zzd/d|d", pair=["k", "k", "k", "m", None])
    classes = np.array([0, 1, -1, 0, 1])
    assert where(store, shared_end(store, classes)) == ["p0:2", "p0:3", "p1:1", "p1:2"]
    # with the third prompt compared too, all end with one token only
    assert where(store, shared_end(store, np.array([0, 1, 1, 0, 1]))) == ["p0:3", "p1:2", "p2:1"]
    with pytest.raises(WorkbenchError, match="No pair of 'memory' has two compared prompts that end alike"):
        shared_end(store, np.array([0, 0, -1, 0, 1]))  # both of one class


# ---- values not finite, first rows, flags


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


def test_flags_join_and_ties_are_among_those_that_count() -> None:
    flags = {"dead": np.array([True, False, True]), "ties": np.array([True, False, False])}
    assert join_flags(flags) == ["dead; ties", "", "dead"]
    score = pd.Series([1.0, 1.0, 1.0, 2.0, np.nan, np.nan, 0.0])
    among = np.array([True, True, False, True, True, True, True])
    assert tied(score, among).tolist() == [True, True, False, False, False, False, False]
    assert tied(score, np.array([True, False, False, True, True, True, True])).tolist() == [False] * 7


def test_an_answer_about_super_experts_says_everything() -> None:
    store = memory_store(anatomy((0, 11, 11, 11), 1, 1), outlier_rows())
    found = super_experts(store)
    massive = [100.0, 1000.0, 1.2, "ordinary"]
    assert found.options == {"rule": "tenth_of_max", "guard": True, "massive": massive, "shared": True}
    rule = "|h| > 100 and > 1000 x the median |h| of the layer's tokens, a rule of ours"
    none = "no p-value, no interval: a maximum has no null of labels, and its bootstrap interval is not valid"
    assert found.notes == (f"layers 1 form massive activations ({rule})", "over 11 experts max / 10 = 60", none)
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
    assert alone.notes == (found.notes[0], "over 10 experts 99.5th percentile = 575.5, max / 10 = 60", few, noise, none)
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


# ---- draws


def test_uneven_clusters_weigh_by_their_part_of_the_variance() -> None:
    d, who = np.array([1.0, 3.0, 2.0, 2.0]), np.array([0, 1, 0, 1])
    sample = Sample(np.zeros((4, 1)), d, class_members(np.array([0, 0, 1, 1]), 2), np.array([1.0, -1.0]))
    # each unit's d over its class's total of 4, squared by size: 1/16 3/16 | 2/16 2/16; clusters 3/16 and 5/16
    assert effective_size(sample, who) == pytest.approx(8**2 / (3**2 + 5**2))
    three = Sample(np.zeros((4, 1)), d, class_members(np.array([0, 1, 1, 2]), 3), np.array([1.0, -0.5, -0.5]))
    # 1 | 1/4 x (3/25 2/25) | 1/4 x 1/2: clusters 1 + 1/50 and 3/100 + 1/8
    one, two = 1 + 1 / 50, 3 / 100 + 1 / 8
    assert effective_size(three, who) == pytest.approx((one + two) ** 2 / (one**2 + two**2))


def test_units_of_blocks_move_together_and_alike() -> None:
    blocks = Blocks(np.array([2, 0, 1, 0, 2, 1]), np.array([5, 5, 5]))
    found = members(blocks)
    assert found.first.tolist() == [0, 2, 4]
    assert found.size.tolist() == [2, 2, 2]
    assert found.order.tolist() == [1, 3, 2, 5, 0, 4]
    assert found.rank.tolist() == [0, 0, 0, 1, 1, 1]
    # two pairs of one group turn together, the third pair by itself
    pairs = Blocks(np.arange(6), np.array([0, 0, 1, 1, 2, 2]), np.array([7, 7, 7, 7, 3, 3]))
    moved = {tuple(row) for row in permutations(pairs, 200, np.random.default_rng(0)).tolist()}
    both, third = [(0, 1, 2, 3), (1, 0, 3, 2)], [(4, 5), (5, 4)]
    assert moved == {a + b for a in both for b in third}
    label = np.array([0, 1, 1, 0, 0, 1])
    assert np.exp(log_relabellings(pairs, label)) == pytest.approx(4)
    assert np.exp(log_relabellings(pairs._replace(group=None), label)) == pytest.approx(8)
    # blocks of two units with the same labels inside are alike: 3! / 2!
    assert np.exp(log_relabellings(blocks, np.array([0, 1, 0, 1, 1, 1]))) == pytest.approx(3)


def test_every_step_around_the_circle() -> None:
    expert, value = np.array([[0, 1], [1, -1], [2, 0], [0, -1]]), np.array([1.0, 0.0, -1.0, -1.0])
    for step, found in enumerate(all_shifts(expert, value, 3)):
        wanted = [sum(v for i, v in enumerate(value) if e in expert[(i + step) % 4]) for e in range(3)]
        assert found.tolist() == pytest.approx(wanted)
    sequence, read = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 1, 0, 1, 1], bool)
    parts = circles(sequence, read, np.array([0, 2.0, 0, 5.0, -1.0, 0]))
    assert [(c.rows.tolist(), c.value.tolist()) for c in parts] == [([0, 1], [0, 2.0]), ([4, 5], [-1.0, 0])]


def test_step_down_and_the_adjustments_that_need_no_draws() -> None:
    # own p-values by 4 draws: 1/5, 2/5, 3/5
    null = np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 2.0], [3.0, 1.0, 1.0], [0.5, 0.1, 0.2]])
    score = np.array([4.0, 4.0, 2.0])
    for adjust, wanted in (("none", [0.2, 0.4, 0.6]), ("bonferroni", [0.6, 1.0, 1.0]), ("bh", [0.6, 0.6, 0.6])):
        tested = permutation_test(score, np.zeros(3), lambda block: null[:, block], 4, adjust)  # pyright: ignore[reportArgumentType]
        assert tested.p.tolist() == pytest.approx([0.2, 0.4, 0.6])
        assert tested.p_adjusted.tolist() == pytest.approx(wanted)
    # 12 clusters: the 95 % interval of the numbers 0 to 1000 reaches t(11) sqrt(12 / 11) = 2.299 of a normal's deviations
    low, high = interval(lambda block: np.arange(1001.0)[:, None][:, block * 0], 2, 1001, 12)
    assert (low.tolist(), high.tolist()) == (
        [pytest.approx(10.76, abs=0.05)] * 2,
        [pytest.approx(989.24, abs=0.05)] * 2,
    )


# ---- usage beside its scores


def test_entropy_co_selection_and_the_dead_of_the_golden_store() -> None:
    entropy = routing_entropy(golden().store, tokens="prompt")
    one, two = [6 / 16, 6 / 16, 4 / 16], [4 / 16, 4 / 16, 3 / 16, 5 / 16]
    bits = [-sum(x * log2(x) for x in loads) for loads in (one, two)]
    own = 0.25 * 2 + 0.75 * log2(4 / 3)  # every token weighs 1/4 and 3/4
    assert entropy.columns.tolist() == [
        "layer",
        "n_experts",
        "load_entropy_bits",
        "evenness",
        "token_entropy_bits",
        "n_dead",
    ]
    for row, layer, n, load, dead in zip(entropy.itertuples(index=False), (1, 2), (3, 5), bits, (0, 1), strict=True):
        assert tuple(row) == pytest.approx((layer, n, load, load / log2(n), own, dead), rel=1e-6)
    assert entropy.dtypes.astype(str).tolist() == ["int32", "int32", *["float64"] * 3, "int32"]
    together = co_selection(golden().store, 2, where="pair=y", tokens="prompt")
    # c {0,3}; d {1,2} {1,3}
    wanted = np.zeros((5, 5))
    for a, b in ((0, 3), (1, 2), (1, 3)):
        for i, j in ((a, b), (b, a), (a, a), (b, b)):
            wanted[i, j] += 1 / 3
    np.testing.assert_allclose(together.to_numpy(), wanted)
    assert (together.index.name, together.columns.name) == ("expert", "expert")
    assert [str(x) for x in dead_experts(golden().store, tokens="prompt", where="pair=y")] == ["L2E4"]
    assert dead_experts(golden().store).fingerprint == golden().anatomy.fingerprint
    only = usage(golden().store, measure="weight", tokens="last_prompt", where="pair=y", n_bootstrap=0).frame
    # the last prompt token of c {1,0} {3,0} and of d {1,0} {3,1}, slot 0 weighs 1/4 and slot 1 3/4
    found = {(r.layer, r.expert): r.score for r in only.itertuples() if r.n}
    assert found == pytest.approx({(1, 0): 0.75, (1, 1): 0.25, (2, 3): 0.25, (2, 0): 0.375, (2, 1): 0.375})
    last = golden()
    for row in last.rows["tokens"]:
        row["role"] = "tool" if row["token"] == "end" else row["role"]
    with pytest.raises(WorkbenchError, match="None of the tokens read of 'memory' was routed; read other tokens"):
        usage(last.store, roles="tool")


def test_layers_of_unequal_width_and_columns_that_are_not_there() -> None:
    store = golden().store
    axis = expert_axis(store, (1, 2))
    assert axis.layer.tolist() == [1] * 3 + [2] * 5
    assert axis.expert.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert axis.of(np.arange(20).reshape(2, 2, 5)).tolist() == [
        [0, 1, 2, 5, 6, 7, 8, 9],
        [10, 11, 12, 15, 16, 17, 18, 19],
    ]
    columns = {
        "score": np.array([0.1 + 0.2, 0.3, -0.0, 1, 2, 3, 4, 5]),
        "n": np.ones(8, int),
        "low": np.full(8, -1e-14),
    }
    found = assemble(store, "m", {"o": 1}, axis, columns, ("note",))
    frame = found.frame.sort_values(["layer", "expert"])
    assert frame["score"].tolist() == [0.3, 0.3, 0.0, 1, 2, 3, 4, 5], "sums that differ in their last digit tie"
    assert [str(x) for x in found.flagged("ties")] == ["L1E0", "L1E1"]
    assert np.copysign(1, frame["low"]).eq(1).all()
    assert frame[["high", "p", "p_adjusted"]].isna().all().all()
    assert (found.method, found.options, found.notes[0]) == ("m", {"o": 1}, "note")
    assert expert_axis(store, ()).layer.tolist() == []


def test_classes_weigh_alike_in_class_means() -> None:
    case = golden()
    for row in case.rows["labels"]:
        row["value"] = {"a": "refused", "b": "answered", "c": "answered", "d": "other"}[row["prompt_id"]]
    case.rows["labels"].append(label("a", "x", name="unused"))
    found = ftri(case.store, "refused", contrast="class_means", n_permutations=0, n_bootstrap=0)
    # shares at prompt tokens of L2E0: a 1; b 1/3 and c 1, so 2/3; d 0: 1 - (2/3 + 0) / 2
    scores = {(r.layer, r.expert): r.score for r in found.frame.itertuples()}
    assert scores[2, 0] == pytest.approx(2 / 3)
    assert found.notes[:3] == (
        "refused: 1 responses, 2.0 tokens read on average", "answered: 2 responses, 2.0 tokens read on average",
        "other: 1 responses, 2.0 tokens read on average",
    )  # fmt: skip


def test_responses_without_a_token_to_read_are_counted() -> None:
    store = words("ab|xy/ab/ab|xy/ab|xy/ab", verdict=["yes", "yes", "no", "yes", "no"])
    asked = {"tokens": "response", "n_permutations": 0, "n_bootstrap": 0}
    assert ftri(store, "yes", "no", **asked).notes[:3] == (
        "yes: 2 responses, 2.0 tokens read on average", "no: 1 responses, 2.0 tokens read on average",
        "2 responses had no token to read and were left out",
    )  # fmt: skip
    silent = words("ab|xy/ab/ab/ab|xy/ab", verdict=["yes", "yes", "no", "yes", "no"])
    with pytest.raises(WorkbenchError, match="there are 2 of 'yes', 0 of 'no', and each class needs one or more"):
        ftri(silent, "yes", "no", **asked)


def test_a_marker_in_one_cluster_has_no_interval_and_lost_resamples_are_counted() -> None:
    store = words("am/ab/ab/ab", cluster=["u", "v", "w", "x"])
    one = npmi(store, token="m", n_permutations=0)
    assert one.notes[3] == "no interval: a marker is in 1 cluster, and 2 are needed"
    store = words("am/am/ab/ab", cluster=["u", "v", "w", "x"])
    found = npmi(store, token="m", n_permutations=0, n_bootstrap=200)
    drawn = np.random.default_rng([0, 1]).multinomial(4, [0.25] * 4, size=200)
    lost = int((drawn[:, :2].sum(axis=1) == 0).sum())  # about 1 in 16
    assert found.notes[3] == f"{lost} of 200 resamples held no marker and were not used"
    with pytest.raises(
        WorkbenchError, match=r"No token of 'memory' is in tokens='all' with role tool; read other tokens\."
    ):
        npmi(store, role="tool")
    with pytest.raises(
        WorkbenchError, match=r"npmi was given markers and role; ask for one of markers, token, role, label\."
    ):
        npmi(store, {"m": 1}, role="user")


def test_a_single_draw_is_a_draw() -> None:
    one = {"where": "pair=x", "n_bootstrap": 1, "n_permutations": 1}
    cluster = "no interval: one class has 1 cluster, and 2 are needed"
    assert cluster in ftri(golden().store, "refused", "answered", **one).notes
    assert (
        "no interval: a marker is in 1 cluster, and 2 are needed" in npmi(golden().store, token="<think>", **one).notes
    )
    assert (
        "no interval: there is 1 cluster, and 2 are needed"
        in usage(golden().store, where="pair=x", n_bootstrap=1).notes
    )
    found = ftri(golden().store, "refused", "answered", n_bootstrap=1, n_permutations=1).frame
    assert found["low"].tolist() == found["high"].tolist()
    assert found["low"].notna().all()
    assert set(found["p"]) <= {0.5, 1.0}  # (1 + 0 or 1) / (1 + 1)
    shifted = npmi(golden().store, token="<think>", n_bootstrap=1, n_permutations=1).frame.dropna(subset=["score"])
    assert set(shifted["p"]) <= {0.5, 1.0}
    assert usage(golden().store, n_bootstrap=1).frame["low"].notna().all()
