"""The shipped contract, passed by the engines that we ship; and two engines, the same numbers."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support import families
from tests.support.engines import ANATOMY, Table
from workbench import Plan, load
from workbench.backends import Batch, Keep
from workbench.backends.contract import BackendContract, SameNumbers
from workbench.generation import Decoding
from workbench.model import MoEModel
from workbench.routing import CompiledPlan, compile_plan

needs_nnsight = pytest.mark.skipif(not find_spec("nnsight"), reason="the extra 'interop' is not installed (nnsight)")


@cache
def traced(name: str) -> MoEModel:
    model = families.get(name)
    return load(copy.deepcopy(model.hf), model.tokenizer, engine="nnsight")


class TestNative(BackendContract):
    def model(self) -> MoEModel:
        return families.get("demo")


class TestNativeWithSharedExperts(BackendContract):
    def model(self) -> MoEModel:
        return families.get("qwen2_moe")


@needs_nnsight
class TestNnsight(BackendContract):
    def model(self) -> MoEModel:
        return traced("demo")


@needs_nnsight
class TestNativeAndNnsight(SameNumbers):
    def models(self) -> tuple[MoEModel, MoEModel]:
        return families.get("qwen2_moe"), traced("qwen2_moe")


class TestTable(BackendContract):
    def model(self) -> MoEModel:
        return load("table", engine=Table)


class Deaf(Table):
    """It says that it follows plans, and does not."""

    def run(self, batch: Batch, plan: CompiledPlan, *rest: Any) -> Any:
        return super().run(batch, compile_plan(Plan(), ANATOMY, None), *rest)


class Mute(Table):
    """It hands over no token that it generated but the first."""

    def answer(self, row: Sequence[int], off: frozenset[int], how: Decoding) -> list[int]:
        return super().answer(row, off, how)[: 1 + len(row) % 2]


class Crowded(Table):
    """Its answers depend on who else is in the batch."""

    def run(self, batch: Batch, *rest: Any) -> Any:
        together = sorted(batch.rows, key=len)
        return super().run(batch._replace(rows=[*together[:1] * len(together)]), *rest)


class Endless(Table):
    """An end token ends nothing."""

    def answer(self, row: Sequence[int], off: frozenset[int], how: Decoding) -> list[int]:
        return super().answer(row, off, replace(how, stop=frozenset()))


class Undosed(Table):
    """It changes tokens and does not say so."""

    def run(self, batch: Batch, plan: CompiledPlan, decoding: Any = None, keep: Any = None, dose: Any = None) -> Any:
        return super().run(batch, plan, decoding, keep, None)


class Boasting(Table):
    """It records what nobody asked for."""

    def run(self, batch: Batch, plan: CompiledPlan, decoding: Any = None, keep: Any = None, dose: Any = None) -> Any:
        return super().run(batch, plan, decoding, Keep(frozenset({"norms", "residual"})), dose)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Deaf, "test_edits_do_what_their_names_say"),
        (Mute, "test_answers_end_and_all_but_their_last_token_was_forwarded"),
        (Crowded, "test_neighbours_in_a_batch_change_no_answer"),
        (Endless, "test_an_end_token_ends_an_answer_and_belongs_to_it"),
        (Undosed, "test_a_plan_is_dosed_and_gone_when_its_run_is_over"),
        (Boasting, "test_what_is_kept_is_there_and_nothing_else"),
    ],
)
def test_an_engine_that_does_not_do_what_it_says_fails(broken: type[Table], test: str) -> None:
    class Broken(BackendContract):
        def model(self) -> MoEModel:
            return load("table", engine=broken)

    with pytest.raises(AssertionError):
        getattr(Broken(), test)()


def test_two_engines_of_which_one_is_wrong_are_not_the_same() -> None:
    class Both(SameNumbers):
        def models(self) -> tuple[MoEModel, MoEModel]:
            return load("table", engine=Table), load("table", engine=Mute)

    with pytest.raises(AssertionError):
        Both().test_runs_and_scores_are_the_same()
