"""A later turn makes a prompt of what was generated: a prefix cached under a plan of one phase is not read for the other."""

from dataclasses import replace
from typing import Any

import pytest

from tests.serving.support.judging import Answer, answered, answers, same_until_a_tie
from tests.serving.support.models import engine, native, served
from tests.serving.test_many_plans import cached, rows
from workbench import Plan
from workbench.backends import Batch, backend_of, compiled_for
from workbench.generation import decoding_of
from workbench.serving import requests

NAME = "demo"
PLAN = Plan.parse(
    "off L1E2,L1E3,L2E8,L2E20 in generated; scale L3E1,L3E2,L3E3=6 in generated; bias L2E1=5 in generated"
)
FIRST, THEN = 60, 8


def how(model: Any, n_tokens: int) -> Any:
    return replace(decoding_of(model, n_tokens), stop=frozenset(), alternatives=2)


def warm() -> tuple[list[int], Answer]:
    """A first turn, and the next one whose prompt is all of that and a few tokens; the answer to the next one."""
    model, first = served(NAME), rows(1)[0]
    compiled = [compiled_for(model, PLAN)]

    def turn(row: list[int], n: int) -> Answer:
        portions = engine(NAME).run_each(Batch([row]), compiled, how(model, n))
        return answers([p.made for p in portions if p.made is not None], 1)[0]

    then = [*first, *turn(first, FIRST).ids, 20, 33]
    return then, turn(then, THEN)


def judged() -> int:
    then, ours = warm()
    here = native(NAME)
    (theirs,) = answered(backend_of(here), [then], compiled_for(here, PLAN), how(here, THEN))
    return same_until_a_tie(ours, theirs)


@pytest.fixture(autouse=True)
def _cold() -> Any:
    engine(NAME).calls.engine.reset_prefix_cache()
    yield
    engine(NAME).calls.engine.reset_prefix_cache()


def test_the_next_turn_is_answered_as_if_the_cache_were_cold() -> None:
    assert judged() > 0


def test_a_salt_without_the_prompts_length_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    own = requests.salted
    monkeypatch.setattr(requests, "salted", lambda salt, plan, prompt: own(salt, plan, 0))
    with cached() as tokens, pytest.raises(AssertionError):
        judged()
    assert tokens[-1] >= 96, "nothing of what was generated came from the cache, so this says nothing"
