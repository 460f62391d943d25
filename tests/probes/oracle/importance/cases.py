"""The golden store and random ones of `tests.probes.oracle.cases` with what probes of importance read beside routing."""

from math import log

from tests.probes.oracle.cases import Case, golden, random_case

NORM = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}
"""What every expert writes at every token of a prompt."""
CHANGE = {"a": 1 / 2, "b": 1 / 4, "c": 1.0, "d": 1 / 8}
"""How far the experts of layer 1 turn every token of a prompt; those of layer 2 half as far."""
CLASSES = {1: ((2, 1, 1), (1, 1, 2)), 2: ((4, 1, 1, 1, 1), (1, 1, 1, 1, 4))}
"""By layer what the router's softmax goes with, at the first token and at later ones. Layer 2's logits are 2 smaller."""


def sized() -> Case:
    """The golden store, its experts writing vectors of NORM."""
    case = golden()
    for slot in case.rows["slots"]:
        slot["output_l2"] = NORM[slot["prompt_id"]]
    return case


def turned() -> Case:
    """The same with a residual stream, turned by CHANGE and never massive."""
    case = sized()
    for key in _computed(case):
        for layer in (-1, 0, 1, 2):
            change = CHANGE[key["prompt_id"]] / max(layer, 1)
            about = {"layer": layer, "l2": 1.0, "max_abs": 1.0, "median_abs": 1.0, "argmax": 0, "routed_change": change}
            case.rows["residual"].append({**key, **about})
    return case


def judged() -> Case:
    """The golden store with the router's logits, whose softmax goes with CLASSES."""
    case = golden()
    case.rows["logits"] = []
    for key in _computed(case):
        for layer, (opening, later) in CLASSES.items():
            logits = [log(x) - 2 * (layer - 1) for x in (later if key["position"] else opening)]
            case.rows["logits"].append({**key, "layer": layer, "router_logits": logits})
    return case


WEIGHTS = {
    (2, 3): {"down": [5, 5], "up": [1, 7]},
    (2, 2): {"up": [-5]},
    (2, 1): {"up": [0, 0]},
    (2, 0): {"down": [2], "up": [1, -2]},
    (1, 1): {"down": [0, -4], "up": [3, 0]},
    (1, 2): {"up": [-2], "down": [0, 0, 0]},
    (1, 0): {"up": [1, -1], "down": [1, 1]},
}
"""The numbers of each expert's matrices; expert 4 of layer 2 has none. Not in order."""


def weighed() -> Case:
    """The golden store with WEIGHTS, and its experts writing vectors of NORM."""
    return _with_matrices(sized(), WEIGHTS)


def _with_matrices(case: Case, weights: dict[tuple[int, int], dict[str, list[float]]]) -> Case:
    case.rows["matrices"] = [
        {"layer": layer, "expert": e, "matrix": name, "n_values": len(x), "sum_abs": float(sum(map(abs, x))),
         "sum_squares": float(sum(value * value for value in x))}
        for (layer, e), found in weights.items()
        for name, x in found.items()
    ]  # fmt: skip
    return case


def drawn(seed: int, n_prompts: int = 6, top_k: int = 2, n_shared: int = 1, samples: int = 1) -> Case:
    """A random store with logits and changes."""
    return enriched(random_case(seed, n_prompts, top_k, n_shared, samples))


def enriched(case: Case) -> Case:
    """The store with logits and changes that no draw makes, so that what is drawn stays what it was."""
    case.rows["logits"] = []
    for i, row in enumerate(case.rows["residual"]):
        row["routed_change"] = ((7 * i + row["position"]) % 9 - 1) / 8  # below zero too, as rounding makes it
    for i, key in enumerate(_computed(case)):
        for layer, n in case.experts.items():
            logits = [((5 * i + 3 * e * (i + layer) + e) % 11 - 4) / 4 for e in range(n)]
            case.rows["logits"].append({**key, "layer": layer, "router_logits": logits})
    return case


def with_weights(case: Case) -> Case:
    """Any store with two matrices an expert, of no draw; every fifth has none, and the last expert's come first."""
    found = {}
    for layer, n in case.experts.items():
        for e in reversed(range(n)):
            values = [((3 * e + 5 * i + layer) % 7 - 3) / 2 for i in range(3 + (e + layer) % 3)]
            if (e + layer) % 5 != 4:
                found[layer, e] = {"up": values[:2], "down": values[2:]}
    return _with_matrices(case, found)


def _computed(case: Case) -> list[dict]:
    """The keys of tokens that were computed, in order."""
    keys = {(s["prompt_id"], s["sample"], s["position"]) for s in case.rows["slots"]}
    return [{"prompt_id": p, "sample": s, "position": at} for p, s, at in sorted(keys)]
