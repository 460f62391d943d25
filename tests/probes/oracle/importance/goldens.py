"""Every probe of importance on four prompts, worked by hand; selections and weights: see `tests.probes.oracle.cases.golden`.

Slot 0 weighs 1/4, slot 1 weighs 3/4; what an expert writes has norm 1 at tokens of a, 2 of b, 4 of c, 8 of d.
"""

from math import log
from types import ModuleType

from tests.probes.oracle.checks import assert_same
from tests.probes.oracle.goldens import N_PROMPT, with_n
from tests.probes.oracle.importance.cases import judged, sized, turned, weighed
from tests.probes.oracle.importance.checks import same_sets


def saliency(probes: ModuleType) -> None:
    # summed weights, layer 1 (experts 0, 1, 2):                    layer 2 (experts 0, 1, 2, 3):
    #   a  1/4+3/4, 3/4, 1/4                                        1/4+3/4, 0, 0, 3/4+1/4
    #   b  1/4, 1/4+3/4+3/4, 3/4+1/4                                1/4, 1/4+3/4, 3/4+1/4, 3/4
    #   c  3/4, 1/4, 0                                              3/4, 0, 0, 1/4
    #   d  1/4+3/4, 1/4, 3/4                                        0, 1/4+3/4, 3/4, 1/4
    # times 1, 2, 4, 8, added up: layer 1  1 + 1/2 + 3 + 8 = 25/2;  3/4 + 7/2 + 1 + 2 = 29/4;  1/4 + 2 + 0 + 6 = 33/4
    #   layer 2  1 + 1/2 + 3 = 9/2;  2 + 8 = 10;  2 + 6 = 8;  1 + 3/2 + 1 + 2 = 11/2
    total = {(1, 0): 25 / 2, (1, 1): 29 / 4, (1, 2): 33 / 4, (2, 0): 9 / 2, (2, 1): 10, (2, 2): 8, (2, 3): 11 / 2}
    reap = {x: value / N_PROMPT[x] for x, value in total.items()}
    how = {"tokens": "prompt", "n_bootstrap": 0}
    found = probes.saliency(sized().store, **how)
    assert_same(found, {**with_n(reap), (2, 4): (None, 0)})
    assert found.notes[0] == "REAP: the mean of weight^1 x |output|^1 over the tokens that selected the expert"
    assert [str(x) for x in found.top(3)] == ["L2E2", "L2E1", "L1E0"]  # 8/3, 5/2, 25/12
    # weighted EAN: over the 8 tokens read, and the dead expert has 0
    weighted = {**{x: value / 8 for x, value in total.items()}, (2, 4): 0.0}
    assert_same(probes.saliency(sized().store, frequency=True, **how), with_n(weighted))
    # norms alone, layer 1  2 1 1, 1 3 2 (x 2), 1 1 0 (x 4), 2 1 1 (x 8): 2+2+4+16 = 24, 1+6+4+8 = 19, 1+4+0+8 = 13
    #   layer 2  2+2+4 = 8, 4+16 = 20, 4+8 = 12, 2+2+4+8 = 16, 0
    norms = {(1, 0): 24, (1, 1): 19, (1, 2): 13, (2, 0): 8, (2, 1): 20, (2, 2): 12, (2, 3): 16, (2, 4): 0}
    ean = probes.saliency(sized().store, frequency=True, gate=0, **how)
    assert_same(ean, with_n({x: value / 8 for x, value in norms.items()}))
    man = {x: value / N_PROMPT[x] for x, value in norms.items() if value}
    assert_same(probes.saliency(sized().store, gate=0, **how), {**with_n(man), (2, 4): (None, 0)})
    # squares 1, 4, 16, 64: expert 0 of layer 1  2 + 4 + 16 + 128 = 150, over 6; expert 2 of layer 2  2 x 4 + 64 = 72, over 3
    msan = probes.saliency(sized().store, gate=0, power=2, **how).frame
    squares = {(row.layer, row.expert): row.score for row in msan.itertuples()}
    assert (squares[1, 0], squares[2, 2]) == (25, 24)


def min_norm(probes: ModuleType) -> None:
    # outputs: the norms above, 24 19 13 and 8 20 12 16 0, over the tokens that selected the expert, or over the 8 read
    norms = {(1, 0): 24, (1, 1): 19, (1, 2): 13, (2, 0): 8, (2, 1): 20, (2, 2): 12, (2, 3): 16}
    how = {"tokens": "prompt", "n_bootstrap": 0}
    found = probes.min_norm(sized().store, **how)
    assert_same(found, {**with_n({x: value / N_PROMPT[x] for x, value in norms.items()}), (2, 4): (None, 0)})
    # means 4, 19/6, 13/4; 2, 5, 4, 16/5: the last that is a number is the smallest
    assert [str(x) for x in found.top(2)] == ["L2E1", "L1E0"]
    assert found.notes[0] == "the experts that can go are the last rows: pruning takes the lowest scores"
    per_token = {**{x: value / 8 for x, value in norms.items()}, (2, 4): 0.0}
    assert_same(probes.min_norm(sized().store, per="token", **how), with_n(per_token))
    # weights: roots of 4, 25, 4 and 9, 0, 25, 100
    own = {
        (1, 0): (2, 4),
        (1, 1): (5, 4),
        (1, 2): (2, 4),
        (2, 0): (3, 3),
        (2, 1): (0, 2),
        (2, 2): (5, 1),
        (2, 3): (10, 4),
    }
    assert_same(probes.min_norm(weighed().store, of="weights"), own)
    # ranks of 4 19/6 13/4 2 5 4 16/5: 5.5 2 4 1 7 5.5 3, of 2 5 2 3 0 5 10: 2.5 5.5 2.5 4 1 5.5 7. From 4 on: products
    # -2.25 - 3 + 0 + 0 - 9 + 2.25 - 3 = -15, over the root of (27.5 x 27): of each 28, one tie of two, and two of them
    beside = probes.min_norm(weighed().store, **how).notes[-1]
    assert beside == "rank correlation with the norm of their weights, over 7 experts: -0.55"


def aimer(probes: ModuleType) -> None:
    # expert 0 of layer 1: 1 1 1 1, so 1 over 1; expert 1: 7/4 over root 25/4; expert 2: 2/4 over root 4/4
    # layer 2: 5/3 over root 9/3; zeros; 5 over 5; 18/4 over root 100/4; expert 4 has no weights
    found = probes.aimer(weighed().store)
    expected = {(1, 0): (1, 4), (1, 1): (0.7, 4), (1, 2): (0.5, 4), (2, 0): (5 / 27**0.5, 3), (2, 1): (None, 2)}
    assert_same(found, {**expected, (2, 2): (1, 1), (2, 3): (0.9, 4)})
    assert "1 experts have no weights of their own (identity experts) and are left out" in found.notes


def esft(probes: ModuleType) -> None:
    # 16 selections in each layer; layer 1  6 6 4, so 3/8 3/8 1/4; layer 2  4 4 3 5 0, so 1/4 1/4 3/16 5/16 0
    how = {"tokens": "prompt", "n_bootstrap": 0}
    found = probes.esft(sized().store, p=0.5, **how)
    same_sets(found, [(1, 0, 3 / 8, 6), (1, 1, 3 / 8, 6), (2, 3, 5 / 16, 5), (2, 0, 1 / 4, 4)])
    assert found.frame["reached"].tolist() == [3 / 8, 3 / 4, 5 / 16, 9 / 16]
    # reaching p exactly is enough; the dead expert is in no set, whatever p
    assert len(probes.esft(sized().store, p=9 / 16, **how).frame) == 4
    assert [str(ref) for ref in probes.esft(sized().store, p=1, **how).experts("layer 2")] == [
        "L2E3",
        "L2E0",
        "L2E1",
        "L2E2",
    ]
    # summed weights, as in saliency: layer 1  3 3 2, over 8 tokens; layer 2  2 2 7/4 9/4
    weights = [(1, 0, 3 / 8, 6), (1, 1, 3 / 8, 6), (2, 3, 9 / 32, 5), (2, 0, 1 / 4, 4)]
    same_sets(probes.esft(sized().store, measure="weight", p=0.53, **how), weights)


def easy_ep(probes: ModuleType) -> None:
    # change x norm: a 1/2, b 1/2, c 4, d 1 in layer 1, half of it in layer 2; times the summed weights of saliency
    # layer 1  1/2 + 1/8 + 3 + 1 = 37/8;  3/8 + 7/8 + 1 + 1/4 = 5/2;  1/8 + 1/2 + 0 + 3/4 = 11/8
    # layer 2  half of 1/2 + 1/8 + 3 = 29/8;  1/2 + 1 = 3/2;  1/2 + 3/4 = 5/4;  1/2 + 3/8 + 1 + 1/4 = 17/8
    one = {(1, 0): 37 / 8, (1, 1): 5 / 2, (1, 2): 11 / 8}
    two = {(2, 0): 29 / 16, (2, 1): 3 / 4, (2, 2): 5 / 8, (2, 3): 17 / 16, (2, 4): 0}
    found = probes.easy_ep(turned().full_store, tokens="prompt", n_bootstrap=0)
    assert_same(found, with_n({x: value / 8 for x, value in (one | two).items()}))
    # refused (a, c) of layer 1: 7/2, 11/8, 1/8 of 5; answered (b, d): 9/8, 9/8, 5/4 of 7/2
    shared = probes.easy_ep(turned().full_store, domains="verdict", tokens="prompt").frame
    score = {(row.layer, row.expert): row.score for row in shared.itertuples()}
    assert abs(score[1, 0] - (7 / 10 + 9 / 28) / 2) < 1e-7
    assert abs(score[1, 2] - (1 / 40 + 10 / 28) / 2) < 1e-7


def shape(probes: ModuleType) -> None:
    # layer 1  {0,1} 4 times, {0,2} 2, {1,2} 2; N of {0} 6, {1} 6, {2} 4
    #   0: alpha = min(4/6, 2/4); 4 - 6/2 + 2 - 4/2 = 1;  1: min(4/6, 2/4), likewise 1;  2: min(2/6, 2/6), 0
    # layer 2  {0,3} 3 times, {1,2} 2, {0,1} {2,3} {1,3} once; N of {0} 4, {1} 4, {2} 3, {3} 5
    #   0: min(3/5, 1/4); 3 - 5/4 + 1 - 4/4 = 7/4;  1: min(2/3, 1/4, 1/5); 2 - 3/5 + 1 - 4/5 + 1 - 5/5 = 8/5
    #   2: min(2/4, 1/5); 2 - 4/5 + 1 - 5/5 = 6/5;  3: min(3/4, 1/3, 1/4); 3 - 4/4 + 1 - 3/4 + 1 - 4/4 = 9/4
    one = {(1, 0): 1, (1, 1): 1, (1, 2): 0}
    two = {(2, 0): 7 / 4, (2, 1): 8 / 5, (2, 2): 6 / 5, (2, 3): 9 / 4, (2, 4): 0}
    found = probes.shape(sized().store, tokens="prompt")
    assert_same(found, with_n({x: value / 8 for x, value in (one | two).items()}))
    # scores and counts of layer 2 rank alike but for the tie of 0 and 1: 4 3 2 5 1 and 3.5 3.5 2 5 1
    # sums of squared deviations 10 and 9.5, of products 9.5; layer 1  2.5 2.5 1 twice: 1
    within = (1 + 9.5 / (10 * 9.5) ** 0.5) / 2
    assert any(f"{within:.3f} within layers on average" in note for note in found.notes)


def unlearning_affinity(probes: ModuleType) -> None:
    # layer 1, first token 1/2 1/4 1/4, later ones 1/4 1/4 1/2; expert 0: a and d (1/2 + 1/4) / 2 = 3/8, b 1/3, c 1/2
    #   mean 19/48; expert 1 always 1/4; expert 2: 3/8, 5/12, 1/4, 3/8: 17/48
    # layer 2, first 1/2 and 1/8, later the last has 1/2: expert 0: 5/16, 1/4, 1/2, 5/16: 11/32; expert 4: 5/16, 3/8, 1/8, 5/16
    score = {(1, 0): 19 / 48, (1, 1): 1 / 4, (1, 2): 17 / 48}
    score |= {(2, 0): 11 / 32, (2, 1): 1 / 8, (2, 2): 1 / 8, (2, 3): 1 / 8, (2, 4): 9 / 32}
    assert_same(probes.unlearning_affinity(judged().store, tokens="prompt", n_bootstrap=0), with_n(score))


def tcess(probes: ModuleType) -> None:
    # 8 tokens, of which 4 are first: expert 0 wins there, the last expert at the others, with log 2 and with log 4 - 2
    zero = {(1, 1): (0, 0), (2, 1): (0, 0), (2, 2): (0, 0), (2, 3): (0, 0)}
    half = {(1, 0): (log(2) / 2, 4), (1, 2): (log(2) / 2, 4), (2, 0): (log(4) / 2 - 1, 4), (2, 4): (log(4) / 2 - 1, 4)}
    assert_same(probes.tcess(judged().store, tokens="prompt"), zero | half)
    # two a token, in layer 1: at first 0 and, of the tie, 1 with log 1; later 2 and 0. With shares 2/3 and 1/3 the second fails
    two = {
        (row.layer, row.expert): (row.score, row.n)
        for row in probes.tcess(judged().store, tokens="prompt", first=2).frame.itertuples()
    }
    assert [n for _, n in (two[1, 0], two[1, 1], two[1, 2])] == [8, 4, 4]
    assert abs(two[1, 0][0] - log(2) / 2) < 1e-6
    assert_same(probes.tcess(judged().store, tokens="prompt", first=2, threshold=0.5), zero | half)
    # a has its first token of 2: (1/2, 0, 1/2) log 2 in layer 1. refused without a is c: (1, 0, 0) log 2; answered, b and d:
    # (2/5, 0, 3/5) log 2, nearer. Its layer 2: 2 of 5 tokens won by 0
    found = probes.tcess(judged().store, tasks="verdict", prompt="a", tokens="prompt")
    score = {(row.layer, row.expert): (row.score, row.n) for row in found.frame.itertuples()}
    assert abs(score[2, 0][0] - (log(4) - 2) * 2 / 5) < 1e-6
    assert score[2, 0][1] == 2
    near, far = (0.02**0.5 * log(2), 0.5**0.5 * log(2))
    assert (
        f"the pattern of answered, nearest to prompt a in layer 1: answered at {near:.4g}, refused at {far:.4g}"
        in found.notes
    )


GOLDENS = {
    "aimer": aimer,
    "min_norm": min_norm,
    "saliency": saliency,
    "esft": esft,
    "easy_ep": easy_ep,
    "shape": shape,
    "unlearning_affinity": unlearning_affinity,
    "tcess": tcess,
}
