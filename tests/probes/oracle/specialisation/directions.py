"""Stores with directions: the golden store's by hand, and any store's of no draw."""

from tests.probes.oracle.cases import Case, golden

VOCABULARY = ["a", " dog", "cat", "x", "the", " of", "9"]
# layer, expert, neuron, side: the numbers of its words, and the share of the first. Not in order
GOLDEN = {
    (2, 3, 1, "write"): ([6, 4], 0.125),
    (1, 1, 0, "write"): ([2, 1], 0.75),
    (1, 0, 1, "write"): ([1, 3], 0.25),
    (1, 0, 0, "write"): ([1, 2], 0.5),
    (1, 0, None, "write"): ([4, 1], 0.875),
    (1, 0, 0, "read"): ([2, 6], 0.0625),
    (1, 0, None, "read"): ([6, 2], 0.5),
    (1, 0, 0, "gate"): ([3, 5], 0.375),
}


def decoded() -> Case:
    """The golden store with GOLDEN."""
    return _with(golden(), [(*at, words, share) for at, (words, share) in GOLDEN.items()])


def with_directions(case: Case) -> Case:
    """Any store with two neurons an expert, of three words each; every third expert has no gate, the last come first."""
    found = []
    for layer, n in case.experts.items():
        for e in reversed(range(n)):
            for neuron in (1, None, 0):
                for i, side in enumerate(("read", "gate", "write")):
                    if side != "gate" or (e % 3 and neuron is not None):
                        first = (3 * e + 2 * layer + (neuron or 0) + i) % 7
                        share = ((5 * e + 3 * layer + 7 * (neuron or 0) + i) % 16) / 16
                        found.append((layer, e, neuron, side, [first, (first + 2) % 7, (first + 3) % 7], share))
    return _with(case, found)


def _with(case: Case, found: list) -> Case:
    case.rows["directions"] = [
        {
            "layer": layer,
            "expert": e,
            "neuron": neuron,
            "side": side,
            "token_ids": words,
            "words": [VOCABULARY[i] for i in words],
            "logits": [2.0 - i for i in range(len(words))],
            "share": share,
        }
        for layer, e, neuron, side, words, share in found
    ]
    return case
