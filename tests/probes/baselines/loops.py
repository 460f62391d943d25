"""Scores beyond the word that is read, once more, from rows, by plain loops. Imports nothing from workbench or probes."""

from math import log2

from tests.probes.oracle.brute import label_of, positions, routed, sequences, tokens_of


def residuals(rows, experts, label, values, tokens, by="token"):
    """[(class, residual {expert: number}, selected {expert})] of every token read of the compared responses, by response."""
    compared = [s for s in sequences(rows) if label_of(rows, s, label) in values]
    responses, seen = [], {}
    for sequence in compared:
        went, said = routed(rows, sequence), {t["position"]: t["token_id"] for t in tokens_of(rows, sequence)}
        read = [p for p in positions(rows, sequence, tokens, compared) if p in went]
        words = [(said.get(p - 1) if by == "bigram" else None, said[p]) for p in read]
        chosen = [{(layer, e) for layer in experts for e in went[p].get(layer, {})} for p in read]
        for word, picked in zip(words, chosen, strict=True):
            seen.setdefault(word, []).append(picked)
        if read:
            responses.append((label_of(rows, sequence, label), words, chosen))
    every = [(layer, e) for layer, n in experts.items() for e in range(n)]
    rate = {w: {x: sum(x in one for one in some) / len(some) for x in every} for w, some in seen.items()}
    return [
        (value, [{x: (x in one) - rate[w][x] for x in every} for w, one in zip(words, chosen, strict=True)], chosen)
        for value, words, chosen in responses
    ]


def ftri(rows, experts, values, tokens, by):
    """{expert: (score, n)}; None where a class has no token."""
    found = residuals(rows, experts, "verdict", values, tokens, by)
    sides = [[r for r in found if r[0] == v] for v in values]
    if not all(sides):
        return None

    def mean(side, x):
        return sum(sum(token[x] for token in residual) / len(residual) for _, residual, _ in side) / len(side)

    return {x: (mean(sides[0], x) - mean(sides[1], x), selections(found, x)) for x in found[0][1][0]}


def contrast(rows, experts, values, tokens, by):
    found = residuals(rows, experts, "verdict", values, tokens, by)
    sides = [[token for value, residual, _ in found if value == v for token in residual] for v in values]
    if not all(sides):
        return None
    return {
        x: (
            sum(t[x] for t in sides[0]) / len(sides[0]) - sum(t[x] for t in sides[1]) / len(sides[1]),
            selections(found, x),
        )
        for x in sides[0][0]
    }


def npmi(rows, experts, values, tokens, by):
    found = residuals(rows, experts, "verdict", values, tokens, by)
    marked = [
        (r, c) for value, residual, chosen in found if value == values[0] for r, c in zip(residual, chosen, strict=True)
    ]
    t = sum(len(residual) for _, residual, _ in found)
    if not marked:
        return None
    out = {}
    for x in found[0][1][0]:
        k, n = sum(x in c for _, c in marked), selections(found, x)
        given = k - sum(r[x] for r, _ in marked)
        score = 0.0 if k == t else -1.0 if given > 1e-9 else 0.0
        out[x] = (None if not n else log2(k / given) / log2(t / k) if 0 < k < t else score, n)
    return out


def spread(rows, experts, values, tokens, by):
    found = residuals(rows, experts, "verdict", values, tokens, by)
    sides = [[token for value, residual, _ in found if value == v for token in residual] for v in values]
    if len(sides) < 2 or not all(sides):
        return None
    t, out = sum(map(len, sides)), {}
    for x in sides[0][0]:
        n = selections(found, x)
        rates = [sum(token[x] for token in side) / len(side) + n / t for side in sides]
        mean = sum(rates) / len(rates)
        deviation = (sum((r - mean) ** 2 for r in rates) / len(rates)) ** 0.5
        out[x] = (deviation / mean if n and mean > 0 else None, n)
    return out


def selections(found, x):
    return sum(x in c for _, _, chosen in found for c in chosen)
