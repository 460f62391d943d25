"""Two engines' answers and slots beside each other, wherever what chose them was no near-tie."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from workbench.anatomy import Anatomy, ExpertRef
from workbench.backends import Backend, Batch
from workbench.errors import WorkbenchError
from workbench.generation import Decoding, Made
from workbench.plan import KINDS, Plan
from workbench.routing import CompiledPlan

NEAR = 1e-4
"""Two best log-probabilities closer than this: either token is right, and what comes after it is another answer."""


class Answer(NamedTuple):
    """Token ids, their log-probabilities, and by how much each was the likeliest."""

    ids: list[int]
    logprobs: list[float]
    lead: list[float]


def answers(made: Sequence[Made], n_rows: int) -> list[Answer]:
    """Of what was made with two alternatives."""
    found = [Answer([], [], []) for _ in range(n_rows)]
    for part in made:
        assert part.likeliest is not None
        leads = part.likeliest[1][:, 0] - part.likeliest[1][:, 1]
        for row, token, logprob, lead in zip(part.row, part.id, part.logprob, leads, strict=True):
            found[row].ids.append(int(token))
            found[row].logprobs.append(float(logprob))
            found[row].lead.append(float(lead))
    return found


def answered(backend: Backend, rows: Sequence[Sequence[int]], plan: CompiledPlan, how: Decoding) -> list[Answer]:
    with closing(backend.run(Batch(rows), plan, replace(how, alternatives=2))) as portions:
        return answers([p.made for p in portions if p.made is not None], len(rows))


def same_until_a_tie(ours: Answer, theirs: Answer) -> int:
    """Tokens that were compared before the first near-tie; raises where one of them differs, or its log-probability by 1e-4."""
    ties = [n for n, lead in enumerate(theirs.lead) if lead < NEAR]
    n = ties[0] if ties else len(theirs.ids)
    assert ours.ids[:n] == theirs.ids[:n], f"{ours.ids} is not {theirs.ids}, equal up to {n}"
    assert ties or len(ours.ids) == len(theirs.ids)
    assert np.abs(np.subtract(ours.logprobs[:n], theirs.logprobs[:n])).max(initial=0) < NEAR
    return n


def random_plans(anatomy: Anatomy, n: int, seed: int, *, limited: bool = True) -> list[Plan]:
    """Plans of one to four edits, every kind in turn, some of them for a phase or for positions, that this model can do."""
    rng, found, width = np.random.default_rng(seed), list[Plan](), anatomy.hidden_size
    values = {"scale": 3.0, "bias": 1.5, "replace": tuple(rng.normal(0, 1, width).tolist())}
    scopes = (
        {},
        {},
        {"phase": "generated"},
        {"phase": "prompt"},
        {"positions": ((2, 9),)},
        {"positions": ((5, None),)},
    )
    while len(found) < n:
        plan = Plan()
        for at in range(int(rng.integers(1, 5))):
            kind = KINDS[(len(found) + at) % len(KINDS)]
            layer = anatomy.layer(int(rng.choice(anatomy.moe_layers)))
            ref = ExpertRef(layer.layer, int(rng.integers(layer.n_experts)))
            scope = scopes[int(rng.integers(len(scopes)))] if limited else {}
            try:
                joined = plan | getattr(Plan, kind)([ref], *([values[kind]] if kind in values else []), **scope)
                plan = joined.check(anatomy)
            except WorkbenchError:  # two edits that contradict each other, or one too many: without it
                continue
        found += [plan] if plan else []
    return found
