"""Running a recipe: plan, capture, rank, measure unit by unit, write the tables; what is finished is never done again."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench import PromptSet, WorkbenchError
from workbench.generation import decoding_of
from workbench.paths import given_path
from workbench.progress import Meter, ProgressLines, Report
from workbench.prompts import moment, planned_at
from workbench.storage import disk_errors, locked, tidy

from .engine import (
    PLAN,
    Arm,
    Measuring,
    ModelPlan,
    Sizes,
    Unit,
    arms_of,
    arms_path,
    begin,
    begun,
    captured,
    check_decoding,
    check_model,
    is_finished,
    pieces,
    plan_model,
    planned_cost,
    rank,
    read_arms,
    token_counts,
    unit_cost,
    units_of,
    write_arms,
    write_plans,
    write_residuals,
)
from .recipe import ModelSource, Recipe, own_metric, read_sets, spelt_out, text_metrics
from .tables.tables import write_tables

if TYPE_CHECKING:
    from workbench import MoEModel

Open = Callable[[ModelSource], "MoEModel"]
Sets = Mapping[str, PromptSet]


class Finished(NamedTuple):
    """A finished run, and how many units this call ran (0: it was finished before, or only the tables were missing)."""

    path: Path
    units_run: int


def open_source(source: ModelSource) -> "MoEModel":
    """The model that a recipe names."""
    from ..terminal import open_model

    hub = {"device_map": source.device_map, "revision": source.revision, "engine": source.engine}
    return open_model(source.source, source.device, source.dtype, **{k: v for k, v in hub.items() if v is not None})


@dataclass
class Models:
    """The recipe's models, opened when they are needed, one at a time."""

    recipe: Recipe
    open: Open
    held: "dict[int, MoEModel]" = field(default_factory=dict)

    def __call__(self, number: int) -> "MoEModel":
        """Model `number` of the recipe; the one held before is let go."""
        from workbench.hooks import as_it_is

        if number not in self.held:
            self.held.clear()
            gc.collect()
            self.held[number] = as_it_is(self.open(self.recipe.models[number]))
        return self.held[number]


def plan_run(recipe: Recipe, open_model: Open = open_source, own_functions: bool = False) -> list[ModelPlan]:
    """What a run would do, model by model. Loads them and measures a small batch; writes nothing."""
    sets = checked_sets(recipe, own_functions)
    return planned(recipe, sets, Models(recipe, open_model))


def run_recipe(
    recipe: Recipe,
    out: Path,
    progress: bool | Report = True,
    open_model: Open = open_source,
    own_functions: bool = False,
) -> Finished:
    """Runs a recipe into `out`, or goes on where a run of the same recipe stopped, with the date that chat templates were told.

    progress    as for `capture`: lines on stderr, False for silence, or a function that receives `Progress` values
    open_model  how a model of the recipe is opened: for models that are built already
    own_functions  whether metrics and engines `module:name` may be imported and called: they are code

    Raises `WorkbenchError` for a folder that holds another recipe's run, before anything is written, and for one that another
    process is at work on.
    """
    models = Models(recipe, open_model)

    def plan(sets: Sets, _: str) -> list[ModelPlan]:
        return planned(recipe, sets, models)

    def work(path: Path, sets: Sets, plan: Mapping[str, Any], meter: Meter) -> Run:
        return Run(path, recipe, sets, models, plan, meter)

    return conducted(recipe, out, progress, own_functions, plan, work)


def conducted(
    recipe: Recipe,
    out: Path,
    progress: bool | Report,
    own_functions: bool,
    make_plan: Callable[[Sets, str], list[ModelPlan]],
    work: "Callable[[Path, Sets, Mapping[str, Any], Meter], Run]",
) -> Finished:
    """A recipe, whoever plans it (by the prompt sets, with the date that is told) and runs what is left of it."""
    out, sets = given_path(out), checked_sets(recipe, own_functions)
    with disk_errors(out):
        plan = begun(out, recipe, sets)
        if plan is not None and is_finished(out):
            return Finished(out, 0)
        if plan is None:
            with moment() as date:
                plan = begin(out, recipe, sets, make_plan(sets, date), date)
        report = ProgressLines() if progress is True else progress or None
        with locked(out, "run") as ours:
            if not ours:
                raise WorkbenchError(
                    f"Another process is at work on the run '{out}'; wait for it, or choose another folder with --out."
                )
            with moment(planned_at(out / PLAN, plan)):
                return Finished(out, work(out, sets, plan, Meter(0, report)).run())


def checked_sets(recipe: Recipe, own_functions: bool = False) -> dict[str, PromptSet]:
    """The recipe's prompt sets, after everything was checked that needs no model."""
    asked = {spelt_out(recipe, m).metric or "" for name in recipe.measured() for m in text_metrics(recipe, name)}
    own = {m for m in asked if ":" in m}
    theirs = own | {m.engine for m in recipe.models if m.engine and ":" in m.engine}
    if theirs and not own_functions:
        raise WorkbenchError(
            f"The recipe runs code of its own, {', '.join(sorted(theirs))}; add --own-functions to run it if you trust it."
        )
    for metric in own:
        own_metric(metric)
    return read_sets(recipe)


def planned(recipe: Recipe, sets: Sets, models: Models) -> list[ModelPlan]:
    """What each of the recipe's models will do, in its order."""
    return [plan_model(recipe, sets, models(i), source.source) for i, source in enumerate(recipe.models)]


@dataclass
class Run:
    """One process at work on a run."""

    path: Path
    recipe: Recipe
    sets: Sets
    models: "Callable[[int], MoEModel]"
    plan: Mapping[str, Any]
    meter: Meter

    def run(self) -> int:
        """Everything that is left; returns how many units were run."""
        units_run = sum(self.one_model(number) for number in range(len(self.recipe.models)))
        self.meter.say("Making the tables")
        for number in range(len(self.recipe.models)):
            sizes = Sizes.from_dict(self.plan["models"][number].get("sizes"))
            write_plans(self.path, self.recipe, number, sizes)
        write_tables(self.path, self.recipe, self.sets)
        tidy(self.path)
        return units_run

    def model(self, number: int) -> "MoEModel":
        model = self.models(number)
        dtype = str(model.dtype).removeprefix("torch.")
        check_model(self.path, self.plan, number, model.anatomy, dtype)
        if self.plan["models"][number].get("decoding"):
            check_decoding(self.path, self.plan, number, decoding_of(model, 1).record())
        return model

    def one_model(self, number: int) -> int:
        left = self.left(number, self.arms_on_disk(number) or self.make_arms(number))
        if not left:
            return 0
        model = self.model(number)
        costs, later = self.costs(number, left, model)
        measuring = self.measuring(number, model)
        for i, unit in enumerate(left):
            if i == 0 or left[i - 1].prompts != unit.prompts:
                self.meter.say(f"Measuring {unit.prompts}")
            self.meter.total = self.meter.done + sum(costs[i:]) + later
            measuring.measure(unit)
        self.meter.total = self.meter.done + later
        return len(left)

    def left(self, number: int, arms: tuple[Arm, ...]) -> list[Unit]:
        units = units_of(self.recipe, number, pieces(self.recipe, arms))
        return [unit for unit in units if not (self.path / unit.path).is_file()]

    def costs(self, number: int, left: list[Unit], model: "MoEModel") -> tuple[list[int], int]:
        """Tokens at most of each unit, and of the models that come later."""
        lengths = token_counts(self.recipe, self.sets, model)
        later = (len(self.recipe.models) - number - 1) * planned_cost(self.recipe, self.sets, lengths)
        return [unit_cost(self.recipe, self.sets, lengths, unit) for unit in left], later

    def measuring(self, number: int, model: "MoEModel") -> Measuring:
        stores = self.stores(number)
        by_ranking = {r.name: stores[r.prompts] for r in self.recipe.rankings}
        return Measuring(self.path, self.recipe, model, self.sets, by_ranking, self.meter)

    def stores(self, number: int, shard: tuple[int, int] | None = None) -> Any:
        stores = captured(self.path, self.recipe, number, self.sets, lambda: self.model(number), self.meter, shard)
        write_residuals(self.path, self.recipe, number, stores)
        return stores

    def make_arms(self, number: int) -> tuple[Arm, ...]:
        model = self.model(number)
        lengths = token_counts(self.recipe, self.sets, model)
        models_left = len(self.recipe.models) - number
        self.meter.total = self.meter.done + models_left * planned_cost(self.recipe, self.sets, lengths)
        ranked = rank(self.path, self.recipe, number, self.stores(number), self.meter)
        arms = arms_of(self.recipe, model.anatomy, ranked)
        write_arms(self.path, number, arms)
        return arms

    def arms_on_disk(self, number: int) -> tuple[Arm, ...] | None:
        return read_arms(self.path, number) if (self.path / arms_path(number)).is_file() else None
