"""Every probe of structure on four prompts, worked by hand; selections: see `tests.probes.oracle.cases.golden`.

The 8 prompt tokens, from layer 1 to layer 2:
  a {0,1} {0,3}   {0,2} {0,3}        b {1,2} {1,2}   {1,2} {0,1}   {0,1} {2,3}
  c {0,1} {0,3}                      d {0,2} {1,2}   {0,1} {1,3}
"""

from types import ModuleType

from tests.probes.oracle.cases import golden
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.structure.cases import alike
from tests.probes.oracle.structure.checks import assert_members, assert_pairs, pairs

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
    # without its bias, by hand. At a, b, c and d expert 0 writes 1 1 -1 -1 and 1 writes 2 -2 2 -2 along other channels. Products
    # of two tokens, off the diagonal: of x and y together -16, of each alone 48 and 192 (times 1 4 16); sums of rows -1 and -4.
    # (-16 + 16 * 4 / 6 - 4 * 4) / root((12 + 16 / 6 - 4) * 16 * (12 + 16 / 6 - 4)) = (-64 / 3) / (4 * 32 / 3) = -1/2
    case = alike()
    for row in case.rows["outputs"]:
        sign = 1 if row["prompt_id"] in ("ab" if row["expert"] == 0 else "ac") else -1
        row["output"] = [sign, 0] if row["expert"] == 0 else [5, 2 * sign]
    cka = pairs(probes.similarity(case.store, by="cka", tokens="prompt", first=0), "n", "cosine")
    assert_pairs(cka, {(1, 0, 1, 1): (4, -1 / 2), (1, 0, 1, 2): (2, None), (1, 1, 1, 2): (1, None)})
    # 0 with 1: a and b across, c and d along; 0 with 2: at a and d, 1 with 2: twice at b, where both write the same: one token
    outputs = probes.similarity(store, by="outputs", tokens="prompt", first=0)
    assert_pairs(
        pairs(outputs, "n", "cosine"), {(1, 0, 1, 1): (4, 1 / 2), (1, 0, 1, 2): (2, half), (1, 1, 1, 2): (2, half)}
    )


def router_span(probes: ModuleType) -> None:
    # rows as in similarity. Layer 1 spans (3 4 0)/5 and e3: products of rows with each other 125 in one direction, 4 in the other
    # layer 2 spans e1 and e2, W^T W = 4 1 / 1 1: trace 5, squares 16 + 1 + 1 + 1. Shared: (3/5)^2 + (4/5)^2 of 2
    found = probes.router_span(alike().store)
    one = {
        "n": 3,
        "rank": 2,
        "share": 2 / 3,
        "effective": 129**2 / (125**2 + 4**2),
        "previous": None,
        "by_chance": None,
    }
    two = {"n": 5, "rank": 2, "share": 2 / 3, "effective": 25 / 19, "previous": 1 / 2, "by_chance": 2 / 3}
    assert_rows(found, ("layer",), {(1,): one | {"others": 1 / 2}, (2,): two | {"others": 1 / 2}})


def path_clusters(probes: ModuleType) -> None:
    # paths of four experts. Counts 6 6 4, 4 4 3 5 0 over a path's four: 21 19, 17 18 20, 21, 17 21, so a's first comes first
    # with it the others share 3, 1 2 3, 4, 1 3: the next centre is b's first, with which they share 1 1, 4 3 2, 1, 3 2
    # cluster 1: a, b's third, c, d's second, with counts 5 4 1, 3 1 1 5 0 of 5; cluster 2: b's first two and d's first, 1 2 3,
    # 1 3 2 0 0 of 3. With these, over root 78 and root 28: 17 14, 7 9 15, 17, 8 15 and 4 5, 10 9 5, 4, 9 6: none moves
    found = probes.path_clusters(golden().store, tokens="prompt", clusters=2)
    first = [(1, 0, 5, 1, 1 / 3), (1, 1, 4, 4 / 5, 2 / 3), (2, 3, 5, 1, 0), (2, 0, 3, 3 / 5, 1 / 3)]
    second = [(1, 2, 3, 1, 1 / 5), (2, 1, 3, 1, 1 / 5), (2, 2, 2, 2 / 3, 1 / 5)]
    assert_members(found, [("cluster 1", *row) for row in first] + [("cluster 2", *row) for row in second])
    # root 78 / 10, root 28 / 6, and of all as one root 154 / 16
    assert found.notes[0] == "8 tokens of 4 responses read"
    assert found.notes[-4:-1] == (
        "cohesion of all tokens as one cluster 0.78",
        "cluster 1: 5 tokens, cohesion 0.88; its words: 'what' 2, 'is' 2, 'it' 1",
        "cluster 2: 3 tokens, cohesion 0.88; its words: 'what' 2, 'is' 1",
    )


GOLDENS = {
    "router_span": router_span,
    "path_clusters": path_clusters,
    "pathways": pathways,
    "placement": placement,
    "similarity": similarity,
}
