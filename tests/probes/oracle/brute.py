"""Every method once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes.

`rows` are the store's tables as lists of dictionaries; `experts` maps each MoE layer to how many experts it has.
"""

from math import floor, log2

Expert = tuple[int, int]


def sequences(rows):
    """(prompt_id, sample) of every response that has tokens."""
    return sorted({(t["prompt_id"], t["sample"]) for t in rows["tokens"]})


def tokens_of(rows, sequence):
    return sorted((t for t in rows["tokens"] if (t["prompt_id"], t["sample"]) == sequence), key=lambda t: t["position"])


def prompt_length(rows, prompt):
    return next(p["n_tokens"] for p in rows["prompts"] if p["prompt_id"] == prompt)


def label_of(rows, sequence, name):
    prompt, sample = sequence
    found = [x for x in rows["labels"] if x["prompt_id"] == prompt and x["name"] == name]
    own = [x["value"] for x in found if x["sample"] == sample]
    shared = [x["value"] for x in found if x["sample"] is None]
    return (own or shared or [None])[0]


def positions(rows, sequence, tokens, used):
    """The positions of a response that are read. `used`: the compared sequences."""
    prompt, all_tokens = sequence[0], tokens_of(rows, sequence)
    n = prompt_length(rows, prompt)
    everything = [t["position"] for t in all_tokens]
    if tokens == "all":
        return everything
    if tokens == "prompt":
        return [p for p in everything if p < n]
    if tokens == "response":
        return [p for p in everything if p >= n]
    if tokens == "last_prompt":
        return [n - 1]
    if tokens == "first_generated":
        return [p for p in everything if p == n]
    if tokens == "first_answer":
        response = [t for t in all_tokens if t["position"] >= n]
        if not response:
            return [n - 1]
        said = [t["position"] for t in response if t["role"] == "assistant" and t["token"].strip()]
        return [said[0] - 1] if said else []
    if tokens == "frame":
        prompts = {s[0] for s in used}
        ids = [{t["token_id"] for t in framed(rows, p)} for p in prompts]
        common = set.intersection(*ids)
        return [t["position"] for t in framed(rows, prompt) if t["token_id"] in common]
    raise ValueError(tokens)


def framed(rows, prompt):
    """The prompt's tokens that the user wrote (of its first sample)."""
    n = prompt_length(rows, prompt)
    return [t for t in tokens_of(rows, (prompt, 0)) if t["position"] < n and t["role"] == "user"]


def routed(rows, sequence):
    """Position -> layer -> {expert: weight}, routed experts alone."""
    out = {}
    for s in rows["slots"]:
        if (s["prompt_id"], s["sample"]) == sequence and s["slot"] >= 0:
            out.setdefault(s["position"], {}).setdefault(s["layer"], {})[s["expert"]] = s["weight"]
    return out


def class_rates(rows, experts, label, values, tokens, reduce):
    """Class -> list of (rates, selections, tokens read) of its responses."""
    compared = [s for s in sequences(rows) if label_of(rows, s, label) in values]
    out = {value: [] for value in values}
    for sequence in compared:
        went = routed(rows, sequence)
        read = [p for p in positions(rows, sequence, tokens, compared) if p in went]
        if not read:
            continue
        amount = {}
        for layer, n in experts.items():
            for e in range(n):
                chosen = [went[p][layer][e] for p in read if e in went[p][layer]]
                amount[layer, e] = (sum(chosen) if reduce in ("weight", "weight_sum") else len(chosen), len(chosen))
        out[label_of(rows, sequence, label)].append((sequence, amount, len(read)))
    return out


def ftri(rows, experts, label, values, tokens="prompt", reduce="rate", contrast="pooled"):
    """{expert: (score, n)}; `values`: the target first, then the others."""
    found = class_rates(rows, experts, label, values, tokens, reduce)
    if not all(found.values()) and contrast == "class_means":
        return None
    target, others = found[values[0]], [found[v] for v in values[1:]]
    pooled = [x for other in others for x in other]
    if not target or not pooled:
        return None

    def mean(responses, expert):
        per = [a[expert][0] / (n if reduce in ("rate", "weight") else 1) for _, a, n in responses]
        return sum(per) / len(per)

    out = {}
    for layer, count in experts.items():
        for e in range(count):
            x = (layer, e)
            rest = mean(pooled, x) if contrast == "pooled" else sum(mean(o, x) for o in others) / len(others)
            out[x] = (mean(target, x) - rest, sum(a[x][1] for _, a, _ in target + pooled))
    return out


def contrast(rows, experts, label, values, tokens="prompt", pooling="tokens"):
    found = class_rates(rows, experts, label, values, tokens, "rate")
    sides = [found[values[0]], found[values[1]]]
    if not all(sides):
        return None
    pair_of = {p["prompt_id"]: p["pair"] for p in rows["prompts"]}
    out = {}
    both = {pair_of[s[0]] for s, _, _ in sides[0]} & {pair_of[s[0]] for s, _, _ in sides[1]}
    both.discard(None)
    if pooling == "pairs" and not both:
        return None
    for layer, count in experts.items():
        for e in range(count):
            x = (layer, e)
            if pooling == "tokens":
                rate = [sum(a[x][0] for _, a, _ in side) / sum(n for _, _, n in side) for side in sides]
                out[x] = (rate[0] - rate[1], sum(a[x][1] for side in sides for _, a, _ in side))
                continue
            differences, selected = [], 0
            for pair in both:
                mine = [[(a[x][0] / n, a[x][1]) for s, a, n in side if pair_of[s[0]] == pair] for side in sides]
                differences.append(
                    sum(r for r, _ in mine[0]) / len(mine[0]) - sum(r for r, _ in mine[1]) / len(mine[1])
                )
                selected += sum(n for side in mine for _, n in side)
            out[x] = (sum(differences) / len(differences), selected)
    return out


def npmi(rows, experts, markers, tokens="all"):
    """{expert: (score or None, n)}; `markers`: token text -> sign. None when a marker does not occur."""
    total = dict.fromkeys(((layer, e) for layer, n in experts.items() for e in range(n)), 0)
    k, met, t = {m: dict(total) for m in markers}, dict.fromkeys(markers, 0), 0
    for sequence in sequences(rows):
        went, text = routed(rows, sequence), {x["position"]: x["token"] for x in tokens_of(rows, sequence)}
        for p in positions(rows, sequence, tokens, []):
            if p not in went:
                continue
            t += 1
            here = [m for m in markers if text[p] in (m, " " + m)]
            for m in here:
                met[m] += 1
            for layer, chosen in went[p].items():
                for e in chosen:
                    total[layer, e] += 1
                    for m in here:
                        k[m][layer, e] += 1
    if not all(met.values()):
        return None
    out = {}
    for x in total:
        scores = [sign * _npmi(k[m][x], met[m], total[x], t) for m, sign in markers.items()] if total[x] else None
        out[x] = (None if scores is None else sum(scores), total[x])
    return out


def _npmi(k, met, selected, t):
    if k == 0:
        return -1.0
    if k == t:
        return 0.0
    return log2((k / met) / (selected / t)) / -log2(k / t)


def usage(rows, experts, measure="load", tokens="all"):
    amount = dict.fromkeys(((layer, e) for layer, n in experts.items() for e in range(n)), 0.0)
    n, t = dict.fromkeys(amount, 0), 0
    for sequence in sequences(rows):
        went = routed(rows, sequence)
        for p in positions(rows, sequence, tokens, []):
            if p not in went:
                continue
            t += 1
            for layer, chosen in went[p].items():
                for e, weight in chosen.items():
                    n[layer, e] += 1
                    amount[layer, e] += weight if measure == "weight" else 1
    if not t:
        return None
    of_layer = {layer: sum(n[layer, e] for e in range(count)) for layer, count in experts.items()}
    return {x: (amount[x] / (of_layer[x[0]] if measure == "load" else t), n[x]) for x in amount}


def safex(rows, experts, label, values, tokens, group, alpha, draws):
    """`draws`: for each class its resamples, each a list of how often every response of the class was drawn."""
    found = class_rates(rows, experts, label, values, tokens, "rate")
    sides = [found[values[0]], found[values[1]]]
    n_first = floor(alpha * sum(experts.values()))
    if not all(sides) or not n_first:
        return None
    top = []
    for side, resamples in zip(sides, draws, strict=True):
        firsts = []
        for times in resamples:
            rate = used_share(side, experts, times)
            firsts.append(set(sorted(rate, key=lambda x: (-round(rate[x], 12), x))[:n_first]))
        top.append(set.intersection(*firsts))
    members = {"control": top[0] - top[1], "detection": top[0] & top[1], "stable": top[0]}[group]
    rate = used_share(sides[0], experts, [1] * len(sides[0]))
    n = {x: sum(a[x][1] for side in sides for _, a, _ in side) for x in rate}
    return {x: (rate[x] if x in members else 0.0, n[x]) for x in rate}


def used_share(side, experts, times):
    """{expert: share of tokens that select it}, each response counted so many times."""
    tokens = sum(t * n for t, (_, _, n) in zip(times, side, strict=True))
    everyone = [(layer, e) for layer, count in experts.items() for e in range(count)]
    return {x: sum(t * a[x][0] for t, (_, a, _) in zip(times, side, strict=True)) / tokens for x in everyone}


def super_experts(rows, experts, n_shared, n_layers, rule="tenth_of_max", guard=True):
    """({(layer, expert, is_shared): (score or None, n)}, flagged)."""
    seen, first = {}, {}
    for s in sorted(rows["slots"], key=lambda s: s["position"]):
        x = which(s)
        key = (x, s["prompt_id"], s["sample"])
        if rule != "repository_first_row" or key not in first:
            first[key] = True
            seen.setdefault(x, []).append(s["output_max_abs"])
    everyone = [(layer, e, False) for layer, n in experts.items() for e in range(n)]
    everyone += [(layer, e, True) for layer in experts for e in range(n_shared)]
    n = {x: sum(which(s) == x for s in rows["slots"]) for x in everyone}
    a = {x: max(seen[x]) if x in seen else None for x in everyone}
    forming = forming_layers(rows, n_layers)
    early = {i for i in range(n_layers) if i < round(0.75 * n_layers)}
    allowed = set(forming) if rule in ("tenth_of_max", "paper", "paper_all_layers") else early
    over = [v for x, v in a.items() if v is not None and (rule == "paper_all_layers" or x[0] in allowed)]
    flagged = set()
    for x, v in a.items():
        if v is None or x[0] not in allowed or not all(v > limit for limit in limits(over, rule)):
            continue
        peers = [u for y, u in a.items() if y[0] == x[0] and u is not None]
        if not guard or (x[0] in forming and v > 10 * median(peers)):
            flagged.add(x)
    return {x: (a[x], n[x]) for x in everyone}, flagged


def which(slot):
    """(layer, expert, is_shared) of a row of slots."""
    shared = slot["slot"] < 0
    return slot["layer"], -1 - slot["expert"] if shared else slot["expert"], shared


def limits(values, rule):
    if rule == "mean_3_std":
        mean = sum(values) / len(values)
        return [mean + 3 * (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5]
    if rule == "fifty_times_mean":
        return [50 * sum(values) / len(values)]
    tenth = max(values) / 10
    if rule == "tenth_of_max":
        return [tenth]
    return [percentile(values, 99.5), tenth if rule.startswith("paper") else floor(tenth)]


def percentile(values, q):
    ordered, at = sorted(values), (len(values) - 1) * q / 100
    low = int(at)
    return ordered[low] + (at - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def median(values):
    return percentile(values, 50)


def forming_layers(rows, n_layers, absolute=100.0, ratio=1000.0, growth=1.2, against="ordinary"):
    state = {(r["prompt_id"], r["sample"], r["position"], r["layer"]): r for r in rows["residual"]}

    def massive(r):
        peers = [x["median_abs"] for x in rows["residual"] if x["layer"] == r["layer"]]
        usual = median(peers) if against == "ordinary" else r["median_abs"]
        return r["max_abs"] > absolute and r["max_abs"] > ratio * usual

    out = set()
    for (prompt, sample, position, layer), r in state.items():
        if layer < 0 or not massive(r):
            continue
        before = state[prompt, sample, position, layer - 1]
        grown = growth is not None and r["max_abs"] >= growth * before["max_abs"]
        if r["max_abs"] > before["max_abs"] and (not massive(before) or grown):
            out.add(layer)
    return sorted(out)
