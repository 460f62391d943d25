"""Drift and logits contrasted once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from tests.probes.oracle.brute import class_rates, positions, routed
from tests.probes.oracle.importance.brute import everyone, place, slots_read


def drift(rows, other, experts, what, tokens):
    """{expert: (score or None, n)}; None when no token read of one store was routed."""
    (mine, t), (theirs, u) = slots_read(rows, tokens), slots_read(other, tokens)
    if not t or not u:
        return None
    out = {}
    for x in everyone(experts):
        before = [s for s in mine if (s["layer"], s["expert"]) == x]
        after = [s for s in theirs if (s["layer"], s["expert"]) == x]
        n = len(before) + len(after)
        if what == "use":
            out[x] = (len(after) / u - len(before) / t, n)
            continue
        name = {"weight": "weight", "output": "output_l2"}[what]
        means = [sum(s[name] for s in found) / len(found) if found else None for found in (before, after)]
        if None in means or (what == "output" and not means[0]):
            out[x] = (None, n)
        else:
            out[x] = ((means[1] - means[0]) / (means[0] if what == "output" else 1), n)
    return out


def logit_contrast(rows, experts, values, tokens, pooling, centred):
    """{expert: (score, n)}; None when a class has no token that was read."""
    found = class_rates(rows, experts, "verdict", values, tokens, "rate")
    if not all(found.values()):
        return None
    logits = {place(r): r["router_logits"] for r in rows["logits"]}
    out = {}
    for layer, e in everyone(experts):
        sides, n = [], 0
        for value in values:
            responses = []
            for sequence, amount, _ in found[value]:
                n += amount[layer, e][1]
                went, compared = routed(rows, sequence), [s for v in values for s, _, _ in found[v]]
                zs = [logits[*sequence, p, layer] for p in positions(rows, sequence, tokens, compared) if p in went]
                responses.append([z[e] - (sum(z) / len(z) if centred else 0) for z in zs])
            means = [sum(r) / len(r) for r in responses]
            pooled = [x for r in responses for x in r]
            sides.append(sum(means) / len(means) if pooling == "responses" else sum(pooled) / len(pooled))
        out[layer, e] = (sides[0] - sides[1], n)
    return out


def neuron(rows, experts, values, tokens, candidates, top_k, least):
    """{(layer, expert, neuron): (score, z, n)} of those that stand out; None when a class has no token that was read."""
    found = class_rates(rows, experts, "verdict", values, tokens, "rate")
    if not all(found.values()):
        return None
    kept = {(*place(r), r["expert"]): r["neurons"] for r in rows["inner"]}
    compared = [s for v in values for s, _, _ in found[v]]
    out = {}
    for layer, n_experts in experts.items():
        target = found[values[0]]
        usage = {e: sum(amount[layer, e][0] / n for _, amount, n in target) / len(target) for e in range(n_experts)}
        able = sorted((e for e in usage if usage[e] > 0), key=lambda e: (-round(usage[e], 9), e))
        for e in able[: candidates * top_k] if candidates else able:
            sides, n = [], 0
            for value in values:
                features = []
                for sequence, _, _ in found[value]:
                    read = positions(rows, sequence, tokens, compared)
                    own = [kept[key] for p in read if (key := (*sequence, p, layer, e)) in kept]
                    n += len(own)
                    features.append([max(column) for column in zip(*own, strict=True)])
                width = max((len(f) for f in features), default=0)
                full = [f or [0] * width for f in features]
                sides.append([sum(column) / len(column) for column in zip(*full, strict=True)])
            width = max(map(len, sides))
            one, other = (side or [0] * width for side in sides)
            score = [a - b for a, b in zip(one, other, strict=True)]
            if not score:
                continue
            mean = sum(score) / len(score)
            spread = (sum((s - mean) ** 2 for s in score) / len(score)) ** 0.5
            for i, s in enumerate(score):
                if spread > 1e-9 and s > 1e-9 and abs(s - mean) / spread > least:
                    out[layer, e, i] = (s, (s - mean) / spread, n)
    return out
