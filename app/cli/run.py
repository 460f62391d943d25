"""`workbench run` and `workbench report`: a recipe as a finished run with its report, and runs set side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from workbench import WorkbenchError
from workbench.paths import given_path
from workbench.progress import duration
from workbench.storage import check_writable, disk_errors, write_text

from ..terminal import note, print_json, print_table, say, warn
from .options import GpusPerWorker, Json, Ray, Workers, spread_over

if TYPE_CHECKING:
    import pandas as pd

    from ..experiments.engine import ModelPlan
    from ..experiments.recipe import Recipe

_SHOWN_NOTES = 12


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A TOML file, or a bundled recipe by name.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder; runs/NAME of the recipe if not given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, how long and how big, and write nothing.")
    ] = False,
    own_functions: Annotated[
        bool,
        typer.Option(
            "--own-functions", help="Let the recipe's metrics of the form module:function run: they are code."
        ),
    ] = False,
    ray: Ray = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    json: Json = False,
) -> None:
    """Run a whole experiment from one file: capture, rank, steer, controls, tables, report. Goes on where it was stopped.

    Random experts, the ranking's other end and capability checks stand beside every plan unless the recipe says otherwise.
    Exit code 1: no plan of the recipe could be run.
    """
    from ..experiments.engine import begun, lowered
    from ..experiments.recipe import read_recipe
    from ..experiments.run import checked_sets, plan_run

    cluster, asked = spread_over(ray, workers, gpus_per_worker), read_recipe(recipe)
    if dry_run and cluster is not None:
        raise WorkbenchError("--dry-run measures a small batch here, not on a cluster; leave --ray away.")
    folder = given_path(out or Path("runs") / asked.name)
    begun(
        folder, asked, checked_sets(asked, own_functions)
    )  # another recipe's folder is refused before a model is loaded
    for text in lowered(asked):
        warn(text)
    if dry_run:
        plans = plan_run(asked, own_functions=own_functions)
        print_json(_planned(asked, plans)) if json else _show_plans(asked, plans)
        return
    carry_out(asked, folder, own_functions, json, cluster)


def carry_out(
    recipe: "Recipe", folder: Path, own_functions: bool, json: bool, cluster: dict[str, Any] | None = None
) -> None:
    """Runs a recipe into `folder`, or goes on there, writes the report and shows what was found."""
    from ..experiments.run import run_recipe

    if cluster is None:
        done = run_recipe(recipe, folder, own_functions=own_functions)
    else:
        from workbench.replicas import Cluster

        from ..experiments.spread import run_spread

        done = run_spread(recipe, folder, Cluster(**cluster), own_functions=own_functions)
    report = _conclude(folder, recipe)
    print_json(_result(folder, report, done.units_run)) if json else _show_result(folder, recipe, report)
    if not _ran_any(folder):
        warn("No plan of this recipe could be run on its models; the notes say why.")
        raise typer.Exit(1)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="RUN/report.html, or comparison.html for several, if not given.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the report of a finished run again, or one page that compares several runs."""
    from ..experiments.engine import is_finished, run_recipe_of

    runs = [given_path(run) for run in runs]
    for folder in runs:
        if [path.resolve() for path in runs].count(folder.resolve()) > 1:
            raise WorkbenchError(
                f"The run '{folder}' is named twice, and a run compared with itself says nothing; name it once."
            )
        run_recipe_of(folder)
        if not is_finished(folder):
            raise WorkbenchError(
                f"The run '{folder}' is not finished; `workbench run {folder / 'recipe.toml'} --out {folder}` goes on."
            )
    out = None if out is None else given_path(out)
    if out is not None:
        check_writable(out)
    written = _one_report(runs[0], out) if len(runs) == 1 else _comparison(runs, out or Path("comparison.html"))
    print_json({"report": str(written)}) if json else say(f"Report: {written}")


def _one_report(run: Path, out: Path | None) -> Path:
    from ..experiments.recipe import read_recipe

    written = _conclude(run, read_recipe(run / "recipe.toml", begun=True))
    if out is None:
        return written
    write_text(out, written.read_text(encoding="utf-8"))
    return out


def _comparison(runs: list[Path], out: Path) -> Path:
    from ..experiments.report import write_comparison

    return write_comparison(runs, out)


def _conclude(run: Path, recipe: "Recipe") -> Path:
    """Judges the claims and writes the report of a finished run."""
    from ..experiments.report import write_report
    from ..experiments.tables import claims_table, read_tables, write_table

    with disk_errors(run):
        write_table(run, "claims", claims_table(recipe, read_tables(run)))
        return write_report(run)


# ---- what is shown


def _planned(recipe: "Recipe", plans: "list[ModelPlan]") -> dict[str, Any]:
    return {"recipe": recipe.name, "models": [plan.to_dict() for plan in plans]}


def _show_plans(recipe: "Recipe", plans: "list[ModelPlan]") -> None:
    say(f"{recipe.name}: {recipe.title}" if recipe.title else recipe.name)
    for plan in plans:
        say(f"{plan.model} ({plan.dtype}, {plan.device})")
        say(f"  arms: {_counted(plan.arms)}")
        say(f"  units at most: {sum(plan.pieces.values()):,} ({_counted(plan.pieces)}); equal plans are run once")
        say(f"  answers at most: {plan.answers:,}; tokens at most: {plan.tokens + plan.captured_tokens:,}")
        say(
            f"  time: about {duration(plan.seconds)} if every answer is as long as it may be, rankings and tables not counted "
            f"({plan.tokens_per_second:,.0f} tokens/s answering, {plan.read_tokens_per_second:,.0f} reading, measured now)"
        )
        say(
            f"  disk: about {decimal(plan.store_bytes)} of captures and {decimal(plan.answer_bytes)} of answers at most"
        )
        if plan.frees and plan.sizes:
            most, whole = max(freed["at_most"] for freed in plan.frees.values()), plan.sizes["model"]
            say(f"  parameters: plans would free up to {most:,} of {whole:,} ({most / whole:.0%}); nothing is removed")
    say("Nothing was written.")


def _ran_any(run: Path) -> bool:
    from ..experiments.tables import read_table

    return len(read_table(run, "effects")) > 0


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.items())


def _result(run: Path, report: Path, units_run: int) -> dict[str, Any]:
    from ..experiments.tables import read_tables

    tables = read_tables(run)
    units: Any = tables["units"]
    return {
        "run": str(run),
        "report": str(report),
        "units": units["outcome"].value_counts().to_dict(),
        "units_run_now": units_run,
        "claims": _records(tables["claims"]),
        "notes": _records(tables["notes"]),
    }


def _records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _show_result(run: Path, recipe: "Recipe", report: Path) -> None:
    from ..experiments.engine import plan_path
    from ..experiments.report import summaries
    from ..experiments.tables import read_tables

    tables = read_tables(run)
    tops = summaries(recipe, tables)
    for table in (table for top in tops for table in top.tables):
        print_table(table.columns, table.rows, table.title, right=table.right)
    claims: Any = tables["claims"]
    if len(claims):
        columns, several = (
            ["claim", "effect", "95 % interval", "random draws", "verdict"],
            claims["model"].nunique() > 1,
        )
        print_table(columns, [_claim_row(row, several) for row in claims.itertuples()], right=columns[1:4])
    notes = [f"{row['about']}: {row['text']}" for row in tables["notes"].to_dict("records")]
    for text in notes[:_SHOWN_NOTES]:
        note(f"- {text}")
    if len(notes) > _SHOWN_NOTES:
        note(f"- and {len(notes) - _SHOWN_NOTES} more in {run / 'tables' / 'notes.parquet'}")
    if tops:
        say("A score is association; the effects above were measured by running the model with and without the plan.")
    say(f"Report: {report}")
    for top in tops:
        plan = plan_path(run, recipe, top.model, top.arm)
        if plan.is_file():  # runs of an earlier version wrote none
            say(f'Plan: {plan}; try workbench steer {top.model} --plan {plan} --prompt "..."')


def _claim_row(row: Any, several: bool) -> list[str]:
    return [
        f"{row.name} ({row.model})" if several else row.name,
        f"{_number(row.base)} -> {_number(row.steered)}",
        f"{_number(row.low, '+')} to {_number(row.high, '+')}",
        f"{_number(row.random_low, '+')} to {_number(row.random_high, '+')}",
        row.verdict,
    ]


def _number(value: Any, sign: str = "") -> str:
    return "-" if value is None or value != value else f"{value:{sign}.2f}"
