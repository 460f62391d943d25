"""The report of a run: one HTML file that needs nothing else, every number out of the run's tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workbench import WorkbenchError
from workbench.storage import read_json, write_text

from ...choice import implanted
from ...reports import standalone, template
from ..recipe import Recipe, read_recipe
from ..tables import ABSENT, APPEARS, UNDECIDED, claims_table, read_tables
from . import effect_tables, expert_tables, experts, words
from .examples import examples
from .facts import ClaimFacts, Tables, claim_facts
from .figures import claim_figure
from .headline import headlines
from .opening import chosen_how, opening

MARKS = {APPEARS: "●", ABSENT: "○", UNDECIDED: "◐"}


class Answer(NamedTuple):
    """One claim as the report shows it: the facts, cells of the first table, the figure, and sentences."""

    facts: ClaimFacts
    cells: Mapping[str, str]
    figure: str | None
    asked: str
    plan: str
    effect: str
    random: str
    dose: str
    paper: str


def write_report(run: Path) -> Path:
    """Writes `report.html` and `figures/CLAIM.svg` into a finished run's folder. Returns the report's path."""
    recipe, tables, about = opened(run)
    answers = answers_of(recipe, tables)
    several = len({a.facts.row["model"] for a in answers}) > 1
    (run / "figures").mkdir(exist_ok=True)
    for a in answers:
        if a.figure is not None:
            model = "".join(c if c.isalnum() or c in "-." else "_" for c in str(a.facts.row["model"]))
            name = f"{a.facts.claim.name}.{model}.svg" if several else f"{a.facts.claim.name}.svg"
            write_text(run / "figures" / name, standalone(a.figure))
    path = run / "report.html"
    write_text(path, render(recipe, tables, about, answers))
    return path


def opened(run: Path) -> tuple[Recipe, dict[str, Any], dict[str, Any]]:
    """A finished run's recipe, tables (claims included) and plan.json. Raises `WorkbenchError` where it is no finished run."""
    if not (run / "recipe.toml").is_file() or not (run / "plan.json").is_file():
        raise WorkbenchError(f"'{run}' is no experiment run; give a folder that `workbench run` made.")
    recipe, tables = read_recipe(run / "recipe.toml", begun=True), read_tables(run)
    return recipe, with_claims(recipe, tables), read_json(run / "plan.json")


def with_claims(recipe: Recipe, tables: Tables) -> dict[str, Any]:
    """The tables with their claims judged."""
    return dict(tables) | {"claims": claims_table(recipe, tables)}


def answers_of(recipe: Recipe, tables: Tables) -> list[Answer]:
    """Every claim with its figure and sentences."""
    return [_answer(facts) for facts in claim_facts(recipe, tables)]


def _answer(facts: ClaimFacts) -> Answer:
    said = (
        words.about_asked,
        words.about_plan,
        words.about_effect,
        words.about_random,
        words.about_dose,
        words.about_paper,
    )
    figure = None if facts.plan is None else claim_figure(facts)
    return Answer(facts, words.cells(facts), figure, *(say(facts) for say in said))


def render(recipe: Recipe, tables: Tables, about: Mapping[str, Any], answers: list[Answer] | None = None) -> str:
    """The report as HTML. Text from models, prompts and recipes is escaped: it is shown, never interpreted."""
    answers = answers_of(recipe, tables) if answers is None else answers
    facts = [a.facts for a in answers]
    models = list(dict.fromkeys(tables["arms"]["model"]))
    return template("experiment.html").render(
        recipe=recipe,
        models=models,
        answers=answers,
        marks=MARKS,
        unchanged=effect_tables.unchanged(facts, tables),
        doses=effect_tables.doses(facts, tables),
        examples=examples(facts, tables),
        effects=effect_tables.all_effects(tables),
        rankings=experts.rankings(recipe, tables, facts, {"demo": implanted()} if "demo" in models else {}),
        openings=[opening(recipe, headline, facts) for headline in headlines(recipe, facts, tables)],
        chosen_how=chosen_how(recipe, tables),
        shapes={m["model"]: m["shape"] for m in about.get("models", []) if "shape" in m},
        kept=[name for name, spec in recipe.measured().items() if spec.unseen == "keep"],
        has_paper=recipe.paper is not None or any(f.claim.paper for f in facts),
        has_bottom=any(f.bottom for f in facts),
        sinks=expert_tables.sinks(tables),
        references=expert_tables.references(recipe, tables),
        notes=[(about, list(part["text"])) for about, part in tables["notes"].groupby("about", sort=False)],
        about=json.dumps(about, indent=1, ensure_ascii=False, default=str),
        resolved=recipe.to_toml(),
    )
