"""Drift once more, from the tables' rows, by plain loops. Imports nothing from workbench or probes."""

from tests.probes.oracle.importance.brute import everyone, slots_read


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
