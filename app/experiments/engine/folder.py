"""A run's folder: what it was begun with, whether it is finished, and the refusal to mix two recipes in one."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import PromptSet, WorkbenchError, __version__
from workbench.paths import given_path
from workbench.storage import WRITING, check_spelling, publish, read_json, temporary, write_json

from ..recipe import Recipe, read_recipe
from .planning import ModelPlan

if TYPE_CHECKING:
    from workbench import Anatomy

PLAN, RECIPE = "plan.json", "recipe.toml"


def begun(run: Path, recipe: Recipe, sets: Mapping[str, PromptSet]) -> dict[str, Any] | None:
    """The plan that the folder was begun with; None for a folder that is empty or not there.

    Raises `WorkbenchError` when it holds another recipe's run (saying what differs), or other files.
    """
    check_spelling(run)
    if (run / PLAN).is_file() and (run / RECIPE).is_file():
        plan = read_json(run / PLAN)
        check_same_run(run, recipe, sets, plan)
        return plan
    if run.is_file():
        raise WorkbenchError(f"'{run}' is a file; name a folder for the run.")
    if run.is_dir() and (others := sorted(f.name for f in run.iterdir() if f.name not in (WRITING, RECIPE))):
        raise WorkbenchError(
            f"The folder '{run}' holds other files ('{others[0]}'); choose a folder that does not exist or is empty."
        )
    return None


def begin(
    run: Path, recipe: Recipe, sets: Mapping[str, PromptSet], models: list[ModelPlan], date: str
) -> dict[str, Any]:
    """Writes recipe.toml and plan.json; returns the plan. `date` is what chat templates are told for the whole run."""
    part = temporary(run, RECIPE)
    part.write_text(recipe.to_toml(), encoding="utf-8")
    publish(run, part, RECIPE)
    plan = {
        "recipe": recipe.name,
        "versions": {"workbench": __version__} | {n: version(n) for n in ("torch", "transformers", "numpy", "pyarrow")},
        "prompts": {n: {"source": s.source, "n": len(s), "fingerprint": s.fingerprint} for n, s in sets.items()},
        "models": [model.to_dict() for model in models],
        "template_date": date,
    }
    write_json(run, PLAN, plan)
    return plan


def is_finished(run: Path) -> bool:
    """Whether every table is written: units is the last."""
    return (run / "tables" / "units.parquet").is_file()


def run_recipe_of(run: str | Path) -> Recipe:
    """The recipe that a run was made with. Raises `WorkbenchError` when there is no run."""
    path = given_path(run) / RECIPE
    if not path.is_file():
        raise WorkbenchError(f"'{run}' is no run: it holds no {RECIPE}; make one with `workbench run`.")
    return read_recipe(path, begun=True)


def check_model(run: Path, plan: Mapping[str, Any], number: int, anatomy: "Anatomy", dtype: str) -> None:
    """Raises `WorkbenchError` when a model is not the one that the run was begun with."""
    was = plan["models"][number]
    if not anatomy.is_same(was["fingerprint"]) or was["dtype"] != dtype:
        raise WorkbenchError(
            f"The run '{run}' was begun with another model under the name '{was['model']}' (fingerprint {was['fingerprint']}, "
            f"{was['dtype']} there; {anatomy.fingerprint}, {dtype} here); choose another folder with --out."
        )
    anatomy.check_same(was["fingerprint"], f"The run '{run}'")  # which says what of an old one was not compared


def check_decoding(run: Path, plan: Mapping[str, Any], number: int, decoding: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` when a model's generation config is not the one that the run's first answers were made by."""
    was = plan["models"][number].get("decoding")  # an earlier version recorded none
    if was is not None and was != decoding:
        raise WorkbenchError(
            f"The run '{run}' was begun with another generation config ({_short(was)} there, {_short(decoding)} here), so its "
            f"answers would not be comparable; set it back, or choose another folder with --out."
        )


def check_same_run(run: Path, recipe: Recipe, sets: Mapping[str, PromptSet], plan: Mapping[str, Any]) -> None:
    there = run_recipe_of(run).model_dump(mode="json", exclude_none=True)
    here = recipe.model_dump(mode="json", exclude_none=True)
    differences = list(_differences(there, here))
    for name, prompts in sets.items():
        was = plan["prompts"].get(name, {}).get("fingerprint")
        if not differences and was != prompts.fingerprint:
            differences.append(f"the content of prompts.{name} ({was} there, {prompts.fingerprint} here)")
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise WorkbenchError(
            f"The run '{run}' was begun with another recipe: {', '.join(differences[:3])}{more} differ; nothing was changed: "
            f"take the same recipe, or choose another folder with --out."
        )


def _differences(there: Any, here: Any, place: str = "") -> Iterator[str]:
    """Places at which two recipes differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            yield from _differences(there.get(key), here.get(key), f"{place}.{key}" if place else key)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            yield from _differences(a, b, f"{place}[{i}]")
    elif there != here:
        yield f"{place} ({_short(there)} there, {_short(here)} here)"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
