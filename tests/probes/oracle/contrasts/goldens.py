"""Drift from the golden store to the one after tuning, and its logits contrasted, worked by hand.

Stores: see `tests.probes.oracle.contrasts.cases`, and `judged` of `tests.probes.oracle.importance.cases` for logits.
"""

from math import log, sqrt
from types import ModuleType

from tests.probes.oracle.checks import QUICK, assert_same
from tests.probes.oracle.contrasts.cases import after, before, grown
from tests.probes.oracle.contrasts.checks import assert_neurons
from tests.probes.oracle.goldens import N_PROMPT, with_n
from tests.probes.oracle.importance.cases import judged

# tokens of both stores that select an expert: of layer 1 one token less selects 0 after tuning, and one more 2
N = {x: 2 * n for x, n in N_PROMPT.items()} | {(1, 0): 11, (1, 2): 9}


def drift(probes: ModuleType) -> None:
    # 8 tokens each. Layer 1 before 6 6 4, after 5 6 5; layer 2 goes where it went
    use = dict.fromkeys(N, 0.0) | {(1, 0): -1 / 8, (1, 2): 1 / 8}
    found = probes.drift(before().store, after().store, **QUICK)
    assert_same(found, {x: (score, N[x]) for x, score in use.items()})
    assert [str(x) for x in (*found.top(1), *found.bottom(1))] == ["L1E2", "L1E0"]
    # mean weights before, layer 1: 3/6 3/6 2/4; layer 2: 2/4 2/4 (7/4)/3 (9/4)/5
    # after: a loses its 1/4 to expert 2. b's tokens are (1,2) (2,1) (0,1), so 3/4, 3/4 + 1/4 + 1/4, 1/4 + 3/4:
    #   layer 1  3/4 + 3/4 + 3/4 + 1 = 13/4 over 5;  3/4 + 5/4 + 1/4 + 1/4 = 5/2 over 6;  1/2 + 1 + 0 + 3/4 = 9/4 over 5
    # b's tokens in layer 2 are (1,2) (0,1) (2,3), so 3/4, 3/4 + 1/4, 1/4 + 3/4, 1/4:
    #   layer 2  1 + 3/4 + 3/4 = 5/2 over 4;  1 + 1 over 4;  1 + 3/4 over 3;  1 + 1/4 + 1/4 + 1/4 = 7/4 over 5
    weight = {(1, 0): 13 / 20 - 1 / 2, (1, 1): 5 / 12 - 1 / 2, (1, 2): 9 / 20 - 1 / 2}
    weight |= {(2, 0): 5 / 8 - 1 / 2, (2, 1): 0.0, (2, 2): 0.0, (2, 3): 7 / 20 - 9 / 20, (2, 4): None}
    found = probes.drift(before().store, after().store, what="weight", **QUICK)
    assert_same(found, {x: (score, N[x]) for x, score in weight.items()})
    # mean norms, layer 1 before 24/6 19/6 13/4; after without one of a (1), 23/5, and with it, 14/5: 14/5 x 4/13 = 56/65
    output = {(1, 0): 23 / 20 - 1, (1, 1): 0.0, (1, 2): 56 / 65 - 1}
    output |= {(2, 0): 0.0, (2, 1): 0.0, (2, 2): 0.0, (2, 3): 1.0, (2, 4): None}
    found = probes.drift(before().store, after().store, what="output", **QUICK)
    assert_same(found, {x: (score, N[x]) for x, score in output.items()})


def logit_contrast(probes: ModuleType) -> None:
    # layer 1, less their mean: first tokens (2/3, -1/3, -1/3) log 2, later ones (-1/3, -1/3, 2/3) log 2. First are 1/2 of a's
    # tokens, 1/3 of b's, all of c's, 1/2 of d's: refused 3/4, answered 5/12 on average. Layer 2 has log 4, first or last
    apart = {
        (1, 0): log(2),
        (1, 1): 0,
        (1, 2): -log(2),
        (2, 0): log(4),
        (2, 1): 0,
        (2, 2): 0,
        (2, 3): 0,
        (2, 4): -log(4),
    }
    how = {"target": "refused", "baseline": "answered", **QUICK}
    found = probes.logit_contrast(judged().store, **how)
    assert_same(found, with_n({x: value / 3 for x, value in apart.items()}))
    assert [str(x) for x in (*found.top(2), *found.bottom(1))] == ["L2E0", "L1E0", "L2E4"]
    # over all tokens of a class: 2 of 3 refused, 2 of 5 answered
    pooled = probes.logit_contrast(judged().store, pooling="tokens", **how)
    assert_same(pooled, with_n({x: value * 4 / 15 for x, value in apart.items()}))
    # 4 more for every expert at a's tokens: 2 more for refused on average, where nothing takes it off
    case = judged()
    for row in case.rows["logits"]:
        row["router_logits"] = [z + 4 * (row["prompt_id"] == "a") for z in row["router_logits"]]
    assert_same(probes.logit_contrast(case.store, **how), with_n({x: value / 3 for x, value in apart.items()}))
    raw = probes.logit_contrast(case.store, centred=False, **how)
    assert_same(raw, with_n({x: value / 3 + 2 for x, value in apart.items()}))


def neuron(probes: ModuleType) -> None:
    # usage in a and c, layer 1: 1, 3/4, 1/4; layer 2: 1 of experts 0 and 3, 0 of the others. Maxima of neuron e, a c | b d:
    #   L1E0 2 1 | 1/2 1/2;  L1E1 1 1 | 1/2 1/2;  L1E2 2 0 | 1/2 1/2, and of neuron 5 -1 0 | -1 -1;  L2E3 2 1 | 1/2 1/2
    #   L2E0 2 1 | 1/2 0, and of neuron 5 -1 -1 | -1 0: scores 5/4 and -1/2 with mean 1/8 and variance 29/96 - 1/64 = 55/192
    alone = sqrt(5)  # one of six that differs
    expected = {(2, 0, 0): (5 / 4, 9 / 8 / sqrt(55 / 192), 4), (1, 0, 0): (1, alone, 6)}
    expected |= {(2, 3, 3): (1, alone, 5), (1, 1, 1): (1 / 2, alone, 6)}
    found = probes.neuron(grown().store, "refused", "answered")
    assert_neurons(found, expected)
    assert found.sets == ("L2E0", "L1E0", "L2E3", "L1E1")
    first = found.frame.iloc[0]
    assert (first["target_mean"], first["baseline_mean"]) == (3 / 2, 1 / 4)
    # two of L1E2's six have 1/2: sqrt(2) away, and it is the third of its layer
    both = {(1, 2, i): (1 / 2, sqrt(2), 4) for i in (2, 5)}
    assert_neurons(probes.neuron(grown().store, "refused", "answered", z=1.0), expected | both)
    assert_neurons(probes.neuron(grown().store, "refused", "answered", z=1.0, candidates=0), expected | both)
    assert_neurons(probes.neuron(grown().store, "refused", "answered", z=1.0, candidates=1), expected)


GOLDENS = {"drift": drift, "logit_contrast": logit_contrast, "neuron": neuron}
