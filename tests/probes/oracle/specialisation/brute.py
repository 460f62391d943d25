"""Every probe of specialisation once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from collections import Counter
from math import log2

from tests.probes.oracle.brute import positions, routed, sequences, tokens_of


def token_specialisation(rows, experts, tokens="all", least=1):
    """{(layer, by, role): {"information", "spread", "n", "kinds"}}; None where nothing is read."""
    read = []
    for sequence in sequences(rows):
        went, said = routed(rows, sequence), {t["position"]: t for t in tokens_of(rows, sequence)}
        read += [(said[p], went[p]) for p in positions(rows, sequence, tokens, []) if p in went]
    if not read:
        return None
    out = {}
    for layer, n in experts.items():
        for role in ("all", *sorted({t["role"] for t, _ in read})):
            some = [(t, went.get(layer, {})) for t, went in read if role in ("all", t["role"])]
            for by, key in (("token", "token_id"), ("position", "position")):
                pairs = [(t[key], e) for t, chosen in some for e in chosen]
                times = Counter(t[key] for t, _ in some)
                cells = Counter(pairs)
                shares = [[cells[v, e] / m for e in range(n)] for v, m in times.items() if m >= least]
                out[layer, by, role] = {
                    "information": bits(pairs),
                    "spread": sum(map(deviation, shares)) / len(shares) if shares else None,
                    "n": len(some),
                    "kinds": len(times),
                }
    return out


def bits(pairs):
    cells, firsts, seconds = Counter(pairs), Counter(v for v, _ in pairs), Counter(e for _, e in pairs)
    return sum(c / len(pairs) * log2(c * len(pairs) / (firsts[v] * seconds[e])) for (v, e), c in cells.items())


def deviation(values):
    mean = sum(values) / len(values)
    return (sum((x - mean) ** 2 for x in values) / len(values)) ** 0.5


def held_out_recall(rows, experts, half):
    """(load, token, bigram) recall over all layers; `half`: the prompts that are predicted from the others, and the reverse."""
    hits, selections = [0, 0, 0], 0
    texts = {s: (routed(rows, s), {t["position"]: t["token_id"] for t in tokens_of(rows, s)}) for s in sequences(rows)}
    for sequence, (went, ids) in texts.items():
        others = [x for s, x in texts.items() if (s[0] in half) != (sequence[0] in half)]
        for layer in experts:
            k = max(len(x.get(layer, {})) for w, _ in texts.values() for x in w.values())
            for p, chosen in went.items():
                guesses = predictions(others, layer, experts[layer], k, ids.get(p - 1), ids[p])
                selections += len(chosen[layer])
                for i, guess in enumerate(guesses):
                    hits[i] += len(guess & set(chosen[layer]))
    return [h / selections for h in hits]


def predictions(others, layer, n, k, before, here):
    load, token, bigram = Counter(), Counter(), Counter()
    for went, ids in others:
        for p, chosen in went.items():
            for e in chosen[layer]:
                load[e] += 1
                token[e] += ids[p] == here
                bigram[e] += ids[p] == here and ids.get(p - 1) == before
    usual = sorted(range(n), key=lambda e: (-load[e], e))
    found = [set(usual[:k])]
    for counts in (token, bigram):
        seen = any(counts.values())
        found.append(set(sorted(range(n), key=lambda e: (-counts[e], -load[e], e))[:k]) if seen else found[-1])
    return found
