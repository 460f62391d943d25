"""The golden store and random ones of `tests.probes.oracle.cases` with what tells how alike experts are."""

from tests.probes.oracle.cases import Case, golden

ROWS = {
    (2, 4): [1, 0, 0],
    (2, 3): [0, 0, 0],
    (2, 1): [1, 1, 0],
    (2, 2): [-1, 0, 0],
    (2, 0): [1, 0, 0],
    (1, 2): [0, 0, 2],
    (1, 0): [3, 4, 0],
    (1, 1): [6, 8, 0],
}
"""Every router's row by (layer, expert), not in order."""


def alike() -> Case:
    """The golden store with routers of ROWS, and layer 1's logits and outputs.

    logits   at position p: p + 1, twice that, and 1 at the first, else -1
    outputs  expert 0 writes (1, 0); 1 writes (0, 1) in a and b, (2, 0) in c and d; 2 writes (1, 1). All of an answer (-1, 0)
    """
    case = golden()
    case.rows["routers"] = [{"layer": layer, "expert": e, "row": row} for (layer, e), row in ROWS.items()]
    case.rows["logits"], case.rows["outputs"] = [], []
    length = {prompt["prompt_id"]: prompt["n_tokens"] for prompt in case.rows["prompts"]}
    for slot in case.rows["slots"]:
        if slot["layer"] != 1:
            continue
        key = {name: slot[name] for name in ("prompt_id", "sample", "position", "layer")}
        at, prompt, vector = key["position"], key["prompt_id"], [-1, 0]
        if at < length[prompt]:
            vector = ([1, 0], [0, 1] if prompt in "ab" else [2, 0], [1, 1])[slot["expert"]]
        case.rows["outputs"].append({**key, "slot": slot["slot"], "expert": slot["expert"], "output": vector})
        if slot["slot"] == 0:
            case.rows["logits"].append({**key, "router_logits": [at + 1, 2 * (at + 1), -1 if at else 1]})
    return case


def enriched(case: Case) -> Case:
    """Any store with routers, logits and outputs of no draw; the last expert's row comes first."""
    case.rows["routers"] = [
        {"layer": layer, "expert": e, "row": [(3 * e + 2 * c * layer + c * c * e) % 7 - 3 for c in range(4)]}
        for layer, n in case.experts.items()
        for e in reversed(range(n))
    ]
    case.rows["logits"], case.rows["outputs"] = [], []
    for i, slot in enumerate(case.rows["slots"]):
        key = {name: slot[name] for name in ("prompt_id", "sample", "position", "layer")}
        e, at, layer = slot["expert"], key["position"], slot["layer"]
        vector = [(5 * e + 3 * c * (at + layer) + c) % 6 - 2 for c in range(3)]
        case.rows["outputs"].append({**key, "slot": slot["slot"], "expert": e, "output": vector})
        if slot["slot"] == 0:
            logits = [((5 * i + 3 * x * (i + layer) + x) % 11 - 4) / 4 for x in range(case.experts[layer])]
            case.rows["logits"].append({**key, "router_logits": logits})
    return case
