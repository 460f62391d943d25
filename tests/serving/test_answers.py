"""Greedy answers under twenty random plans of every edit are the native engine's, up to the first near-tie.

All twenty and none are in the engine at once, three rows each: a plan on another request's row would be seen here.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests.serving.support.judging import answered, answers, random_plans, same_until_a_tie
from tests.serving.support.models import BUNDLED, NAMES, engine, native, served
from workbench import Plan
from workbench.backends import Batch, Keep, backend_of, compiled_for
from workbench.generation import decoding_of
from workbench.model import MoEModel
from workbench.prompts import encode, read_prompts
from workbench.routing.rule import margin

N_TOKENS = 12
CLEAR = 1e-5
"""A choice of experts that led by less may fall otherwise in another engine: of 63 answers of smollm2-moe, which chooses 20 of 28
experts in 30 layers, two did (leads of 0 and 6e-8; 0.003 and 0.19 nats afterwards; 30 November 2026).
"""


def rows_of(model: MoEModel) -> list[list[int]]:
    if model.anatomy.model in BUNDLED:
        asked = read_prompts("refusal_heldout")
        return [list(p.ids) for p in encode(model.tokenizer, asked.filter(split="heldout"), None)[:3]]
    top = model.facts.n_embeddings
    return [[10 + (7 * i + 3 * n) % (top - 10) for i in range(n)] for n in (5, 11, 20)]


def together(name: str, plans: list[Plan], rows: list[list[int]]) -> list[Any]:
    """The answers of every row under every plan, in one batch, plan by plan."""
    model, n = served(name), len(plans) * len(rows)
    how = replace(decoding_of(model, N_TOKENS), alternatives=2)
    compiled = [compiled_for(model, plan) for plan in plans for _ in rows]
    portions = engine(name).run_each(Batch(rows * len(plans)), compiled, how)
    found = answers([p.made for p in portions if p.made is not None], n)
    return [found[at : at + len(rows)] for at in range(0, n, len(rows))]


def lead_where_they_part(name: str, row: list[int], plan: Plan) -> float:
    """By how much the native engine's last choice led the next, by its scores, where the two first choose other experts.

    0 where alone they choose the same, and in a layer that the plan reroutes: how many answers may part is limited apart.
    """
    here, found = native(name), list[dict[tuple[int, int], Any]]()
    for model in (here, served(name)):
        how = decoding_of(model, N_TOKENS)
        portions = backend_of(model).run(Batch([row]), compiled_for(model, plan), how, Keep({"logits"}))
        found.append(
            {
                (int(position), layer): (sorted(record.index[i].tolist()), record.logits[i])
                for portion in portions
                for layer, record in portion.record.layers.items()
                for i, position in enumerate(portion.where.position)
            }
        )
    parted = [at for at in found[0].keys() & found[1].keys() if found[0][at][0] != found[1][at][0]]
    rerouted = {edit.expert.layer for edit in plan.edits if edit.kind in ("off", "force", "bias")}
    if not parted or min(parted)[1] in rerouted:
        return 0.0
    position, number = min(parted)
    layer, logits = here.anatomy.layer(number), found[0][position, number][1].float()[None]
    assert layer.rule is not None
    return float(margin(layer.rule, logits, layer.top_k, here.runtime.correction(number)))


@pytest.mark.parametrize("name", NAMES)
def test_twenty_random_plans(name: str) -> None:
    here, there = native(name), served(name)
    plans, rows = [Plan(), *random_plans(here.anatomy, 20, seed=1)], rows_of(there)
    assert {edit.kind for plan in plans for edit in plan.edits} == set(backend_of(there).can.edits)
    compared = changed = moved = 0
    base = answered(backend_of(here), rows, compiled_for(here), decoding_of(here, N_TOKENS))
    for plan, ours in zip(plans, together(name, plans, rows), strict=True):
        theirs = answered(backend_of(here), rows, compiled_for(here, plan), decoding_of(here, N_TOKENS))
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            try:
                compared += same_until_a_tie(one, other)
            except AssertionError:
                assert lead_where_they_part(name, rows[number], plan) < CLEAR
                moved += 1
        changed += sum(a.logprobs != b.logprobs for a, b in zip(theirs, base, strict=True))
    assert compared >= 0.9 * sum(len(a.ids) for a in base) * len(plans)
    assert moved <= 0.1 * len(plans) * len(rows)
    assert changed >= 20, "the plans hardly changed anything, so equal answers say nothing"
