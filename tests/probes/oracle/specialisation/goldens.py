"""Every probe of specialisation on four prompts, worked by hand; selections: see `tests.probes.oracle.cases.golden`.

Token by token in layer 1, with ids of what 4, is and it 2, <think> 7:
  a  what 01  is 02  <think> 12        c  what 01  <think> 02
  b  what 12  is 12  it 01  <think> 02  d  what 02  is 01  <think> 12
"""

from math import log2, sqrt
from types import ModuleType

from tests.probes.oracle.cases import golden
from tests.probes.oracle.checks import assert_same
from tests.probes.oracle.goldens import N_PROMPT
from tests.probes.oracle.importance.cases import judged
from tests.probes.oracle.rows import assert_rows
from tests.probes.oracle.specialisation.directions import decoded

KEYS = ("layer", "by", "role")


def token_specialisation(probes: ModuleType) -> None:
    # selections of experts 0 1 2: what 3 3 2, is and it 3 3 2, <think> 2 2 4; of 24, each id and each expert has 8
    # information: 3 in 4 cells, 2 in 4, 4 in one, each over 8 x 8 / 24
    bits = 4 * 3 / 24 * log2(3 * 24 / 64) + 4 * 2 / 24 * log2(2 * 24 / 64) + 4 / 24 * log2(4 * 24 / 64)
    # P(e | v): 3/4 3/4 1/2 twice, 1/2 1/2 1, around 2/3
    spread = (2 * sqrt((2 / 12**2 + 1 / 6**2) / 3) + sqrt((2 / 6**2 + 1 / 3**2) / 3)) / 3
    # by place: first 3 3 2; second a 02, b 12, c 02, d 01: 3 2 3; third a 12, b 01, d 12: 1 3 2; fourth b 02: 1 0 1
    cells = [(3, 8), (3, 8), (2, 8), (3, 8), (2, 8), (3, 8), (1, 6), (3, 6), (2, 6), (1, 2), (1, 2)]
    places = sum(c / 24 * log2(c * 24 / (n * 8)) for c, n in cells)
    found = probes.token_specialisation(golden().store, tokens="all", least=4)
    assert found.frame["layer"].unique().tolist() == [1, 2]
    layer = found.frame.query("layer == 1").set_index(["by", "role"])
    assert abs(layer.loc[("token", "all"), "information"] - bits) < 1e-9
    assert abs(layer.loc[("token", "all"), "spread"] - spread) < 1e-9
    assert abs(layer.loc[("position", "all"), "information"] - places) < 1e-9
    assert (abs(found.frame["information"] - found.frame["shuffled"] - found.frame["excess"]) < 1e-12).all()
    # both ids of the user select alike, and <think> is one id
    assert abs(layer.loc[("token", "user"), "information"]) < 1e-9
    assert layer.loc[("token", "think"), ["information", "shuffled", "kinds", "n"]].tolist() == [0, 0, 1, 4]
    assert layer.loc[("token", "all"), ["n", "kinds"]].tolist() == [12, 3]
    assert layer.loc[("position", "all"), ["n", "kinds"]].tolist() == [12, 4]
    rare = probes.token_specialisation(golden().store, tokens="all").frame
    assert rare["spread"].isna().all(), "no id occurs 128 times"
    only = probes.token_specialisation(golden().store, tokens="prompt", roles="user", least=4)
    assert_rows(
        only, KEYS, {(n, by, r): {"n": 8} for n in (1, 2) for by in ("token", "position") for r in ("all", "user")}
    )


def domain_specialisation(probes: ModuleType) -> None:
    # of 3 prompt tokens refused (a, c) and 5 answered (b, d); selections of experts 0 1 2 in layer 1, 0 1 2 3 in layer 2:
    #   refused  3 2 1    3 0 0 3         answered  3 4 3    1 4 3 2
    # of two rates x and y the deviation over the mean is |x - y| / (x + y); expert 4 is dead
    one = {(1, 0): (1 - 3 / 5) / (8 / 5), (1, 1): (4 / 5 - 2 / 3) / (22 / 15), (1, 2): (3 / 5 - 1 / 3) / (14 / 15)}
    two = {(2, 0): (1 - 1 / 5) / (6 / 5), (2, 1): 1, (2, 2): 1, (2, 3): (1 - 2 / 5) / (7 / 5), (2, 4): None}
    how = {"domains": "verdict", "tokens": "prompt", "n_permutations": 0, "n_bootstrap": 0}
    found = probes.domain_specialisation(golden().store, **how)
    assert_same(found, {x: (score, N_PROMPT.get(x, 0)) for x, score in (one | two).items()})
    most = {"refused": ["L2E0", "L2E3", "L1E0"], "answered": ["L2E1", "L2E2", "L1E2", "L1E1"]}
    for verdict, experts in most.items():
        assert [str(ref) for ref in found.flagged(f"most in verdict={verdict}")] == experts
    # bits: shares 5/6 and 1/6 of expert 0 of layer 2; one domain alone is 1 bit
    bits = probes.domain_specialisation(golden().store, measure="bits", **how).frame
    score = {(row.layer, row.expert): row.score for row in bits.itertuples()}
    assert abs(score[2, 0] - (1 + 5 / 6 * log2(5 / 6) + 1 / 6 * log2(1 / 6))) < 1e-9
    assert score[2, 1] == score[2, 2] == 1


def committee(probes: ModuleType) -> None:
    # shares of selections, refused and answered (see above): layer 1  1/2 1/3 1/6 and 3/10 4/10 3/10; layer 2  1/2 0 0 1/2 and
    # 1/10 4/10 3/10 2/10. No expert alone has half of both. Of layer 1 any two have; 0 and 1 most, 11/30 + 2/5 on average.
    # Of layer 2 {0, 1}, {1, 3} and {2, 3} have; {1, 3} most
    how = {"domains": "verdict", "tokens": "prompt"}
    found = probes.committee(golden().store, measure="ratio", **how)
    of = ("share", "least", "carried", "low", "high", "n", "verdict=answered", "verdict=refused")
    # carried by the pairs x = (a, b) and y = (c, d) alone: layer 1  min(3/4, 4/6) and min(1, 3/4)
    #   layer 2  min(2/4, (2 + 1)/6) and min(1/2, (2 + 1)/4)
    rows = [
        (1, 0, 2 / 5, 3 / 10, 7 / 10, 2 / 3, 3 / 4, 6, 3 / 10, 1 / 2),
        (1, 1, 11 / 30, 1 / 3, 7 / 10, 2 / 3, 3 / 4, 6, 2 / 5, 1 / 3),
        (2, 3, 7 / 20, 1 / 5, 1 / 2, 1 / 2, 1 / 2, 5, 1 / 5, 1 / 2),
        (2, 1, 1 / 5, 0, 1 / 2, 1 / 2, 1 / 2, 4, 2 / 5, 0),
    ]
    assert_rows(found, ("layer", "expert"), {row[:2]: dict(zip(of, row[2:], strict=True)) for row in rows})
    assert [str(ref) for ref in found.experts()] == ["L1E0", "L1E1", "L2E3", "L2E1"]
    assert "2 to 2 experts a layer carry p = 0.5 in each of 2 domains, 4 in all" in found.notes
    # answered alone needs {1} and one more in layer 1, {1, 2} in layer 2; refused {0} in layer 1, {0} in layer 2
    assert "each domain by itself needs: verdict=answered 4, verdict=refused 2" in found.notes
    # by weights: layer 1  7/4 1 1/4 of 3 and 5/4 2 7/4 of 5; layer 2  of 3: 7/4 0 0 5/4;  of 5: 1/4 2 7/4 1
    heavy = probes.committee(golden().store, n_bootstrap=0, p=0.6, **how).frame
    kept = heavy.query("layer == 1").set_index("expert")["verdict=refused"].to_dict()
    assert {e: round(x, 9) for e, x in kept.items()} == {0: round(7 / 12, 9), 1: round(1 / 3, 9)}
    # refused needs 0 and 3 (7/12, 5/12), answered 3/5: 0 3 have 1/4; of 0 1 3 with 13/20 and 0 2 3 with 3/5 the first has more
    assert heavy.query("layer == 2")["expert"].tolist() == [0, 3, 1]


def difficulty(probes: ModuleType) -> None:
    # a slot has 3/4 and 1/4; the first token of a in layer 1 has 1/2 twice, which one expert does not exceed
    case = golden()
    for slot in case.rows["slots"]:
        if (slot["prompt_id"], slot["position"], slot["layer"]) == ("a", 0, 1):
            slot["weight"] = 0.5
    found = probes.difficulty(case.store, least=4, tokens="prompt")
    # what, id 4: four tokens, two layers, 9 experts of 8; is and it, id 2: one each
    assert_rows(found, ("token_id",), {(4,): {"needed": 9 / 8, "n": 4}, (2,): {"needed": 1, "n": 4}})
    assert found.frame["token"].tolist() == ["what", "is"]
    # of the pairs x = (a, b) and y = (c, d) one alone: 5/4 and 1
    assert found.frame[["low", "high"]].to_numpy().tolist() == [[1, 1.25], [1, 1]]
    assert found.notes[:3] == (
        "1.06 experts a token and layer over 8 tokens",
        "0 of 2 ids occur less than 4 times and are left out",
        "by layer: L1 1.12, L2 1",
    )
    every = probes.difficulty(golden().store, p=0.75, least=1, n_bootstrap=0).frame
    assert every["needed"].tolist() == [2, 2, 2]
    assert every["token_id"].tolist() == [2, 4, 7]
    # the router's softmax has 1/2 1/4 1/4 in layer 1 and 1/2 and four times 1/8 in layer 2: above 7/10 with 2 and 3 experts
    soft = probes.difficulty(judged().store, of="logits", p=0.7, least=4, tokens="prompt", n_bootstrap=0)
    assert soft.frame["needed"].tolist() == [2.5, 2.5]
    assert soft.notes[2] == "by layer: L1 2, L2 3"


def decode(probes: ModuleType) -> None:
    found = probes.decode(decoded().store)
    names = ["token_id", "token", "n", "layer", "expert", "neuron", "share"]
    # of four neurons two write " dog" first; the expert as a whole is none of them
    assert list(found.frame[names].itertuples(index=False, name=None)) == [
        (2, "cat", 1, 1, 1, 0, 0.75),
        (1, " dog", 2, 1, 0, 0, 0.5),
        (1, " dog", 2, 1, 0, 1, 0.25),
        (6, "9", 1, 2, 3, 1, 0.125),
    ]
    assert found.frame["words"][0] == "'cat' ' dog'"
    assert found.notes[0] == "4 directions: write, neurons"
    # the word is second in one and first in two: which says how many begin with the same word, not how many are left
    dogs = probes.decode(decoded().store, token=" dog").frame
    assert dogs[["layer", "expert", "neuron", "n"]].to_numpy().tolist() == [[1, 1, 0, 1], [1, 0, 0, 2], [1, 0, 1, 2]]
    experts = [probes.decode(decoded().store, of="experts", side=side).frame for side in ("write", "read")]
    assert [(f["token"][0], f["share"][0], len(f)) for f in experts] == [("the", 0.875, 1), ("9", 0.5, 1)]


def describe(probes: ModuleType) -> None:
    # the pair (a, b) is held out; c and d described, five tokens of layer 1: what 01, then <think> 02; what 02, is 01, <think>
    # 12. Expert 0 has 4 of 5: of what 2 of 2, of is 1 of 1, of <think> 1 of 2; after the start 2 of 2, after what 2 of 2
    # expert 1, 3 of 5: of is 1 of 1, after is 1 of 1; expert 2, 3 of 5: of <think> 2 of 2, after is 1 of 1
    found = probes.describe(golden().store, tokens="all", evidence=0)
    layer = found.frame.query("layer == 1")
    labels = ["'<think>'; after 'is'", "'what' 'is'; after 'what' the start", "'is'; after 'is'"]
    assert list(zip(layer["expert"], layer["label"], strict=True)) == list(zip((2, 0, 1), labels, strict=True))
    # held out: a what 01, is 02, <think> 12; b what 12, is 12, it 01, <think> 02, where it has the id of is
    #   0: has of its label 2 2 0, 2 2 1 0, and 2 2 1 0 selected it: 2 + 2 + 1 + 1/2 of 4 x 3
    #   1: 0 1 1, 0 1 2 1, and 0 1 0 1 2 did: 0 + 1 + 0 + 1 + 2 of 5 x 2;  2: 0 0 2, 0 0 1 2, and 0 2 0 0 2: 3 x 1/2 + 2 x 2
    assert layer["auroc"].tolist() == [5.5 / 10, 5.5 / 12, 4 / 10]
    assert layer[["n", "described"]].to_numpy().tolist() == [[5, 3], [4, 4], [5, 3]]
    assert layer["low"].isna().all(), "one cluster is held out"
    assert found.notes[1] == "described on 5 tokens, held out 7 of other prompts"
    # G of what, and of the two before: 2 x 2 ln 5/4 = 0.89; of is 0.45
    clear = probes.describe(golden().store, tokens="all", evidence=0.8).frame.set_index(["layer", "expert"])
    assert clear["label"][1, 0] == "'what'; after 'what' the start"
    # nobody selects expert 4 of layer 2; five tokens are no evidence of 10 for anything
    assert clear["label"][2, 4] == ""
    none = probes.describe(golden().store, tokens="all").frame
    assert (none["label"] == "").all()
    assert none["auroc"].isna().all()


GOLDENS = {
    "describe": describe,
    "decode": decode,
    "difficulty": difficulty,
    "token_specialisation": token_specialisation,
    "domain_specialisation": domain_specialisation,
    "committee": committee,
}
