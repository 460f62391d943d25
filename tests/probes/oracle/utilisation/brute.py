"""Every table of use once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from itertools import combinations
from math import log2

from tests.probes.oracle.brute import positions, routed, sequences


def tokens_read(rows, tokens):
    """Of every token read that was routed: layer -> {expert: weight}."""
    found = []
    for sequence in sequences(rows):
        went = routed(rows, sequence)
        found += [went[p] for p in positions(rows, sequence, tokens, []) if p in went]
    return found


def bits(amounts):
    total = sum(amounts)
    return -sum(x / total * log2(x / total) for x in amounts if x) if total else 0.0


def routing_entropy(rows, experts, tokens="all"):
    """{(layer,): row}; None where nothing is read."""
    read = tokens_read(rows, tokens)
    if not read:
        return None
    out = {}
    for layer, n in experts.items():
        load = [sum(e in token[layer] for token in read) for e in range(n)]
        own = [bits(list(token[layer].values())) for token in read]
        out[layer,] = {
            "n": len(read),
            "n_experts": n,
            "load_entropy_bits": bits(load),
            "evenness": bits(load) / log2(n) if n > 1 else 1.0,
            "token_entropy_bits": sum(own) / len(own),
            "n_dead": load.count(0),
        }
    return out


def co_selection(rows, experts, tokens="all"):
    """{(layer, expert, layer, other expert): (n, share, expected, lift)} in the order of the table; None: nothing is read."""
    read = tokens_read(rows, tokens)
    if not read:
        return None
    out = {}
    for layer, n_experts in experts.items():
        for i, j in combinations(range(n_experts), 2):
            n = sum(i in token[layer] and j in token[layer] for token in read)
            one, other = (sum(e in token[layer] for token in read) for e in (i, j))
            lift = n * len(read) / (one * other) if one and other else None
            out[layer, i, layer, j] = (n, n / len(read), one * other / len(read) ** 2, lift)
    return dict(sorted(out.items(), key=lambda row: (-row[1][0], row[0])))


def dead_experts(rows, experts, tokens="all"):
    """(layer, expert, n) of each in order; None where nothing is read."""
    read = tokens_read(rows, tokens)
    if not read:
        return None
    everyone = [(layer, e) for layer, n in sorted(experts.items()) for e in range(n)]
    return [(layer, e, len(read)) for layer, e in everyone if not any(e in token[layer] for token in read)]
