"""Pairs of stores of one anatomy: before and after tuning, over the same prompts or over some of them."""

import copy
import random

from tests.probes.oracle.cases import Case
from tests.probes.oracle.importance.cases import sized


def before() -> Case:
    """The golden store, its experts writing vectors of 1, 2, 4 and 8 at tokens of a, b, c and d."""
    return sized()


def after() -> Case:
    """The same after tuning: a's first token goes to expert 2 of layer 1 in place of 0, the weights of b's two slots change
    places, and expert 3 of layer 2 writes vectors twice as large.
    """
    case = sized()
    for slot in case.rows["slots"]:
        place = slot["prompt_id"], slot["position"], slot["layer"]
        if place == ("a", 0, 1) and slot["expert"] == 0:
            slot["expert"] = 2
        if slot["prompt_id"] == "b":
            slot["weight"] = (0.75, 0.25)[slot["slot"]]
        if (slot["layer"], slot["expert"]) == (2, 3):
            slot["output_l2"] *= 2
    return case


def tuned(case: Case, seed: int, share: float = 1.0) -> Case:
    """The store of the same prompts, or of a share of them and others besides, after its routers and experts were changed."""
    rng, rows = random.Random(seed), copy.deepcopy(dict(case.rows))
    names = sorted({p["prompt_id"] for p in rows["prompts"]})
    new = {name: name if rng.random() < share else f"new {name}" for name in names}
    for table in rows.values():
        for row in table:
            row["prompt_id"] = new[row["prompt_id"]]
    moved = {layer: rng.sample(range(n), n) for layer, n in case.experts.items()}
    size = {
        x: rng.choice([0.5, 1.0, 1.0, 3.0]) for x in [(layer, e) for layer, n in case.experts.items() for e in range(n)]
    }
    for slot in rows["slots"]:
        if slot["slot"] >= 0 and slot["position"] % 2:  # some tokens go elsewhere, one expert for another
            slot["expert"] = moved[slot["layer"]][slot["expert"]]
        if slot["slot"] >= 0:
            slot["weight"] = 1.125 - slot["weight"]
            slot["output_l2"] *= size[slot["layer"], slot["expert"]]
    return Case(rows, case.anatomy)


def merged(one: Case, another: Case, pair: bool) -> Case:
    """Both stores as one, whose prompts say in the label `side` where they are from; pair: a prompt's two are a pair."""
    rows = {name: [] for name in one.rows}
    for side, case in (("1", one), ("2", another)):
        for name, table in case.rows.items():
            rows[name] += [{**row, "prompt_id": side + row["prompt_id"]} for row in table if name != "labels"]
        for prompt in case.rows["prompts"]:
            about = {"sample": None, "name": "side", "value": side, "source": "given"}
            rows["labels"].append({"prompt_id": side + prompt["prompt_id"], **about})
    for prompt in rows["prompts"]:
        prompt["pair"] = prompt["prompt_id"][1:] if pair else None
    return Case(rows, one.anatomy)


def alone(case: Case) -> Case:
    """The store without the pairs that its prompts name."""
    rows = copy.deepcopy(dict(case.rows))
    for prompt in rows["prompts"]:
        prompt["pair"] = None
    return Case(rows, case.anatomy)


def with_neurons(case: Case) -> Case:
    """Any store with six neurons of each routed expert, of no draw; every seventh row was not kept."""
    case.rows["inner"] = []
    for i, slot in enumerate(s for s in case.rows["slots"] if s["slot"] >= 0):
        key = {name: slot[name] for name in ("prompt_id", "sample", "position", "layer", "slot", "expert")}
        neurons = [((5 * i + 3 * j * (i + slot["layer"]) + j) % 13 - 5) / 4 for j in range(6)]
        neurons[slot["expert"] % 6] += 4 * (key["prompt_id"][-1] in "024ac")
        if i % 7 != 6:
            case.rows["inner"].append({**key, "neurons": neurons})
    return case


def grown() -> Case:
    """The golden store. Neuron e of expert e is 1 more than the position in a and c, 1/2 in b and d; neuron 5 is -1, others 0."""
    case = before()
    case.rows["inner"] = []
    for slot in case.rows["slots"]:
        key = {name: slot[name] for name in ("prompt_id", "sample", "position", "layer", "slot", "expert")}
        neurons = [0.0] * 5 + [-1.0]
        neurons[slot["expert"]] = 1.0 + slot["position"] if slot["prompt_id"] in "ac" else 0.5
        case.rows["inner"].append({**key, "neurons": neurons})
    return case
