"""Every probe of structure once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from itertools import pairwise, product

from tests.probes.oracle.brute import positions, routed, sequences


def sets_read(rows, tokens):
    """For every token that is read and was routed: layer -> set of its experts, with its sequence."""
    out = []
    for sequence in sequences(rows):
        went = routed(rows, sequence)
        for p in positions(rows, sequence, tokens, []):
            if p in went:
                out.append((sequence, {layer: set(chosen) for layer, chosen in went[p].items()}))
    return out


def pathways(rows, experts, tokens="all"):
    """{(layer, expert, other layer, other expert): (n, affinity, lift, excess)}; None where no token was routed."""
    found = [sets for _, sets in sets_read(rows, tokens)]
    if not found:
        return None
    t, out = len(found), {}
    for layer, other in pairwise(sorted(experts)):
        for i in range(experts[layer]):
            for p in range(experts[other]):
                n = sum(i in sets[layer] and p in sets[other] for sets in found)
                n_i, n_p = sum(i in sets[layer] for sets in found), sum(p in sets[other] for sets in found)
                affinity = n / n_i if n_i else None
                lift = n * t / (n_i * n_p) if n_i and n_p else None
                out[layer, i, other, p] = (n, affinity, lift, n / t - n_i * n_p / t**2)
    return out


def fair(n, devices):
    """Every way to lay n experts on the devices so that each holds as many as any other, or one more."""
    few, more = n // devices, -(-n // devices)
    return [d for d in product(range(devices), repeat=n) if all(few <= d.count(x) <= more for x in range(devices))]


def crossings(sets, devices):
    """(pairs of experts on two devices, pairs); devices: layer -> device of each expert."""
    crossed = total = 0
    for token in sets:
        for layer, other in pairwise(sorted(devices)):
            for i in token[layer]:
                for p in token[other]:
                    total += 1
                    crossed += devices[layer][i] != devices[other][p]
    return crossed, total


def placement(rows, experts, tokens="all", devices=2):
    """(fewest crossings of any fair placement, those of the round-robin, pairs); None where no token was routed."""
    sets = [found for _, found in sets_read(rows, tokens)]
    if not sets:
        return None
    layers = sorted(experts)
    every = (dict(zip(layers, x, strict=True)) for x in product(*(fair(experts[layer], devices) for layer in layers)))
    robin = {layer: [e % devices for e in range(experts[layer])] for layer in layers}
    # tokens with the same sets cross alike: each kind is counted once
    kinds = {}
    for token in sets:
        kind = tuple(tuple(sorted(token[layer])) for layer in layers)
        kinds[kind] = kinds.get(kind, 0) + 1

    def crossed(placed):
        return sum(n * crossings([dict(zip(layers, kind, strict=True))], placed)[0] for kind, n in kinds.items())

    return min(map(crossed, every)), *crossings(sets, robin)


def keys_read(rows, tokens):
    """(prompt, sample, position) of every token that is read and was routed."""
    return {
        (*sequence, p)
        for sequence in sequences(rows)
        for p in positions(rows, sequence, tokens, [])
        if p in routed(rows, sequence)
    }


def cosine(a, b):
    below = (sum(x * x for x in a) * sum(x * x for x in b)) ** 0.5
    return sum(x * y for x, y in zip(a, b, strict=True)) / below if below else None


def off_mean(vectors):
    """Vectors with their mean taken off each."""
    means = [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]
    return [[x - m for x, m in zip(vector, means, strict=True)] for vector in vectors]


def hsic(x, y):
    """Unbiased, by U-centred products of all pairs (Szekely and Rizzo 2014), which is HSIC_1."""
    n = len(x)

    def centred(v):
        inner = [
            [0 if i == j else sum(a * b for a, b in zip(v[i], v[j], strict=True)) for j in range(n)] for i in range(n)
        ]
        rows, total = [sum(row) for row in inner], sum(map(sum, inner))
        off = total / ((n - 1) * (n - 2))
        return [
            [0 if i == j else inner[i][j] - (rows[i] + rows[j]) / (n - 2) + off for j in range(n)] for i in range(n)
        ]

    a, b = centred(x), centred(y)
    return sum(a[i][j] * b[i][j] for i in range(n) for j in range(n))


def kernels(x, y):
    """Linear CKA; None for fewer than four tokens, or where one of the two has no spread."""
    if len(x) < 4:
        return None
    own = hsic(x, x) * hsic(y, y)
    return None if own < 1e-9 else max(-1, min(1, hsic(x, y) / own**0.5))


def similarity(rows, experts, by, tokens="all", centred=False):
    """{(layer, i, layer, j): (n, cosine)} for i < j; cosine None where there is none; None where no token was routed."""
    read, out = keys_read(rows, tokens), {}
    if not read and by != "router":
        return None
    for layer, size in experts.items():
        table = [x for x in rows[{"router": "routers", "cka": "outputs"}.get(by, by)] if x["layer"] == layer]
        if by in ("outputs", "cka"):
            written = {}
            for x in table:
                written.setdefault((x["prompt_id"], x["sample"], x["position"]), {})[x["expert"]] = x["output"]
        elif by == "router":
            own = {x["expert"]: x["row"] for x in table}
            vectors = [own[e] for e in range(size)]
            vectors = off_mean(vectors) if centred else vectors
        else:
            found = [x["router_logits"] for x in table if (x["prompt_id"], x["sample"], x["position"]) in read]
            found = [[z - sum(row) / size for z in row] for row in found] if centred else found
            vectors = [[row[e] for row in found] for e in range(size)]
        for i in range(size):
            for j in range(i + 1, size):
                if by == "cka":
                    both = [(w[i], w[j]) for key, w in written.items() if key in read and i in w and j in w]
                    both = [pair for number, pair in enumerate(both) if pair not in both[:number]]
                    out[layer, i, layer, j] = len(both), kernels([a for a, _ in both], [b for _, b in both])
                    continue
                if by != "outputs":
                    out[layer, i, layer, j] = len(vectors[i]), cosine(vectors[i], vectors[j])
                    continue
                both = [cosine(w[i], w[j]) for key, w in written.items() if key in read and i in w and j in w]
                both = [c for c in both if c is not None]
                out[layer, i, layer, j] = len(both), sum(both) / len(both) if both else None
    return out


def orthonormal(vectors):
    """A basis of what the vectors span: each time the one that is left the longest, until what is left is rounding."""
    left, basis = [list(map(float, v)) for v in vectors], []
    whole = max((sum(x * x for x in v) for v in left), default=0)
    while left:
        longest = max(left, key=lambda v: sum(x * x for x in v))
        size = sum(x * x for x in longest) ** 0.5
        if size**2 <= whole * 1e-10:
            return basis
        unit = [x / size for x in longest]
        basis.append(unit)
        left = [[x - unit[c] * sum(a * b for a, b in zip(v, unit, strict=True)) for c, x in enumerate(v)] for v in left]
    return basis


def router_span(rows, experts, centred):
    """{(layer,): columns} of every layer."""
    spans, out = [], {}
    for layer, size in experts.items():
        own = {x["expert"]: x["row"] for x in rows["routers"] if x["layer"] == layer}
        vectors = [own[e] for e in range(size)]
        spans.append((layer, off_mean(vectors) if centred else vectors))
    bases = [orthonormal(vectors) for _, vectors in spans]

    def overlap(one, other):
        shared = sum(sum(a * b for a, b in zip(v, w, strict=True)) ** 2 for v in one for w in other)
        return shared / min(len(one), len(other)) if one and other else None

    for i, (layer, vectors) in enumerate(spans):
        products = [[sum(a * b for a, b in zip(v, w, strict=True)) for w in vectors] for v in vectors]
        trace, squares = sum(products[e][e] for e in range(len(vectors))), sum(x * x for row in products for x in row)
        shared = [overlap(bases[i], bases[j]) for j in range(len(spans)) if j != i]
        shared, hidden = [x for x in shared if x is not None], len(vectors[0])
        out[layer,] = {
            "n": len(vectors),
            "rank": len(bases[i]),
            "share": len(bases[i]) / hidden,
            "effective": trace**2 / squares if bases[i] else None,
            "previous": overlap(bases[i], bases[i - 1]) if i else None,
            "by_chance": max(len(bases[i]), len(bases[i - 1])) / hidden if i else None,
            "others": sum(shared) / len(shared) if shared else None,
        }
    return out


def path_clusters(rows, experts, tokens, clusters, share):
    """[(set, layer, expert, n, share, elsewhere)] in order; None where too few tokens are read."""
    paths = [{(layer, e) for layer, chosen in sets.items() for e in chosen} for _, sets in sets_read(rows, tokens)]
    if len(paths) < clusters:
        return None
    everyone = [(layer, e) for layer, n in experts.items() for e in range(n)]

    def mean(some):
        return {x: sum(x in path for path in some) / len(some) for x in everyone}

    def alike(path, centre):
        size = (len(path) * sum(v * v for v in centre.values())) ** 0.5
        return round(sum(centre[x] for x in path) / size, 9)

    first = max(paths, key=lambda path: alike(path, mean(paths)))
    centres = [mean([first])]
    while len(centres) < clusters:
        centres.append(mean([min(paths, key=lambda path: max(alike(path, c) for c in centres))]))
    of = None
    for _ in range(50):
        moved = [max(range(clusters), key=lambda c: alike(path, centres[c])) for path in paths]
        if moved == of:
            break
        of = moved
        centres = [mean([p for p, c in zip(paths, of, strict=True) if c == i] or [set()]) if i in of else centres[i]
                   for i in range(clusters)]  # fmt: skip
    out = []
    for number, cluster in enumerate(sorted(set(of), key=lambda c: (-of.count(c), c))):
        inside = [p for p, c in zip(paths, of, strict=True) if c == cluster]
        outside = [p for p, c in zip(paths, of, strict=True) if c != cluster]
        here, there = mean(inside), mean(outside or [set()])
        for layer in experts:
            own = [x for x in everyone if x[0] == layer and here[x] >= share and here[x] > there[x]]
            for x in sorted(own, key=lambda x: -here[x]):
                out.append((f"cluster {number + 1}", *x, round(here[x] * len(inside)), here[x], there[x]))
    return out
