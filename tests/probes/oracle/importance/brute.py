"""Every probe of importance once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from math import exp

from tests.probes.oracle.brute import label_of, positions, sequences


def slots_read(rows, tokens):
    """Rows of slots of routed experts at the positions that are read, and how many positions these are."""
    read = {(s, p) for s in sequences(rows) for p in positions(rows, s, tokens, [])}
    found = [s for s in rows["slots"] if s["slot"] >= 0 and ((s["prompt_id"], s["sample"]), s["position"]) in read]
    return found, len({(s["prompt_id"], s["sample"], s["position"]) for s in found})


def everyone(experts):
    return [(layer, e) for layer, n in experts.items() for e in range(n)]


def saliency(rows, experts, tokens, frequency, gate, power):
    """{expert: (score or None, n)}; None when no token read was routed."""
    found, t = slots_read(rows, tokens)
    if not t:
        return None
    out = {}
    for x in everyone(experts):
        mine = [s for s in found if (s["layer"], s["expert"]) == x]
        total = 0.0
        for s in mine:
            value = 1.0
            for _ in range(gate):
                value *= s["weight"]
            for _ in range(power):
                value *= s["output_l2"]
            total += value
        over = t if frequency else len(mine)
        out[x] = (total / over if over else None, len(mine))
    return out


def esft(rows, experts, tokens, measure, p):
    """[(layer, expert, score, n)] of every layer's set, in order; None when no token read was routed."""
    found, t = slots_read(rows, tokens)
    if not t:
        return None
    out = []
    for layer, count in experts.items():
        here = [s for s in found if s["layer"] == layer]
        score = {}
        for e in range(count):
            mine = [s for s in here if s["expert"] == e]
            score[e] = len(mine) / len(here) if measure == "ratio" else sum(s["weight"] for s in mine) / t
        reached = 0.0
        for e in sorted(score, key=lambda e: (-round(score[e], 12), e)):
            n = sum(s["expert"] == e for s in here)
            if reached >= p - 1e-12 or not n:
                break
            reached += score[e]
            out.append((layer, e, score[e], n))
    return out


def easy_ep(rows, experts, tokens, domains=None):
    found, t = slots_read(rows, tokens)
    if not t:
        return None
    change = {place(r): max(r["routed_change"], 0) for r in rows["residual"]}
    n = {x: sum((s["layer"], s["expert"]) == x for s in found) for x in everyone(experts)}

    def importance(slots):
        out = dict.fromkeys(n, 0.0)
        for s in slots:
            out[s["layer"], s["expert"]] += change[place(s)] * s["weight"] * s["output_l2"]
        return out

    if domains is None:
        return {x: (value / t, n[x]) for x, value in importance(found).items()}
    values = sorted({label_of(rows, s, domains) for s in sequences(rows)} - {None})
    share = dict.fromkeys(n, 0.0)
    n = dict.fromkeys(n, 0)
    for value in values:
        mine = [s for s in found if label_of(rows, (s["prompt_id"], s["sample"]), domains) == value]
        if not mine:
            return None
        whole = importance(mine)
        for x in share:
            layer = sum(v for y, v in whole.items() if y[0] == x[0])
            share[x] += (whole[x] / layer if layer else 0) / len(values)
            n[x] += sum((s["layer"], s["expert"]) == x for s in mine)
    return {x: (share[x], n[x]) for x in share} if values else None


def place(row):
    return row["prompt_id"], row["sample"], row["position"], row["layer"]


def shape(rows, experts, tokens):
    found, t = slots_read(rows, tokens)
    if not t:
        return None
    out = {}
    for layer, count in experts.items():
        chosen = {}
        for s in found:
            if s["layer"] == layer:
                chosen.setdefault(place(s), set()).add(s["expert"])
        sets = [frozenset(x) for x in chosen.values()]
        v = {a: sum(a == b for b in sets) for a in sets}
        for e in range(count):
            mine = [a for a in v if e in a]
            whole = {a: sum(v[b] for b in v if a - {e} <= b and len(b) == len(a)) for a in mine}
            alpha = min((v[a] / whole[a] for a in mine), default=0)
            n = sum(v[a] for a in mine)
            out[layer, e] = (sum(v[a] - alpha * whole[a] for a in mine) / t, n)
    return out


def unlearning_affinity(rows, experts, tokens):
    found, t = slots_read(rows, tokens)
    if not t:
        return None
    logits = {place(r): r["router_logits"] for r in rows["logits"]}
    n = {x: sum((s["layer"], s["expert"]) == x for s in found) for x in everyone(experts)}
    mean, responses = dict.fromkeys(n, 0.0), sorted({(s["prompt_id"], s["sample"]) for s in found})
    for response in responses:
        read = sorted({s["position"] for s in found if (s["prompt_id"], s["sample"]) == response})
        for layer, e in mean:
            shares = []
            for position in read:
                z = [exp(value) for value in logits[*response, position, layer]]
                shares.append(z[e] / sum(z))
            mean[layer, e] += sum(shares) / len(shares) / len(responses)
    return {x: (mean[x], n[x]) for x in mean}


def tcess(rows, experts, tokens, first=1, threshold=-1.0):
    found, t = slots_read(rows, tokens)
    if not t:
        return None
    read = {place(s) for s in found}
    total, n = dict.fromkeys(everyone(experts), 0.0), dict.fromkeys(everyone(experts), 0)
    for row in rows["logits"]:
        if place(row) not in read:
            continue
        z = row["router_logits"]
        best = sorted(range(len(z)), key=lambda e: (-z[e], e))[:first]
        whole = sum(exp(z[e]) for e in best)
        for e in best:
            if exp(z[e]) / whole >= threshold:
                total[row["layer"], e] += z[e]
                n[row["layer"], e] += 1
    return {x: (total[x] / t, n[x]) for x in total}


def _weights(rows):
    """(layer, expert) -> (numbers, sum of sizes, sum of squares) of all its matrices."""
    found = {}
    for row in rows["matrices"]:
        before = found.get((row["layer"], row["expert"]), (0, 0.0, 0.0))
        own = row["n_values"], row["sum_abs"], row["sum_squares"]
        found[row["layer"], row["expert"]] = tuple(a + b for a, b in zip(before, own, strict=True))
    return found


def aimer(rows):
    """{(layer, expert): (mean size over root mean square, numbers)} of experts with weights."""
    found = _weights(rows)
    return {x: (sizes / (n * squares) ** 0.5 if squares else None, n) for x, (n, sizes, squares) in found.items()}


def min_norm(rows, experts, tokens, of, per):
    """{(layer, expert): (norm of its outputs, a selection or a token read, or of its weights, n)}."""
    if of == "weights":
        return {x: (squares**0.5, n) for x, (n, _, squares) in _weights(rows).items()}
    return saliency(rows, experts, tokens, per == "token", 0, 1)
