"""The tables of use on four prompts, worked by hand; selections at prompt tokens: see `tests.probes.oracle.goldens`.

8 tokens; selections in layer 1: 6 6 4, in layer 2: 4 4 3 5 0. Pairs of prompts x = (a, b) with 5 tokens, y = (c, d) with 3.
"""

from math import log2
from types import ModuleType

from tests.probes.oracle.cases import golden
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.structure.checks import assert_pairs, pairs
from tests.probes.oracle.utilisation.checks import COLUMNS


def routing_entropy(probes: ModuleType) -> None:
    # layer 1: loads 3/8 3/8 1/4: 2 (3/8 log2 8/3) + 1/4 x 2; layer 2: 1/4 1/4 3/16 5/16 0: 2 (1/4 x 2) + ...
    one = 0.75 * log2(8 / 3) + 0.5
    two = 1 + 3 / 16 * log2(16 / 3) + 5 / 16 * log2(16 / 5)
    # every token weighs 1/4 and 3/4; in layer 1 the two tokens of a weigh 1/2 and 1/2 here: 1 bit each
    h = 1 / 4 * 2 + 3 / 4 * log2(4 / 3)
    case = golden()
    for row in case.rows["slots"]:
        row["weight"] = 0.5 if (row["prompt_id"], row["layer"]) == ("a", 1) else row["weight"]
    found = probes.routing_entropy(case.store, tokens="prompt")
    # resamples of the pairs are xx, xy, yy: in layer 1 x alone has (1 + 1 + 3 h) / 5, y alone h
    about = {"n": 8, "load_entropy_bits": one, "evenness": one / log2(3), "n_experts": 3, "n_dead": 0}
    other = {"n": 8, "load_entropy_bits": two, "evenness": two / log2(5), "n_experts": 5, "n_dead": 1}
    expected = {
        (1,): {**about, "token_entropy_bits": (2 + 6 * h) / 8, "low": h, "high": (2 + 3 * h) / 5},
        (2,): {**other, "token_entropy_bits": h, "low": h, "high": h},
    }
    assert_rows(found, ("layer",), expected)


def co_selection(probes: ModuleType) -> None:
    # layer 1: {0,1} at a1 b3 c1 d2, {0,2} at a2 d1, {1,2} at b1 b2; alone 6/8 6/8 4/8
    # layer 2: {0,3} at a1 a2 c1, {1,2} at b1 d1, {0,1} at b2, {2,3} at b3, {1,3} at d2; alone 4/8 4/8 3/8 5/8 0
    n = {(1, 0, 1): 4, (2, 0, 3): 3, (1, 0, 2): 2, (1, 1, 2): 2, (2, 1, 2): 2, (2, 0, 1): 1, (2, 1, 3): 1, (2, 2, 3): 1}
    alone = {(1, 0): 6, (1, 1): 6, (1, 2): 4, (2, 0): 4, (2, 1): 4, (2, 2): 3, (2, 3): 5}
    expected = {}
    for (layer, i, j), both in n.items():
        chance = alone[layer, i] / 8 * (alone[layer, j] / 8)
        expected[layer, i, layer, j] = (both, both / 8, chance, both / 8 / chance)
    assert expected[1, 0, 1, 1] == (4, 1 / 2, 9 / 16, 8 / 9)
    # nobody selects 0 with 2 in layer 2: 4/8 x 3/8; and nobody at all selects 4
    rest = {(2, 0, 2, 2): (0, 0, 3 / 16, 0), **{(2, e, 2, 4): (0, 0, 0, None) for e in range(4)}}
    found = probes.co_selection(golden().store, tokens="prompt", first=0)
    got = pairs(found, *COLUMNS)
    assert_pairs(got, {**expected, **rest})
    assert [*got] == [*expected, *rest], "the most together first, equal ones by number"
    first = probes.co_selection(golden().store, 2, tokens="prompt", first=2)
    assert [*pairs(first, "n")] == [(2, 0, 2, 3), (2, 1, 2, 2)]
    # y: c1 {0,1}{0,3}, d1 {0,2}{1,2}, d2 {0,1}{1,3}; in layer 1 0 is at all three tokens: 2/3 of them with 1, which is chance
    few = probes.co_selection(golden().store, 1, where="pair=y", tokens="prompt")
    assert pairs(few, *COLUMNS)[1, 0, 1, 1] == (2, 2 / 3, 2 / 3, 1)


def dead_experts(probes: ModuleType) -> None:
    # the last prompt tokens: a {0,2}{0,3}, b {0,1}{2,3}, c {0,1}{0,3}, d {0,1}{1,3}: all of layer 1; of layer 2 all but 4
    found = probes.dead_experts(golden().store, tokens="last_prompt")
    assert found.frame.to_dict("list") == {"set": ["dead"], "layer": [2], "expert": [4], "n": [4]}
    # of y alone, c and d: 2 of layer 1; 2 and 4 of layer 2
    found = probes.dead_experts(golden().store, tokens="last_prompt", where="pair=y")
    assert [str(ref) for ref in found.experts()] == ["L1E2", "L2E2", "L2E4"]
    assert found.frame["n"].tolist() == [2, 2, 2]
    # all tokens: 8 of the prompts, 4 generated ones
    found = probes.dead_experts(golden().store)
    assert [(str(ref), n) for ref, n in zip(found.experts(), found.frame["n"], strict=True)] == [("L2E4", 12)]


GOLDENS = {"routing_entropy": routing_entropy, "co_selection": co_selection, "dead_experts": dead_experts}
