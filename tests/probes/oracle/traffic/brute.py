"""Every probe of traffic once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from fractions import Fraction
from itertools import pairwise
from math import ceil

from tests.probes.oracle.brute import positions, routed, sequences


def stretches(rows, tokens, longest):
    """Lists of what each token selects by layer, of tokens that stand together."""
    out = []
    for sequence in sequences(rows):
        went = routed(rows, sequence)
        read = [p for p in positions(rows, sequence, tokens, []) if p in went]
        run = []
        for p in read:
            if run and (p != run[-1] + 1 or len(run) == longest):
                out.append([went[q] for q in run])
                run = []
            run.append(p)
        if run:
            out.append([went[q] for q in run])
    return out


def locality(rows, experts, windows, sizes, tokens="all", longest=512):
    """{(layer, measure, window, cache): {"value", "n"}}; `sizes`: experts that a cache holds. None where nothing is read."""
    cut = stretches(rows, tokens, longest)
    if not cut:
        return None
    out = {}
    for layer, n in experts.items():
        runs = [[set(token.get(layer, {})) for token in run] for run in cut]
        for m in windows:
            counts = [
                [sum(e in token for token in run[at : at + m]) for e in range(n)]
                for run in runs
                for at in range(len(run) - m + 1)
            ]
            out[layer, "SRP", m, None] = {"value": srp(counts, m), "n": len(counts)}
        tokens_read, selections = sum(map(len, runs)), sum(len(token) for run in runs for token in run)
        for name, m in [("LRU", None), ("LFU", None), *(("oracle", m) for m in windows)]:
            for size in sizes:
                hits = sum(cached(run, name, m, min(size, n)) for run in runs)
                out[layer, name, m, size] = {"value": hits / selections, "n": tokens_read}
    return out


def capacity(rows, experts, factors, parts, together, tokens="all"):
    """{(layer, factor, first, last): {"dropped", "n"}}; None where nothing is read."""
    read = []
    for sequence in sequences(rows):
        went = routed(rows, sequence)
        at = [p for p in positions(rows, sequence, tokens, []) if p in went]
        read += [(at, went)] if at else []
    if not read:
        return None
    longest = 1 + max(max(at) for at, _ in read)
    parts = min(parts, longest)
    starts = [ceil(Fraction(longest * i, parts)) for i in range(parts + 1)]
    stretches = [(0, longest - 1), *((a, b - 1) for a, b in pairwise(starts) if parts > 1)]
    out = {}
    for layer, n in experts.items():
        for factor in factors:
            places = {ends: [0, 0] for ends in stretches}
            for start in range(0, len(read), together):
                group = read[start : start + together]
                made = sum(len(went[p].get(layer, {})) for at, went in group for p in at)
                limit, taken = ceil(Fraction(factor) * made / n), dict.fromkeys(range(n), 0)
                for here, e in [(p, e) for at, went in group for p in at for e in went[p].get(layer, {})]:
                    for ends in [x for i, x in enumerate(stretches) if not i or x[0] <= here <= x[1]]:
                        places[ends][0] += taken[e] >= limit
                        places[ends][1] += 1
                    taken[e] += 1
            for ends, (dropped, total) in places.items():
                out[layer, factor, *ends] = {"dropped": dropped / total if total else None, "n": total}
    return out


def srp(counts, m):
    needed = sum(map(sum, counts))
    best = None
    for threshold in range(m + 1):
        kept = [f for window in counts for f in window if f >= threshold]
        if needed:
            f1 = 2 * sum(kept) / (m * len(kept) + needed)
            best = f1 if best is None else max(best, f1)
    return best


def cached(run, name, m, size):
    cache, last, often, hits = set(), {}, {}, 0
    for t, token in enumerate(run):
        hits += len(cache & token)
        for e in token:
            last[e], often[e] = t, often.get(e, 0) + 1
        ahead = [x for later in run[t + 1 : t + 1 + (m or 0)] for x in later]
        first = {"LRU": lambda e: 0, "LFU": often.get, "oracle": lambda e, ahead=ahead: ahead.count(e)}[name]
        cache = set(sorted(cache | token, key=lambda e: (-first(e), -last[e], e))[:size])
    return hits
