"""Every method on four prompts, worked by hand; the arithmetic stands in the comments. See `cases.golden` for the table.

Selections at prompt tokens, layer 1 (experts 0, 1, 2):            layer 2 (experts 0, 1, 2, 3, 4):
  a, 2 tokens: {0,1} {0,2}         2 1 1                           {0,3} {0,3}         2 0 0 2 0
  b, 3 tokens: {1,2} {1,2} {0,1}   1 3 2                           {1,2} {0,1} {2,3}   1 2 2 1 0
  c, 1 token:  {0,1}               1 1 0                           {0,3}               1 0 0 1 0
  d, 2 tokens: {0,2} {0,1}         2 1 1                           {1,2} {1,3}         0 2 1 1 0
a and c refused, b and d answered; pairs (a, b) and (c, d). One generated token each, "<think>", was computed:
  a {1,2} {1,2}; b {0,2} {0,3}; c {0,2} {1,2}; d {1,2} {0,1}
"""

from math import log2
from types import ModuleType

from tests.probes.oracle.cases import empty, golden
from tests.probes.oracle.checks import QUICK, assert_same
from tests.probes.oracle.memory import anatomy, memory_store

# selections over all prompt tokens, in both layers
N_PROMPT = {(1, 0): 6, (1, 1): 6, (1, 2): 4, (2, 0): 4, (2, 1): 4, (2, 2): 3, (2, 3): 5, (2, 4): 0}


def with_n(score: dict[tuple[int, int], float], n: dict[tuple[int, int], int] = N_PROMPT) -> dict:
    return {expert: (value, n[expert]) for expert, value in score.items()}


def ftri(probes: ModuleType) -> None:
    # shares of tokens: layer 1   a 1 1/2 1/2   b 1/3 1 2/3   c 1 1 0   d 1 1/2 1/2
    #   refused: mean of a and c  1, 3/4, 1/4;  answered: mean of b and d  2/3, 3/4, 7/12
    # layer 2   a 1 0 0 1 0   b 1/3 2/3 2/3 1/3 0   c 1 0 0 1 0   d 0 1 1/2 1/2 0
    #   refused  1, 0, 0, 1, 0;  answered  1/6, 5/6, 7/12, 5/12, 0
    rate = {
        (1, 0): 1 / 3,
        (1, 1): 0,
        (1, 2): -1 / 3,
        (2, 0): 5 / 6,
        (2, 1): -5 / 6,
        (2, 2): -7 / 12,
        (2, 3): 7 / 12,
        (2, 4): 0,
    }
    found = probes.ftri(golden().store, "refused", "answered", **QUICK)
    assert_same(found, with_n(rate))
    assert [str(x) for x in found.top(3)] == ["L2E0", "L2E3", "L1E0"]
    assert [str(x) for x in found.bottom(2)] == ["L2E1", "L2E2"]
    # selections a response: layer 1  refused (2+1)/2, (1+1)/2, (1+0)/2; answered (1+2)/2, (3+1)/2, (2+1)/2
    # layer 2  refused 3/2, 0, 0, 3/2, 0; answered (1+0)/2, (2+2)/2, (2+1)/2, (1+1)/2, 0
    count = {(1, 0): 0, (1, 1): -1, (1, 2): -1, (2, 0): 1, (2, 1): -2, (2, 2): -3 / 2, (2, 3): 1 / 2, (2, 4): 0}
    assert_same(probes.ftri(golden().store, "refused", "answered", reduce="count", **QUICK), with_n(count))
    # weights: slot 0 weighs 1/4, slot 1 weighs 3/4. Expert 0 of layer 1, mean weight a token:
    #   a (1/4 + 3/4)/2 = 1/2; b (1/4)/3 = 1/12; c 3/4; d (1/4 + 3/4)/2 = 1/2: 5/8 - 7/24 = 1/3
    # expert 1   a (3/4)/2 = 3/8; b (1/4 + 3/4 + 3/4)/3 = 7/12; c 1/4; d (1/4)/2 = 1/8: 5/16 - 17/48 = -1/24
    weight = {(1, 0): 1 / 3, (1, 1): -1 / 24}
    found = probes.ftri(golden().store, "refused", "answered", reduce="weight", **QUICK).frame
    got = {(row.layer, row.expert): row.score for row in found.itertuples()}
    assert all(abs(got[x] - value) < 1e-7 for x, value in weight.items())


def contrast(probes: ModuleType) -> None:
    # pooled: refused has 2 + 1 = 3 tokens, answered 3 + 2 = 5
    # layer 1  3/3 - 3/5, 2/3 - 4/5, 1/3 - 3/5; layer 2  3/3 - 1/5, 0 - 4/5, 0 - 3/5, 3/3 - 2/5, 0
    pooled = {
        (1, 0): 2 / 5,
        (1, 1): -2 / 15,
        (1, 2): -4 / 15,
        (2, 0): 4 / 5,
        (2, 1): -4 / 5,
        (2, 2): -3 / 5,
        (2, 3): 3 / 5,
        (2, 4): 0,
    }
    assert_same(probes.contrast(golden().store, "refused", "answered", **QUICK), with_n(pooled))
    # pairs: the mean of (a - b) and (c - d). Layer 1  (2/3 + 0)/2, (-1/2 + 1/2)/2, (-1/6 - 1/2)/2
    # layer 2  (2/3 + 1)/2, (-2/3 - 1)/2, (-2/3 - 1/2)/2, (2/3 + 1/2)/2, 0
    pairs = {
        (1, 0): 1 / 3,
        (1, 1): 0,
        (1, 2): -1 / 3,
        (2, 0): 5 / 6,
        (2, 1): -5 / 6,
        (2, 2): -7 / 12,
        (2, 3): 7 / 12,
        (2, 4): 0,
    }
    assert_same(probes.contrast(golden().store, "refused", "answered", pooling="pairs", **QUICK), with_n(pairs))


def npmi(probes: ModuleType) -> None:
    # 8 prompt tokens and 4 generated ones were computed: T = 12. "<think>" M = 4, "what" (each first token) M = 4.
    # K, layer 1: 6+2, 6+2, 4+4 = 8, 8, 8; layer 2: 4+2, 4+3, 3+2, 5+1, 0 = 6, 7, 5, 6, 0
    # k of "<think>", layer 1: 2 (b, c), 2 (a, d), 4; layer 2: 2 (b, d), 3 (a, c, d), 2 (a, c), 1 (b), 0
    # k of "what", layer 1: {0,1} {1,2} {0,1} {0,2}: 3, 3, 2; layer 2: {0,3} {1,2} {0,3} {1,2}: 2, 2, 2, 2, 0
    def one(k: int, total: int) -> float:
        return log2((k / 4) / (total / 12)) / -log2(k / 12)

    n = {(1, 0): 8, (1, 1): 8, (1, 2): 8, (2, 0): 6, (2, 1): 7, (2, 2): 5, (2, 3): 6, (2, 4): 0}
    think = {(1, 0): 2, (1, 1): 2, (1, 2): 4, (2, 0): 2, (2, 1): 3, (2, 2): 2, (2, 3): 1}
    what = {(1, 0): 3, (1, 1): 3, (1, 2): 2, (2, 0): 2, (2, 1): 2, (2, 2): 2, (2, 3): 2}
    score = {x: one(think[x], n[x]) - one(what[x], n[x]) for x in think}
    assert abs(score[1, 2] - (0.3690702 + 0.1605584)) < 1e-6  # log2(1.5)/log2(3) - log2(0.75)/log2(6)
    found = probes.npmi(golden().store, {"<think>": 1, "what": -1}, **QUICK)
    assert_same(found, {**with_n(score, n), (2, 4): (None, 0)})
    assert "L2E4" in map(str, found.flagged("dead"))
    # never at the marker: -1. "it" is b's third token alone, {0,1} and {2,3}: M = 1
    found = probes.npmi(golden().store, token="it", **QUICK)
    it = {
        (1, 2): -1,
        (2, 0): -1,
        (2, 1): -1,
        (1, 0): log2(1 / (8 / 12)) / log2(12),
        (2, 2): log2(1 / (5 / 12)) / log2(12),
    }
    it |= {(1, 1): it[1, 0], (2, 3): log2(2) / log2(12)}
    assert_same(found, {**with_n(it, n), (2, 4): (None, 0)})


def usage(probes: ModuleType) -> None:
    # prompt tokens: 8 tokens, 16 selections in each layer
    load = {x: n / 16 for x, n in N_PROMPT.items()}
    assert_same(probes.usage(golden().store, tokens="prompt", n_bootstrap=0), with_n(load))
    assert_same(
        probes.usage(golden().store, tokens="prompt", measure="rate", n_bootstrap=0),
        with_n({x: n / 8 for x, n in N_PROMPT.items()}),
    )


def safex(probes: ModuleType) -> None:
    # the first floor(0.5 * 8) = 4 experts of each resample of a class; ties go by layer and number
    # refused: {a, a} 1 1/2 1/2 | 1 0 0 1 0: L1E0 L2E0 L2E3 and of the ties L1E1; {c, c} 1 1 0 | 1 0 0 1 0: the same four;
    #   {a, c}, 3 tokens: 1 2/3 1/3 | 1 0 0 1 0: the same four
    # answered: {b, b} 1/3 1 2/3 | 1/3 2/3 2/3 1/3 0: L1E1 L1E2 L2E1 L2E2; {d, d} 1 1/2 1/2 | 0 1 1/2 1/2 0: L1E0 L2E1 L1E1
    #   L1E2; {b, d}, 5 tokens: 3/5 4/5 3/5 | 1/5 4/5 3/5 2/5 0: L1E1 L2E1 L1E0 L1E2. In all three: L1E1 L1E2 L2E1
    # the score is the share of the refused's 3 tokens
    def found(group: str, **more: float) -> tuple[dict, list[str]]:
        scores = probes.safex(golden().store, "refused", "answered", group=group, alpha=0.5, **more)
        above = int((scores.frame["score"] > 0).sum())
        return scores, [str(x) for x in scores.top(above)] if above else []

    zeros = dict.fromkeys(N_PROMPT, 0.0)
    scores, named = found("control")
    assert_same(scores, with_n({**zeros, (1, 0): 1.0, (2, 0): 1.0, (2, 3): 1.0}))
    assert named == ["L1E0", "L2E0", "L2E3"]
    assert found("detection")[1] == ["L1E1"]
    assert_same(found("detection")[0], with_n({**zeros, (1, 1): 2 / 3}))
    assert found("stable")[1] == ["L1E0", "L2E0", "L2E3", "L1E1"]
    # asked for 3 in 10 resamples only, L1E0 is stable for the answered too: {d, d} and {b, d} are 3 of 4
    assert found("control", share=0.3)[1] == ["L2E0", "L2E3"]


def outlier_rows() -> dict:
    """4 layers; layers 1 to 3 have 11 experts, of which the last is never selected, and a shared one, top-1.

    Each expert writes |1| but for the exceptions below."""
    rows = empty()
    rows["prompts"] = [
        {"prompt_id": p, "text": p, "pair": None, "split": None, "cluster": None, "n_tokens": 10} for p in ("p", "q")
    ]
    special = {("p", 1, 7): 600.0, ("p", 1, 8): 2.0, ("q", 3, 4): 650.0, ("q", 1, 3): 56.0, ("q", 2, 5): 40.0}
    for prompt in ("p", "q"):
        for t in range(10):
            key = {"prompt_id": prompt, "sample": 0, "position": t}
            rows["tokens"].append({**key, "token_id": t, "token": "x", "role": "user", "generated": False})
            for layer in (-1, 0, 1, 2, 3):
                # token 0 of p is massive from layer 1 to 2; in layer 3 it shrinks. Elsewhere nothing is. Its other channels
                # are large as well, so that against its own median it is not: 501 is 501 x 1.
                first = (prompt, t) == ("p", 0)
                size = {1: 500.0, 2: 501.0, 3: 400.0}.get(layer, 1.0) if first else 99.0
                median = 1.0 if first and layer > 0 else 0.01
                rows["residual"].append(
                    {**key, "layer": layer, "l2": size, "max_abs": size, "median_abs": median, "argmax": 0}
                )
            for layer in (1, 2, 3):
                norms = {"output_l2": 0.0, "output_argmax": 0}
                a = special.get((prompt, layer, t), 1.0)
                rows["slots"].append(
                    {**key, "layer": layer, "slot": 0, "expert": t, "weight": 1.0, "output_max_abs": a, **norms}
                )
                rows["slots"].append(
                    {**key, "layer": layer, "slot": -1, "expert": -1, "weight": 1.0, "output_max_abs": 1.5, **norms}
                )
    return rows


def super_experts(probes: ModuleType) -> None:
    store = memory_store(anatomy((0, 11, 11, 11), 1, 1), outlier_rows())
    # ordinary tokens: 19 medians of 0.01 and one of 1, so 10 to pass. Layer 1 alone forms a massive activation (500 where
    # there was 1; 501 is not 1.2 x 500)
    # its 11 values: 600, 56, 2, 1.5 (shared), 1 seven times. 600 > 600 / 10; ten medians are 10: L1E7. 56 < 60.
    found = probes.super_experts(store)
    assert [str(x) for x in found.flagged("super expert")] == ["L1E7"]
    a = {(1, 7): 600.0, (1, 8): 2.0, (3, 4): 650.0, (1, 3): 56.0, (2, 5): 40.0}
    routed = {(layer, e, False): (a.get((layer, e), 1.0), 2) for layer in (1, 2, 3) for e in range(10)}
    routed |= {(layer, 10, False): (None, 0) for layer in (1, 2, 3)}
    assert_same(found, {**routed, **{(layer, 0, True): (1.5, 20) for layer in (1, 2, 3)}})
    assert any("of the 11 experts that the rule looks at: max / 10 = 60" in note for note in found.notes)
    assert any("layer 1 forms massive" in note for note in found.notes)
    assert not any("percentile" in note for note in found.notes)
    # the paper's: 99.5th percentile: 0.995 * 10 = 9.95 between 56 and 600: 56 + 0.95 * 544 = 572.8 < 600
    found = probes.super_experts(store, "paper")
    assert [str(x) for x in found.flagged("super expert")] == ["L1E7"]
    assert any(
        "of the 11 experts that the rule looks at: 99.5th percentile = 572.8, max / 10 = 60" in note
        for note in found.notes
    )
    assert any("not informative among 11 experts" in note for note in found.notes)
    # all layers: 33 values, the largest 650 and 600: 0.995 * 32 = 31.84: 600 + 0.84 * 50 = 642 > 600
    assert not probes.super_experts(store, "paper_all_layers").flagged("super expert")
    # repository: layers below round(0.75 * 4) = 3; 22 values, 0.995 * 21 = 20.895: 56 + 0.895 * 544 = 542.88; floor(60)
    found = probes.super_experts(store, "repository")
    assert [str(x) for x in found.flagged("super expert")] == ["L1E7"]
    assert any(
        "of the 22 experts that the rule looks at: 99.5th percentile = 542.9, floor(max / 10) = 60" in note
        for note in found.notes
    )
    # every expert meets one token of each prompt, so the first row of a sequence is its only one: the same here
    assert [str(x) for x in probes.super_experts(store, "repository_first_row").flagged("super expert")] == ["L1E7"]
    # mean of the 22: (600 + 56 + 40 + 2 + 2 * 1.5 + 16) / 22 = 717 / 22 = 32.59; 50 times that is 1630
    assert not probes.super_experts(store, "fifty_times_mean").flagged("super expert")
    # mean + 3 std: sum of squares 360000 + 3136 + 1600 + 4 + 4.5 + 16 = 364760.5; / 22 - 32.59^2 = 15517.9; 32.59 + 3 * 124.57
    found = probes.super_experts(store, "mean_3_std", guard=False)
    assert any("mean + 3 std = 406.3" in note for note in found.notes)
    assert [str(x) for x in found.flagged("super expert")] == ["L1E7"]


GOLDENS = {
    "ftri": ftri,
    "contrast": contrast,
    "npmi": npmi,
    "usage": usage,
    "safex": safex,
    "super_experts": super_experts,
}
