"""Whole answers by their defaults: every option, note, interval and p-value, worked out by hand or drawn once more by a loop.

The four prompts of `cases.golden` are two pairs, x = (a, b) and y = (c, d). A resample of the pairs is xx, xy or yy, so the ends
of every 95 % interval are what x alone and y alone give.
"""

from math import log2

import numpy as np
import pytest

from probes import ExpertScores, contrast, ftri, npmi, safex, usage
from tests.probes.oracle.cases import GOLDEN_ANSWER, GOLDEN_PROMPT, golden
from workbench.errors import WorkbenchError

EXPERTS = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)]

TOKENS = {p: [*routes, GOLDEN_ANSWER[p]] for p, routes in GOLDEN_PROMPT.items()}

SAID = {"n_permutations": 1000, "n_bootstrap": 1000, "seed": 0}

PAIRS = "intervals resample 2 of 'pair' as wholes, and intervals from fewer than 10 are too narrow"

EXCHANGED = "labels exchanged between prompts: only 6 different relabellings, so p cannot be small"

LENGTHS = ("refused: 2 responses, 1.5 tokens read on average", "answered: 2 responses, 2.5 tokens read on average")

WORDS = (
    "routing or topic? the token's id alone predicts 62% of what held-out prompts select, its bigram 59%, "
    "load alone 62% (8 tokens)"
)

ALL_WORDS = (
    "routing or topic? the token's id alone predicts 56% of what held-out prompts select, its bigram 56%, "
    "load alone 54% (12 tokens)"
)

NO_SUPERS = (
    "super experts are not flagged: The store 'memory' kept no residual, which says where massive activations form; capture it "
    "again with keep={'norms', 'residual'}."
)


def counts(prompt: str, tokens: slice) -> np.ndarray:
    """How many of the prompt's tokens select each of EXPERTS."""
    return np.array([sum(e in token[layer - 1] for token in TOKENS[prompt][tokens]) for layer, e in EXPERTS], float)


RATE = {p: counts(p, slice(-1)) / len(routes) for p, routes in GOLDEN_PROMPT.items()}


def column(found: ExpertScores, name: str) -> list[float]:
    rows = {(r.layer, r.expert): getattr(r, name) for r in found.frame.itertuples()}
    return [rows[e] for e in EXPERTS]


def relabelled(score) -> tuple[list[float], list[float]]:
    """p and adjusted p of `score` [experts] of a labelling, from the draws that seed 0 gives, counted one by one."""
    keys = np.random.default_rng([0, 0]).random((1000, 4))
    names = np.array(["a", "b", "c", "d"])
    label_of = dict(zip("abcd", (0, 1, 0, 1), strict=True))
    # a prompt takes the label of the prompt that stands in its place of a shuffled row
    draws = [[label_of[names[i]] for i in np.argsort(row)] for row in keys]
    null = np.array([score(dict(zip("abcd", d, strict=True))) for d in draws])
    seen = np.abs(score(label_of))  # the mean over all labellings is 0
    own = [(1 + sum(abs(x) >= s - 1e-9 for x in column)) / 1001 for s, column in zip(seen, null.T, strict=True)]
    largest = np.abs(null).max(axis=1)
    return own, [(1 + sum(x >= s - 1e-9 for x in largest)) / 1001 for s in seen]


def test_ftri_by_its_defaults() -> None:
    found = ftri(golden().store, "refused", "answered")
    options = {"target": "refused", "baseline": "answered", "tokens": "prompt_content", "roles": None, "reduce": "rate"}
    options |= {
        "contrast": "pooled",
        "beyond": "nothing",
        "where": None,
        "permute": "prompts",
        "cluster": "auto",
        "adjust": "max",
    }
    assert found.options == options | SAID
    assert found.notes == (*LENGTHS, EXCHANGED, PAIRS, WORDS, NO_SUPERS)
    assert (found.method, found.model, found.fingerprint) == ("ftri", "test/moe", golden().anatomy.fingerprint)
    x, y = RATE["a"] - RATE["b"], RATE["c"] - RATE["d"]
    assert column(found, "score") == pytest.approx((x + y) / 2)
    assert column(found, "low") == pytest.approx(np.minimum(x, y))
    assert column(found, "high") == pytest.approx(np.maximum(x, y))

    def score(of: dict[str, int]) -> np.ndarray:
        return sum((1 - 2 * of[p]) * RATE[p] for p in "abcd") / 2

    own, adjusted = relabelled(score)
    assert column(found, "p") == pytest.approx(own)
    assert column(found, "p_adjusted") == pytest.approx(adjusted)
    assert column(found, "flags") == [""] * 7 + ["dead"]


def test_contrast_by_its_defaults() -> None:
    found = contrast(golden().store, "refused", "answered")
    options = {
        "target": "refused",
        "baseline": "answered",
        "tokens": "prompt_content",
        "roles": None,
        "pooling": "tokens",
        "beyond": "nothing",
    }
    options |= {"where": None, "permute": "prompts", "cluster": "auto", "adjust": "max"}
    assert found.options == options | SAID
    assert found.notes == (*LENGTHS, EXCHANGED, PAIRS, WORDS, NO_SUPERS)
    n = {p: len(routes) for p, routes in GOLDEN_PROMPT.items()}

    def pooled(prompts: list[str]) -> np.ndarray:
        return sum(n[p] * RATE[p] for p in prompts) / sum(n[p] for p in prompts)

    def score(of: dict[str, int]) -> np.ndarray:
        return pooled([p for p in "abcd" if of[p] == 0]) - pooled([p for p in "abcd" if of[p] == 1])

    x, y = RATE["a"] - RATE["b"], RATE["c"] - RATE["d"]
    assert column(found, "score") == pytest.approx(score({"a": 0, "b": 1, "c": 0, "d": 1}))
    assert column(found, "low") == pytest.approx(np.minimum(x, y))
    assert column(found, "high") == pytest.approx(np.maximum(x, y))
    # the mean over all six labellings of the pooled difference is 0 too: each labelling has its opposite
    own, adjusted = relabelled(score)
    assert column(found, "p") == pytest.approx(own)
    assert column(found, "p_adjusted") == pytest.approx(adjusted)
    by_pairs = contrast(golden().store, "refused", pooling="pairs", roles="user", n_permutations=0, n_bootstrap=0)
    assert by_pairs.notes[0] == "2 pairs compared"
    assert by_pairs.notes[2] == "others: 2 responses, 2.5 tokens read on average"
    assert by_pairs.notes[5:7] == ("no interval: none was asked for", "no p-value: none was asked for")
    assert (by_pairs.options["baseline"], by_pairs.options["roles"]) == (None, "user")


def test_npmi_of_a_token_by_its_defaults() -> None:
    found = npmi(golden().store, token="<think>")
    options = {"token": "<think>", "beyond": "nothing", "tokens": "content", "where": None}
    options |= {"cluster": "auto", "adjust": "max"}
    assert found.options == options | SAID
    shifted = "markers shifted around 4 sequences of up to 4 tokens"
    assert found.notes == (
        "<think>: 4 occurrences in 4 responses",
        "12 tokens of 4 responses read",
        PAIRS,
        shifted,
        ALL_WORDS,
        NO_SUPERS,
    )

    def score(prompts: str) -> np.ndarray:  # the marker stands at each prompt's last token that was computed
        k, total = (sum(counts(p, part) for p in prompts) for part in (slice(-1, None), slice(None)))
        t, m = sum(len(TOKENS[p]) for p in prompts), len(prompts)
        one = [log2((a / m) / (b / t)) / -log2(a / t) if a else -1 for a, b in zip(k[:7], total[:7], strict=True)]
        return np.array(one)

    assert column(found, "score")[:7] == pytest.approx(score("abcd"))
    assert column(found, "low")[:7] == pytest.approx(np.minimum(np.minimum(score("ab"), score("cd")), score("abcd")))
    assert column(found, "high")[:7] == pytest.approx(np.maximum(np.maximum(score("ab"), score("cd")), score("abcd")))
    for name in ("score", "low", "high", "p", "p_adjusted"):
        assert np.isnan(column(found, name)[7])
    rng = np.random.default_rng([0, 0])
    steps = [rng.integers(len(TOKENS[p]), size=1000) for p in "abcd"]
    at = {p: [counts(p, slice(i, i + 1)) for i in range(len(TOKENS[p]))] for p in "abcd"}
    # shares of the four markers that meet each expert, around the share of each sequence's tokens that select it
    mean = sum(sum(rows) / len(rows) for rows in at.values()) / 4
    null = np.array(
        [sum(at[p][(s[i] - 1) % len(at[p])] for p, s in zip("abcd", steps, strict=True)) / 4 for i in range(1000)]
    )
    seen, far = np.abs(sum(rows[-1] for rows in at.values()) / 4 - mean)[:7], np.abs(null - mean)[:, :7]
    assert column(found, "p")[:7] == pytest.approx([(1 + (far[:, e] >= seen[e] - 1e-9).sum()) / 1001 for e in range(7)])
    largest = far.max(axis=1)
    assert column(found, "p_adjusted")[:7] == pytest.approx([(1 + (largest >= s - 1e-9).sum()) / 1001 for s in seen])


def test_npmi_of_a_label_exchanges_labels() -> None:
    found = npmi(golden().store, target="refused")
    assert (
        found.options
        == {
            "target": "refused",
            "beyond": "nothing",
            "tokens": "content",
            "where": None,
            "cluster": "auto",
            "adjust": "max",
        }
        | SAID
    )
    read = ("refused: 5 occurrences in 2 responses", "12 tokens of 4 responses read")
    assert found.notes == (*read, PAIRS, EXCHANGED, ALL_WORDS, NO_SUPERS)
    all_of = {p: counts(p, slice(None)) for p in "abcd"}
    n = {p: len(TOKENS[p]) for p in "abcd"}

    def score(of: dict[str, int]) -> np.ndarray:
        sides = [[p for p in "abcd" if of[p] == side] for side in (0, 1)]
        rate = [sum(all_of[p] for p in side) / sum(n[p] for p in side) for side in sides]
        return rate[0] - rate[1]

    own, adjusted = relabelled(score)
    assert column(found, "p") == pytest.approx(own)
    assert column(found, "p_adjusted") == pytest.approx(adjusted)
    roles = npmi(golden().store, role="think", tokens="response", n_permutations=0, n_bootstrap=0)
    assert roles.notes[:2] == ("role think: 4 occurrences in 4 responses", "4 tokens of 4 responses read")
    assert roles.notes[3:5] == ("no interval: none was asked for", "no p-value: none was asked for")


def test_usage_by_its_defaults() -> None:
    found = usage(golden().store)
    options = {"measure": "load", "tokens": "content", "roles": None, "where": None, "cluster": "auto"}
    assert found.options == options | {"n_bootstrap": 1000, "seed": 0}
    none = "no p-value: even routing is no null that anyone expects"
    assert found.notes == ("12 tokens of 4 responses read", PAIRS, none, NO_SUPERS)
    x, y = (sum(counts(p, slice(None)) for p in pair) for pair in ("ab", "cd"))  # 7 and 5 tokens, two slots each
    assert column(found, "score") == pytest.approx((x + y) / 24)
    assert column(found, "low") == pytest.approx(np.minimum(x / 14, y / 10))
    assert column(found, "high") == pytest.approx(np.maximum(x / 14, y / 10))
    one = usage(golden().store, measure="rate", where="pair=x", roles=["user"])
    assert one.notes[:3] == (
        "5 tokens of 2 responses read",
        "intervals resample 1 of 'pair' as wholes, and intervals from fewer than 10 are too narrow",
        "no interval: there is 1 cluster, and 2 are needed",
    )
    assert column(one, "score") == pytest.approx(sum(counts(p, slice(-1)) for p in "ab") / 5)
    assert usage(golden().store, n_bootstrap=0).notes[2] == "no interval: none was asked for"
    assert repr(found).splitlines() == [
        "usage of 8 experts of test/moe (measure=load, tokens=content, cluster=auto, n_bootstrap=1000, seed=0)",
        "expert   score  n     low    high  p  p_adjusted  flags",
        "  L1E0  0.3333  8  0.2857     0.4  -           -   ties",
        "  L1E1  0.3333  8     0.3  0.3571  -           -   ties",
        "  L1E2  0.3333  8     0.3  0.3571  -           -   ties",
        "  L2E1  0.2917  7  0.2143     0.4  -           -",
        "  L2E0    0.25  6     0.2  0.2857  -           -   ties",
        "  L2E3    0.25  6     0.2  0.2857  -           -   ties",
        "  L2E2  0.2083  5     0.2  0.2143  -           -",
        "Not listed: 1 of the first 8 experts, whose score is zero or missing.",
        "Associated with these prompts; an effect is measured by compare().",
        *(f"- {note}" for note in found.notes),
    ]


def test_safex_by_its_defaults() -> None:
    found = safex(golden().store, "refused", "answered", alpha=0.5)
    options = {"target": "refused", "baseline": "answered", "group": "control", "alpha": 0.5, "share": 1.0}
    options |= {
        "n_resamples": 100,
        "tokens": "prompt_content",
        "roles": None,
        "where": None,
        "cluster": "auto",
        "seed": 0,
    }
    assert found.options == options
    # see the golden table: refused {L1E0 L1E1 L2E0 L2E3}; answered shares L1E1 of them
    stable = "4 and 3 of the first 4 experts are stable for refused and answered; 3 are in the group 'control'"
    none = "no p-value: being in an intersection has no null of labels here"
    assert found.notes == (*LENGTHS, PAIRS, stable, none, NO_SUPERS)
    members = [(1, 0), (2, 0), (2, 3)]
    assert {e for e, s in zip(EXPERTS, column(found, "score"), strict=True) if s} == set(members)
    for e, low, high in zip(EXPERTS, column(found, "low"), column(found, "high"), strict=True):
        assert (low, high) == (1.0, 1.0) if e in members else np.isnan([low, high]).all()
    loose = safex(golden().store, "refused", alpha=0.5, group="stable", share=0.5)
    # L1E1: a 1/2, c 1, in the interval of the resamples aa, ac, cc
    ends = dict(zip(EXPERTS, zip(column(loose, "low"), column(loose, "high"), strict=True), strict=True))
    assert ends[1, 1] == (pytest.approx(0.5), pytest.approx(1.0))
    refused = [
        ({"alpha": 0.1}, "alpha=0.1 of 8 experts is 0; choose an alpha"),
        ({"alpha": 1.2}, "is 9; choose"),
        ({"share": 0.0}, "n_resamples=100 and share=0.0 select nothing"),
        ({"share": 1.1}, "select nothing"),
        ({"n_resamples": 0}, "n_resamples=0 and share=1.0"),
        ({"group": "x"}, "control, detection, stable"),
    ]
    for wrong, message in refused:
        with pytest.raises(WorkbenchError, match=message):
            safex(golden().store, "refused", "answered", **wrong)
    everyone = safex(golden().store, "refused", "answered", alpha=1.0, n_resamples=1)
    assert everyone.notes[3].startswith("8 and 8 of the first 8")
