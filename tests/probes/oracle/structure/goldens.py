"""Every probe of structure on four prompts, worked by hand; selections: see `tests.probes.oracle.cases.golden`.

The 8 prompt tokens, from layer 1 to layer 2:
  a {0,1} {0,3}   {0,2} {0,3}        b {1,2} {1,2}   {1,2} {0,1}   {0,1} {2,3}
  c {0,1} {0,3}                      d {0,2} {1,2}   {0,1} {1,3}
"""

from types import ModuleType

from tests.probes.oracle.cases import golden
from tests.probes.oracle.structure.cases import alike
from tests.probes.oracle.structure.checks import assert_pairs, pairs

# tokens that select both, by expert of layer 1 (rows) and of layer 2
BOTH = {0: (3, 2, 2, 5, 0), 1: (3, 3, 2, 4, 0), 2: (2, 3, 2, 1, 0)}
FIRST, SECOND = (6, 6, 4), (4, 4, 3, 5, 0)


def pathways(probes: ModuleType) -> None:
    found = probes.pathways(golden().store, tokens="prompt", first=0, n_bootstrap=0)
    expected = {
        (1, i, 2, p): (n, n / FIRST[i], n * 8 / (FIRST[i] * SECOND[p]) if SECOND[p] else None, FIRST[i], SECOND[p])
        for i, row in BOTH.items()
        for p, n in enumerate(row)
    }
    got = pairs(found, "n", "affinity", "lift", "n_expert", "n_other")
    assert_pairs(got, expected)
    # excess in 64ths, 8 n - 6 x 5 = 10 of (0, 3); 24 - 16 = 8 of (2, 1); 16 - 12 = 4 of (2, 2); 32 - 30 = 2 of (1, 3)
    assert [*got][:4] == [(1, 0, 2, 3), (1, 2, 2, 1), (1, 2, 2, 2), (1, 1, 2, 3)]
    assert found.frame["excess"][:4].tolist() == [10 / 64, 8 / 64, 4 / 64, 2 / 64]
    # 5 of expert 0's 6 tokens go on to expert 3, which 5 of all 8 select: 4/3 times as often as by chance
    assert abs(got[1, 0, 2, 3][2] - 4 / 3) < 1e-12
    most = probes.pathways(golden().store, tokens="prompt", by="lift", first=2, n_bootstrap=0)
    assert_pairs(pairs(most, "lift"), {(1, 2, 2, 1): (3 / 2,), (1, 0, 2, 3): (4 / 3,)})
    assert [*pairs(most)] == [(1, 2, 2, 1), (1, 0, 2, 3)]


def placement(probes: ModuleType) -> None:
    # 32 pairs. Two devices: of layer 1 one holds 1 expert, of layer 2 one holds 2. Where expert 2 is alone its pairs are
    # 2 3 2 1 0 and those of 0 and 1 together 6 5 4 9 0: the device of 2 takes 4, and 1 or 2 (two pairs lost either way), so 22
    # stay. Where 0 is alone: 3 2 2 5 0 against 5 6 4 5 0: it takes 3 and 4, so 20 stay; where 1 is alone 3 3 2 4 0 against
    # 5 5 4 6 0: 18. The round-robin has 0 and 2 with 0, 2, 4: 3 + 2 + 2 + 2 stay, and 1 with 1, 3: 3 + 4; 16 in all.
    how = {"tokens": "prompt", "heldout": 0.0, "n_bootstrap": 0}
    found = probes.placement(golden().store, one_program=True, **how)
    said = "% of 32 pairs of experts that follow each other cross; round-robin 50.0 %: "
    assert found.notes[0].startswith(f"31.2 {said}37.5 % saved; at random ")
    assert found.sets == ("device 1", "device 2")
    first, second = ({str(x) for x in found.experts(name)} for name in found.sets)
    assert second in ({"L1E2", "L2E4", "L2E1"}, {"L1E2", "L2E4", "L2E2"})
    assert {"L1E0", "L1E1", "L2E0", "L2E3"} < first
    rows = {(row.layer, row.expert): (row.n, row.stays) for row in found.frame.itertuples()}
    # of experts 0 and 3 of layer 2 the pairs with expert 2, 2 of 8 and 1 of 10, cross; nobody selects expert 4
    assert (rows[2, 0], rows[2, 3], rows[2, 4][0]) == ((4, 6 / 8), (5, 9 / 10), 0)
    assert rows[2, 4][1] != rows[2, 4][1]
    # layer after layer it may also end where 0 is alone, since neither layer then gains by itself
    found = probes.placement(golden().store, **how)
    assert found.notes[0].startswith((f"31.2 {said}37.5 % saved", f"37.5 {said}25.0 % saved"))


def similarity(probes: ModuleType) -> None:
    # rows of layer 1  3 4 0, 6 8 0, 0 0 2; of layer 2  1 0 0, 1 1 0, -1 0 0, zeros, 1 0 0
    store, half = alike().store, 2**-0.5
    found = probes.similarity(store, first=0)
    expected = {
        (1, 0, 1, 1): 1,
        (1, 0, 1, 2): 0,
        (1, 1, 1, 2): 0,
        (2, 0, 2, 4): 1,
        (2, 0, 2, 1): half,
        (2, 1, 2, 4): half,
    }
    expected |= {(2, 1, 2, 2): -half, (2, 0, 2, 2): -1, (2, 2, 2, 4): -1} | {
        (2, min(e, 3), 2, max(e, 3)): None for e in (0, 1, 2, 4)
    }
    got = pairs(found, "n", "cosine")
    assert_pairs(got, {pair: (3, value) for pair, value in expected.items()})
    assert [*got][:4] == [(1, 0, 1, 1), (2, 0, 2, 4), (2, 0, 2, 1), (2, 1, 2, 4)]
    near, group = pairs(found, "similarity", "group")[2, 0, 2, 1]
    assert abs(near - 0.5 - half / 2) < 1e-9
    assert group is None
    assert pairs(found, "group")[1, 0, 1, 1] == pairs(found, "group")[2, 0, 2, 4] == (0,)
    assert (
        found.notes[1]
        == "layer 1: mean cosine 0.33, largest 1.00; in groups of 0.9 or more: L1E0 L1E1; redundancy 0.33"
    )
    # (1 + 1/root 2 + 1/root 2 - 1/root 2 - 1 - 1) / 6
    assert (
        found.notes[2]
        == "layer 2: mean cosine -0.05, largest 1.00; in groups of 0.9 or more: L2E0 L2E4; redundancy 0.20"
    )
    lower = probes.similarity(store, threshold=0.7)
    assert pairs(lower, "group")[2, 1, 2, 4] == (0,)
    assert lower.notes[2].endswith("in groups of 0.7 or more: L2E0 L2E1 L2E4; redundancy 0.40")
    _centred_and_by_tokens(probes)


def _centred_and_by_tokens(probes: ModuleType) -> None:
    store, half = alike().store, 2**-0.5
    # less their mean 3 4 2/3:  0 0 -2/3,  3 4 -2/3,  -3 -4 4/3, of squares 4/9, 229/9, 241/9
    centred = pairs(probes.similarity(store, centred=True, first=0), "cosine")
    for pair, value in {(0, 1): 2 / 229**0.5, (0, 2): -4 / 241**0.5, (1, 2): -233 / (229 * 241) ** 0.5}.items():
        assert abs(centred[1, pair[0], 1, pair[1]][0] - value) < 1e-9
    # prompt tokens at positions 0, 1, 2: 4, 3, 1. Columns 1 2 3, 2 4 6, 1 -1 -1: squares 25, 100, 8; products 50, -5, -10
    logits = probes.similarity(store, by="logits", tokens="prompt", first=0)
    assert_pairs(
        pairs(logits, "n", "cosine"), {(1, 0, 1, 1): (8, 1), (1, 0, 1, 2): (8, -half / 2), (1, 1, 1, 2): (8, -half / 2)}
    )
    # 0 with 1: a and b across, c and d along; 0 with 2: at a and d, 1 with 2: twice at b
    outputs = probes.similarity(store, by="outputs", tokens="prompt", first=0)
    assert_pairs(
        pairs(outputs, "n", "cosine"), {(1, 0, 1, 1): (4, 1 / 2), (1, 0, 1, 2): (2, half), (1, 1, 1, 2): (2, half)}
    )


GOLDENS = {"pathways": pathways, "placement": placement, "similarity": similarity}
