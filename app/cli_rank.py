"""`workbench rank`: ask a store one question, see the experts ranked, save the scores or a plan."""

import inspect
import json as jsonlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import Plan, WorkbenchError
from workbench.errors import suggestion

from .options import Json, StorePath
from .terminal import note, print_json, print_table, say, working

if TYPE_CHECKING:
    from probes.scores import ExpertScores
    from workbench import Store

METHODS = ("ftri", "npmi", "contrast", "super_experts", "usage")
# the same two options for every method that compares two classes
_CLASSES = {"target": ("target", "positive"), "baseline": ("baseline", "negative")}


def rank(
    method: Annotated[str, typer.Argument(metavar="METHOD", help=f"One of {', '.join(METHODS)}.")],
    store: StorePath,
    target: Annotated[str | None, typer.Option(help="A label's value, or name=value: the class to find.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The class to compare with; without it, all others.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other option of the method.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many experts to show and to put into --out.")] = 10,
    edit: Annotated[str, typer.Option(help="What the plan of --out does to them: off, drop, mute or force.")] = "off",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plan for the top experts here.")] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every expert's scores here: .csv, .parquet or .json.")
    ] = None,
    json: Json = False,
) -> None:
    """Rank every expert by a published score. A score is association with these prompts; `compare` measures an effect."""
    from workbench import open_store

    opened = open_store(store)
    ask = _method(method)
    options = _options(method, ask, {"target": target, "baseline": baseline}, set_ or [])
    with working(f"Ranking {opened.anatomy.n_experts} experts by {method}"):
        found = _ask(method, ask, opened, options, set_)
    _check_edit(edit)
    if scores is not None:
        _write_scores(found, scores)
    if out is not None:
        Plan.to_json(getattr(Plan, edit)(found.top(top)), out)
        note(f"Wrote '{out}': {edit} the first {top}.")
    print_json(jsonlib.loads(found.to_json())) if json else _show(found, top)


def _ask(method: str, ask: Callable[..., Any], store: "Store", options: dict[str, Any], given: list[str] | None) -> Any:
    """The scores; a value of --set that the method cannot even compute with becomes one sentence."""
    try:
        return ask(store, **options)
    except (TypeError, ValueError, AttributeError) as error:
        if not given or isinstance(error, WorkbenchError):
            raise
        shown = " ".join(f"--set {text}" for text in given)
        raise WorkbenchError(
            f"{method} cannot be computed with {shown} ({error}); give values of the right kind."
        ) from error


def _method(name: str) -> Callable[..., "ExpertScores"]:
    if name not in METHODS:
        raise WorkbenchError(
            f"There is no method '{name}'{suggestion(name, list(METHODS)) or ';'} use {', '.join(METHODS)}."
        )
    import probes

    return getattr(probes, name)


def _options(method: str, ask: Callable[..., Any], classes: dict[str, str | None], others: list[str]) -> dict[str, Any]:
    """The method's arguments from --target, --baseline and --set, checked against its signature."""
    known = [name for name in inspect.signature(ask).parameters if name != "store"]
    found = dict(_pair(text) for text in others)
    for name, value in classes.items():
        if value is not None:
            own = [n for n in _CLASSES[name] if n in known]
            found[own[0] if own else name] = value
    for name in found:
        if name not in known:
            raise WorkbenchError(
                f"{method} has no option '{name}'{suggestion(name, known) or ';'} it has {', '.join(known)}."
            )
    required = [n for n, p in inspect.signature(ask).parameters.items() if p.default is p.empty and n != "store"]
    if missing := [n for n in required if n not in found]:
        raise WorkbenchError(
            f"{method} needs {' and '.join(missing)}; give --target VALUE, or --set {missing[0]}=VALUE."
        )
    return found


def _pair(text: str) -> tuple[str, Any]:
    """`tokens=last_prompt`, `n_permutations=0`, `roles=["user"]`: the value is JSON where it reads as JSON, else text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise WorkbenchError(f"'{text}' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt.")
    try:
        return name, jsonlib.loads(value)
    except jsonlib.JSONDecodeError:
        return name, value


def _check_edit(edit: str) -> None:
    if edit not in ("off", "drop", "mute", "force"):
        raise WorkbenchError(f"--edit {edit} cannot be made from a ranking alone; use off, drop, mute or force.")


def _write_scores(found: "ExpertScores", path: Path) -> None:
    writers = {".csv": found.to_csv, ".parquet": found.to_parquet, ".json": found.to_json}
    if path.suffix not in writers:
        raise WorkbenchError(f"'{path}' should end in .csv, .parquet or .json, which says how to write the scores.")
    writers[path.suffix](path)
    note(f"Wrote '{path}'.")


def _show(found: "ExpertScores", top: int) -> None:
    options = ", ".join(f"{name}={value}" for name, value in found.options.items() if value is not None)
    say(f"{found.method} of {len(found.frame)} experts of {found.model} ({options})")
    columns = ["rank", "expert", "score", "95 % interval", "p", "p adjusted", "n", "flags"]
    rows = [_row(i, row) for i, row in enumerate(found.frame.head(top).itertuples(), 1)]
    print_table(columns, rows, right=["rank", "score", "p", "p adjusted", "n"])
    say("A score is association with these prompts. To measure an effect: workbench compare MODEL PROMPTS --plan FILE")
    for text in found.notes:
        note(f"- {text}")


def _row(rank: int, row: Any) -> list[str]:
    name = f"L{row.layer}{'S' if getattr(row, 'is_shared', False) else 'E'}{row.expert}"
    interval = f"{row.low:.4g} to {row.high:.4g}" if row.low == row.low else "-"
    return [
        str(rank),
        name,
        _number(row.score),
        interval,
        _number(row.p),
        _number(row.p_adjusted),
        f"{row.n:,}",
        row.flags,
    ]


def _number(value: float) -> str:
    return f"{value:.4g}" if value == value else "-"
