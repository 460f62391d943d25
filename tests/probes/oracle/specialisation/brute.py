"""Every probe of specialisation once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from collections import Counter
from math import exp, log, log2

from tests.probes.oracle.brute import class_rates, label_of, positions, routed, sequences, tokens_of


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


def domain_specialisation(rows, experts, label, tokens="all", measure="spread"):
    """{expert: (score or None, n)} and {expert: the domain that uses it most}; None where fewer than two domains are read."""
    values = sorted({v for s in sequences(rows) if (v := label_of(rows, s, label)) is not None})
    found = class_rates(rows, experts, label, values, tokens, "rate")
    if len(values) < 2 or not all(found.values()):
        return None
    scores, most = {}, {}
    for x in ((layer, e) for layer, n in experts.items() for e in range(n)):
        rates = [sum(a[x][0] for _, a, _ in found[v]) / sum(n for _, _, n in found[v]) for v in values]
        selected = sum(a[x][1] for v in values for _, a, _ in found[v])
        mean = sum(rates) / len(rates)
        shares = [rate / sum(rates) for rate in rates if rate]
        entropy = sum(-share * log2(share) for share in shares)
        value = deviation(rates) / mean if mean and measure == "spread" else log2(len(values)) - entropy
        scores[x] = (value if selected else None, selected)
        first = [v for v, rate in zip(values, rates, strict=True) if rate > max(rates) - 1e-12]
        most[x] = first[0] if len(first) == 1 else None
    return scores, most


def committee(rows, experts, label, tokens="all", measure="ratio", p=0.5):
    """{layer: (share of each expert in each domain, size of the smallest set)}; None where fewer than two domains are read."""
    values = sorted({v for s in sequences(rows) if (v := label_of(rows, s, label)) is not None})
    found = class_rates(rows, experts, label, values, tokens, "rate" if measure == "ratio" else "weight")
    if len(values) < 2 or not all(found.values()):
        return None
    out = {}
    for layer, n in experts.items():
        mass = {v: [sum(a[layer, e][0] for _, a, _ in found[v]) for e in range(n)] for v in values}
        share = {f"{label}={v}": [x / sum(one) for x in one] for v, one in mass.items()}
        enough = [
            bits
            for bits in range(2**n)
            if all(sum(x for e, x in enumerate(one) if bits >> e & 1) >= p - 1e-9 for one in share.values())
        ]
        out[layer] = share, min(bits.bit_count() for bits in enough)
    return out


def difficulty(rows, experts, p=0.5, least=1, tokens="all", of="weight"):
    """{token id: {"needed", "n"}}; None where no id occurs so often."""
    seen = {}
    for sequence in sequences(rows):
        went, said = routed(rows, sequence), {t["position"]: t["token_id"] for t in tokens_of(rows, sequence)}
        for at in [x for x in positions(rows, sequence, tokens, []) if x in went]:
            for layer in experts:
                amounts = went[at][layer].values() if of == "weight" else softmax(rows, sequence, at, layer)
                seen.setdefault(said[at], []).append(needed(list(amounts), p))
    out = {v: {"needed": sum(x) / len(x), "n": len(x) // len(experts)} for v, x in seen.items()}
    return {v: row for v, row in out.items() if row["n"] >= least} or None


def softmax(rows, sequence, at, layer):
    key = (*sequence, at, layer)
    found = [x for x in rows["logits"] if (x["prompt_id"], x["sample"], x["position"], x["layer"]) == key]
    raised = [exp(z) for z in found[0]["router_logits"]]
    return [x / sum(raised) for x in raised]


def needed(amounts, p):
    reached = 0.0
    for i, x in enumerate(sorted(amounts, reverse=True)):
        reached += x / sum(amounts)
        if reached > p + 1e-9:
            return i + 1
    return len([x for x in amounts if x])


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


def decode(rows, of, side, token):
    """[(token_id, token, n, layer, expert, neuron, share)] in order; None where there is none."""
    own = [r for r in rows["directions"] if r["side"] == side and (r["neuron"] is None) == (of == "experts")]
    out = []
    for r in own:
        n = sum(other["token_ids"][0] == r["token_ids"][0] for other in own)
        if token is None or token in r["words"]:
            place = r["layer"], r["expert"], r["neuron"]
            out.append((r["token_ids"][0], r["words"][0], n, *place, r["share"]))
    return sorted(out, key=lambda row: (-row[6], row[3], row[4], row[5] or 0)) or None


def describe(rows, experts, tokens, held, n_words, evidence):
    """{(layer, expert): (n, auroc or None, described, words at, words before)}; held: prompts that are held out.

    A word is an id; the one before the first is None. None where one side has no token.
    """
    ids = {(r["prompt_id"], r["sample"], r["position"]): r["token_id"] for r in rows["tokens"]}
    sides = ([], [])
    for sequence in sequences(rows):
        went = routed(rows, sequence)
        for p in positions(rows, sequence, tokens, []):
            if p in went:
                at = ids[*sequence, p], ids.get((*sequence, p - 1))
                sides[sequence[0] in held].append((*at, went[p]))
    if not all(sides):
        return None
    own, other = sides
    order = [*sorted(set(ids.values())), None]  # ties go to the smaller id, no word comes last
    out = {}
    for layer, count in experts.items():
        for e in range(count):
            k_all, told = sum(e in went[layer] for *_, went in own), []
            for kind in (0, 1):
                found = []
                for word in order:
                    here = [token for token in own if token[kind] == word]
                    k = sum(e in token[2][layer] for token in here)
                    if not k:
                        continue
                    n, rate = len(here), k_all / len(own)
                    bits = k * log2(k / n / rate)
                    g = 2 * log(2) * (bits + ((n - k) * log2((n - k) / n / (1 - rate)) if n > k else 0))
                    if round(g, 9) >= evidence and round(bits, 9) > 0:
                        found.append((-round(bits, 9), order.index(word), word))
                told.append([word for *_, word in sorted(found)[:n_words]])
            levels = [((w in told[0]) + (b in told[1]), e in went[layer]) for w, b, went in other]
            yes, no = ([level for level, chosen in levels if chosen == side] for side in (True, False))
            wins = sum((a > b) + (a == b) / 2 for a in yes for b in no)
            auroc = wins / (len(yes) * len(no)) if yes and no and any(told) else None
            out[layer, e] = (len(yes), auroc, k_all, *told)
    return out
