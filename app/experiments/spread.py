"""A recipe by several processes at once, on one machine or many: captures shared by shards, everything else by units.

The driver, which needs no model, holds the run's folder and says who does what; each worker opens the recipe's models for itself.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench import PromptSet, WorkbenchError
from workbench.paths import given_path
from workbench.progress import Meter, Progress, Report
from workbench.prompts import moment, planned_at
from workbench.replicas import Cluster, Pool
from workbench.storage import disk_errors, read_json

from .engine import PLAN, ModelPlan, Unit, base_path, begun, is_finished
from .recipe import Recipe
from .run import Finished, Models, Run, checked_sets, conducted, open_source, planned

if TYPE_CHECKING:
    from workbench import MoEModel


class Task(NamedTuple):
    """What all workers are told alike: the run's folder, which every machine reaches by this path, and what is asked."""

    path: Path
    recipe: Recipe
    sets: Mapping[str, PromptSet]


@dataclass
class Hand:
    """A worker's side of a run, in its own process."""

    task: Task
    rank: int
    world: int
    tell: Report

    def plan(self, date: str) -> list[ModelPlan]:
        """As `planned`; chat templates are told the date."""
        with moment(date):
            return planned(self.task.recipe, self.task.sets, self._models)

    def capture(self, number: int) -> None:
        """Writes a model's stores together with the others."""
        with self._dated:
            self._run.stores(number, (self.rank, self.world))

    def make_arms(self, number: int) -> None:
        """Ranks the experts of a model whose stores are complete, and writes its arms."""
        with self._dated:
            self._run.make_arms(number)

    def costs(self, number: int, left: list[Unit]) -> tuple[list[int], int]:
        """As `Run.costs`."""
        with self._dated:
            return self._run.costs(number, left, self._run.model(number))

    def measure(self, number: int, unit: Unit) -> int:
        """Runs a unit of a model and writes its file; how many tokens that took."""
        before = self._run.meter.done
        with self._dated:
            self._run.measuring(number, self._run.model(number)).measure(unit)
        return self._run.meter.done - before

    @cached_property
    def _models(self) -> Models:
        return Models(self.task.recipe, open_source)

    @cached_property
    def _run(self) -> Run:
        plan = read_json(self.task.path / PLAN)
        return Run(*self.task, self._models, plan, Meter(1, self.tell))

    @property
    def _dated(self) -> Any:
        return moment(planned_at(self.task.path / PLAN, self._run.plan))


@dataclass
class SpreadRun(Run):
    """A run whose work is done by workers."""

    pool: Pool

    def __post_init__(self) -> None:
        self.pool.report = self._told

    def one_model(self, number: int) -> int:
        """See `Run`; answers of the bare model come before what is compared with them."""
        left = self.left(number, self.arms_on_disk(number) or self._made_arms(number))
        if not left:
            return 0
        costs, later = self.pool.one("costs", number, left)
        self.meter.total = self.meter.done + sum(costs) + later
        calls = {unit.path: (number, unit) for unit in left}
        most = dict(zip(calls, costs, strict=True))
        after = {unit.path: base_path(unit) for unit in left if unit.path != base_path(unit)}
        for path, took in self.pool.spread("measure", calls, after):
            self.meter.total -= most[path] - took  # answers may end early
        self.meter.total = self.meter.done + later
        return len(left)

    def _made_arms(self, number: int) -> Any:
        self.pool.each("capture", number)
        self.pool.one("make_arms", number)
        return self.arms_on_disk(number)

    def _told(self, progress: Progress) -> None:
        if progress.message:
            self.meter.say(progress.message)
        elif progress.done > self.meter.done:
            self.meter.total = max(self.meter.total, progress.done)  # what a lost worker did counts as well
            self.meter.forwarded(progress.done - self.meter.done)


def run_spread(
    recipe: Recipe, out: Path, cluster: Cluster, progress: bool | Report = True, own_functions: bool = False
) -> Finished:
    """`run_recipe` by `cluster.workers` processes, each with the recipe's models; the tables are those of one process.

    A worker that is lost is begun again up to three times and its unit is done again; a driver that is lost goes on when the
    same is asked again, with or without a cluster. `out` is a folder that every machine reaches by the same path, with locks
    that work. Raises `WorkbenchError` as `run_recipe` does, for a cluster that is not reached or too small, and where every
    worker is lost.
    """
    out, sets = given_path(out).resolve(), checked_sets(recipe, own_functions)
    with disk_errors(out):
        if begun(out, recipe, sets) is not None and is_finished(out):
            return Finished(out, 0)
    with cluster.running() as ray:
        pool = Pool(ray, cluster, partial(Hand, Task(out, recipe, sets)))

        def plan(_: Any, date: str) -> list[ModelPlan]:
            return pool.one("plan", date)

        def work(path: Path, sets: Mapping[str, PromptSet], plan: Mapping[str, Any], meter: Meter) -> Run:
            return SpreadRun(path, recipe, sets, _no_model, plan, meter, pool)

        done = conducted(recipe, out, progress, own_functions, plan, work)
    for warned in pool.warnings():
        warnings.warn(warned, stacklevel=2)
    return done


def _no_model(number: int) -> "MoEModel":
    raise WorkbenchError(f"Model {number} of the recipe is opened by workers alone.")
