"""Many plans in one engine: neighbours do not matter, and neither do schedules, chunks, warm prefixes or the order.

Each mistake that could mix them up is planted and seen: another request's row, a cache without the plan's salt, rows that are
a chunk late.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.serving.support.judging import Answer, answers, random_plans, same_until_a_tie
from tests.serving.support.models import engine, native, served
from workbench import Plan
from workbench.backends import Batch, Keep, backend_of, compiled_for
from workbench.errors import WorkbenchError
from workbench.generation import decoding_of
from workbench.prompts import encode, read_prompts
from workbench.serving import requests, steps
from workbench.serving.plugin import Settings

NAME, N_TOKENS, N_PLANS, N_REQUESTS = "demo", 10, 8, 32


def rows(n: int) -> list[list[int]]:
    """Prompts that begin alike, so that their prefixes are cached, and long enough for several chunks."""
    asked = encode(served(NAME).tokenizer, read_prompts("refusal_heldout").filter(split="heldout"), None)
    shared = [i for p in asked[:6] for i in p.ids][:70]
    return [[*shared, *p.ids] for p in asked[6 : 6 + n]]


def plans() -> list[Plan]:
    return [Plan(), *random_plans(native(NAME).anatomy, N_PLANS - 1, seed=5)]


def run(some: Sequence[Sequence[int]], under: Sequence[Plan]) -> list[Answer]:
    """Answers in one batch; nothing is kept, so that the prefix cache is read."""
    compiled = [compiled_for(served(NAME), plan) for plan in under]
    how = replace(decoding_of(served(NAME), N_TOKENS), alternatives=2)
    portions = engine(NAME).run_each(Batch(some), compiled, how)
    return answers([p.made for p in portions if p.made is not None], len(some))


@contextmanager
def cached() -> Iterator[list[int]]:
    """How many tokens of each request that ends came from the prefix cache."""
    calls, found = engine(NAME).calls.engine, list[int]()
    own = calls.step

    def step() -> Any:
        outputs = own()
        found.extend(output.num_cached_tokens or 0 for output in outputs if output.finished)
        return outputs

    with pytest.MonkeyPatch.context() as there:
        there.setattr(calls, "step", step)
        yield found


@contextmanager
def chunks_of(n_tokens: int) -> Iterator[None]:
    """At most so many tokens go through the model at once."""
    scheduler: Any = engine(NAME).calls.engine.engine_core.engine_core.scheduler
    before, scheduler.max_num_scheduled_tokens = scheduler.max_num_scheduled_tokens, n_tokens
    try:
        yield
    finally:
        scheduler.max_num_scheduled_tokens = before


def expected() -> list[tuple[list[int], Plan, Answer]]:
    """Each request alone on the native engine."""
    backend, found = backend_of(native(NAME)), list[tuple[list[int], Plan, Answer]]()
    how = replace(decoding_of(native(NAME), N_TOKENS), alternatives=2)
    chosen = [(row, plans()[n % N_PLANS]) for n, row in enumerate(rows(N_REQUESTS))]
    for plan in plans():
        mine = [row for row, own in chosen if own == plan]
        made = [p.made for p in backend.run(Batch(mine), compiled_for(native(NAME), plan), how) if p.made is not None]
        found += [(row, plan, answer) for row, answer in zip(mine, answers(made, len(mine)), strict=True)]
    return found


@pytest.fixture(scope="module")
def alone() -> list[tuple[list[int], Plan, Answer]]:
    return expected()


def judged(alone: list[tuple[list[int], Plan, Answer]], seed: int) -> tuple[int, int]:
    """All requests in a random order, in chunks, with whatever is in the cache; how many were compared to their end."""
    order = np.random.default_rng(seed).permutation(len(alone))
    with chunks_of(64):
        found = run([alone[i][0] for i in order], [alone[i][1] for i in order])
    pairs = [(ours, alone[i][2]) for ours, i in zip(found, order, strict=True)]
    return sum(same_until_a_tie(a, b) == len(b.ids) for a, b in pairs), len(pairs)


def test_other_schedules_give_the_same_answers(alone: list[tuple[list[int], Plan, Answer]]) -> None:
    with cached() as tokens:
        done = [judged(alone, seed) for seed in range(int(os.environ.get("SERVING_ORDERS", "3")))]
    assert sum(n > 0 for n in tokens) > len(alone), "no warm prefix was read"
    assert sum(n for n, _ in done) >= 0.95 * sum(of for _, of in done)
    assert len({tuple(answer.ids) for *_, answer in alone}) > N_PLANS, "the answers are alike, so they say nothing"


@contextmanager
def stock() -> Iterator[None]:
    """The engine's own routers, without anything of ours between them and the experts."""
    core: Any = engine(NAME).calls.engine.model_executor
    layers = core.driver_worker.worker.model_runner.workbench.binding.layers.values()
    ours = [(layer.own.__self__, layer.choose) for layer in layers]
    for router, _ in ours:
        del router._compute_routing
    try:
        yield
    finally:
        for router, choose in ours:
            router._compute_routing = choose


def test_plain_rows_beside_planned_ones_are_bit_equal() -> None:
    """The same schedule, so the same kernels on the same shapes."""
    some = rows(8)
    empty, edited = compiled_for(served(NAME)), [compiled_for(served(NAME), plan) for plan in plans()]
    mixed = [empty if n % 2 else edited[n] for n in range(8)]
    read = [4] * 8
    plain, beside = (engine(NAME).score_each(Batch(some, read=read), each) for each in ([empty] * 8, mixed))
    with stock():
        bare = engine(NAME).score_each(Batch(some, read=read), [empty] * 8)
        assert torch.equal(bare, engine(NAME).score_each(Batch(some, read=read), mixed)), (
            "plans are at work all the same"
        )
    assert torch.equal(bare, plain)
    assert torch.equal(plain[1::2], beside[1::2])
    assert not torch.equal(plain[2::2], beside[2::2])


def test_rows_are_given_back() -> None:
    used = list[int]()
    compiled = [compiled_for(served(NAME), plan) for plan in plans()[1:3]]
    for _ in engine(NAME).run_each(Batch(rows(2)), compiled, decoding_of(served(NAME), N_TOKENS)):
        used.append(engine(NAME).calls.worker("workbench_in_use"))
    assert used[0] >= 2
    run(rows(1), [Plan()])  # ended requests are told to a worker with the next forward
    assert engine(NAME).calls.worker("workbench_in_use") == 0


def test_plans_beyond_the_rows_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Plan.off([(1, n)]) for n in range(12)]
    some = rows(1) * 12
    free = run(some, many)
    used = list[int]()
    with monkeypatch.context() as there:
        there.setattr(engine(NAME).calls.room, "settings", Settings(rows=4))
        compiled = [compiled_for(served(NAME), plan) for plan in many]
        how, made = replace(decoding_of(served(NAME), N_TOKENS), alternatives=2), list[Any]()
        for portion in engine(NAME).run_each(Batch(some), compiled, how):
            made += [] if portion.made is None else [portion.made]
            used.append(engine(NAME).calls.worker("workbench_in_use"))
        large = (
            Plan.off("L1E1", positions="0-1,4-5")
            | Plan.off("L1E2", positions="1-4")
            | Plan.off("L1E3", positions="5-9")
        )
        with pytest.raises(WorkbenchError, match=r"This plan needs \d rows in vLLM, which has 3; make it smaller"):
            run(rows(1), [large])
    assert max(used) == 3
    for ours, theirs in zip(answers(made, 12), free, strict=True):
        same_until_a_tie(ours, theirs)
    assert engine(NAME).calls.room.ledger.users == {}


def test_rows_that_are_kept_beyond_their_bytes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue slows the engine down: nothing is lost, and no more is kept than there is room for."""
    some, compiled, most = rows(8), [compiled_for(served(NAME))] * 8, 40_000
    worker, kept = engine(NAME).calls.engine.model_executor.driver_worker.worker, list[int]()
    own = steps.Steps.after

    def after(self: steps.Steps, *args: Any) -> None:
        own(self, *args)
        kept.append(sum(p.positions.nbytes + sum(a.nbytes for a in p.arrays.values()) for p in self.kept))

    def done() -> list[tuple[int, int]]:
        how = decoding_of(served(NAME), N_TOKENS)
        found = engine(NAME).run_each(Batch(some), compiled, how, Keep())
        where = [pair for p in found for pair in zip(p.where.sequence, p.where.position, strict=True)]
        return sorted((int(sequence), int(position)) for sequence, position in where)

    assert worker.model_runner.workbench.kept == []
    free = done()
    with monkeypatch.context() as there:
        there.setattr(steps.Steps, "after", after)
        assert done() == free
        unbounded, kept[:] = max(kept), []
        there.setattr(engine(NAME).calls.room, "settings", Settings(waiting=most))
        assert done() == free
    assert 0 < max(kept) <= most < unbounded
    assert engine(NAME).calls.room.size == 0


# ---- planted mistakes


def mixed_up(own: Callable[..., None]) -> Callable[..., None]:
    def before(self: steps.Steps, spans: Sequence[steps.Span]) -> None:
        own(self, spans)
        ends = [span for span in spans if span.request in self.rows]
        if len(ends) > 1:  # the first two exchange their rows
            a, b = ends[0].rows, ends[1].rows
            self.step.row[a], self.step.row[b] = int(self.step.row[b][0]), int(self.step.row[a][0])

    return before


def late(own: Callable[..., None]) -> Callable[..., None]:
    def before(self: steps.Steps, spans: Sequence[steps.Span]) -> None:
        held = self.step.row.clone() if not hasattr(self, "_late") else self._late  # type: ignore[attr-defined]
        own(self, spans)
        self._late = self.step.row.clone()  # type: ignore[attr-defined]
        self.step.row.copy_(held)

    return before


@pytest.mark.parametrize("mistake", [mixed_up, late])
def test_planted_rows_are_seen(
    mistake: Any, alone: list[tuple[list[int], Plan, Answer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps.Steps, "before", mistake(steps.Steps.before))
    with monkeypatch.context() as salts:
        salts.setattr(requests, "salted", lambda salt, plan, prompt: f"{mistake.__name__} {salt} {plan} {prompt}")
        with pytest.raises(AssertionError):
            judged(alone, 0)


def test_a_cache_without_the_plans_salt_is_seen(
    alone: list[tuple[list[int], Plan, Answer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(NAME).calls.engine.reset_prefix_cache()
    monkeypatch.setattr(requests, "salted", lambda salt, plan, prompt: "one for all")
    try:
        with pytest.raises(AssertionError):
            print([judged(alone, seed) for seed in range(3)])
    finally:
        engine(NAME).calls.engine.reset_prefix_cache()


def test_what_is_kept_has_every_position_of_its_own_request_once() -> None:
    some, keep = rows(6), Keep()
    how = decoding_of(served(NAME), N_TOKENS)
    with chunks_of(64):
        found = list(
            engine(NAME).run_each(Batch(some), [compiled_for(served(NAME), p) for p in plans()[:6]], how, keep)
        )
    where = [token for p in found for token in zip(p.where.sequence.tolist(), p.where.position.tolist(), strict=True)]
    made = {n: sum(int((p.made.row == n).sum()) for p in found if p.made is not None) for n in range(6)}
    assert sorted(where) == [(n, at) for n in range(6) for at in range(len(some[n]) + made[n] - 1)]
