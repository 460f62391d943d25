"""What a run's folder holds: an experiment's recipe, verdicts, plans and report; another folder's plan and report.

Every file may be half written, damaged or a stranger's: what cannot be read is said, and its neighbours are still listed.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from workbench import Plan, WorkbenchError

PLAN, RECIPE, REPORT = "plan.json", "recipe.toml", "report.html"
_UNREADABLE = "cannot be read"
_READ = (RECIPE, PLAN, REPORT, "tables", "tables/units.parquet", "tables/arms.parquet", "tables/claims.parquet")


class Run(NamedTuple):
    """A folder under runs/, by its name."""

    name: str
    path: Path

    @property
    def is_experiment(self) -> bool:
        """Whether `workbench run` made it."""
        return (self.path / RECIPE).is_file()

    @property
    def report(self) -> Path | None:
        """The report, where it is written."""
        path = self.path / REPORT
        return path if path.is_file() else None


def runs_inside(runs: Mapping[str, Path], project: Path) -> list[Run]:
    """The runs whose files all lie in the project: a link may lead out."""
    root = project.resolve()
    return [
        Run(name, path)
        for name, path in runs.items()
        if all((path / file).resolve().is_relative_to(root) for file in _READ)
    ]


def described(run: Run) -> str:
    """An experiment's title, or the plan of another folder."""
    if not run.is_experiment:
        try:
            return str(Plan.from_json(run.path / PLAN)) if (run.path / PLAN).is_file() else "no plan"
        except WorkbenchError:
            return _UNREADABLE
    try:
        recipe = tomllib.loads((run.path / RECIPE).read_text("utf-8"))
    except (OSError, ValueError):
        return _UNREADABLE
    return str(recipe.get("title") or recipe.get("name") or run.name)


def state(run: Run) -> str:
    """How far it is: a finished experiment by its verdicts, another by its finished pieces of work."""
    if not run.is_experiment:
        return "complete" if run.report else "no report"
    if not (run.path / "tables" / "units.parquet").is_file():
        done = len(list((run.path / "units").glob("*.parquet")))
        return f"unfinished, {done} pieces of work done"
    claims = _table(run, "claims", ["verdict"])
    if claims is None:
        return _UNREADABLE
    counted = claims["verdict"].value_counts()
    return ", ".join(f"{n} {verdict}" for verdict, n in counted.items()) or "complete, no claims"


def claims_of(run: Run) -> pd.DataFrame | None:
    """Each claim with its verdict, base, steered and interval; None where there are none."""
    found = _table(
        run, "claims", ["text", "model", "metric", "base", "steered", "difference", "low", "high", "verdict"]
    )
    return None if found is None or found.empty else found


def plans_of(run: Run, models: Iterable[str]) -> dict[str, str]:
    """Label -> plan as text, of an experiment's plans for a model of these names."""
    arms: Any = _table(run, "arms", ["model", "arm", "kind", "plan"])
    if arms is None:
        return {}
    wanted = arms[arms["model"].isin(list(models)) & arms["kind"].isin(["plan", "explicit", "bottom"])].dropna()
    return {f"{arm}: {plan}": str(plan) for arm, plan in zip(wanted["arm"], wanted["plan"], strict=True) if plan}


def _table(run: Run, name: str, columns: list[str]) -> pd.DataFrame | None:
    """Columns of a table of the run; None where it is not there or cannot be read."""
    path = run.path / "tables" / f"{name}.parquet"
    try:
        return pd.read_parquet(path, columns=columns) if path.is_file() else None
    except (OSError, ValueError, KeyError):  # pyarrow's errors are of these kinds
        return None
