"""`workbench rank`: ask a store one question, see the experts ranked, save the scores or a plan."""

import inspect
import json as jsonlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.catalogue import ASKED, Method, asked
from probes.options import options_for, read_text
from probes.renamed import old_words
from workbench import Plan, WorkbenchError
from workbench.paths import given_path
from workbench.storage import check_writable

from ..terminal import note, print_json, print_table, say, warn, working
from .every_probe import rank_all
from .options import Json, Ray, Workers, spread_over

if TYPE_CHECKING:
    from probes.ranking import ExpertScores, Table
    from workbench import ExpertRef, Store

_ALPHA = 0.05
_WRITERS: dict[str, Callable[["ExpertScores | Table", Path], object]] = {
    ".csv": lambda found, path: found.to_csv(path),
    ".parquet": lambda found, path: found.to_parquet(path),
    ".json": lambda found, path: found.to_json(path),
}


def rank(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help=f"One of {', '.join(ASKED)}; with --all none: the store alone.")
    ],
    store: Annotated[
        str | None,
        typer.Argument(metavar="STORE", help="A store, as written by capture: its folder, or s3://bucket/stores/x."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="A label's value, or name=value: the class to find.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The class to compare with; without it, all others.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other option of the method, such as tokens=all, or a part of one: massive.absolute=1000.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many experts to show and to put into --out.")] = 10,
    edit: Annotated[str, typer.Option(help="What the plan of --out does to them: off, drop, mute or force.")] = "off",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plan for the top experts here.")] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every expert's scores here: .csv, .parquet or .json.")
    ] = None,
    all_: Annotated[
        bool,
        typer.Option(
            "--all", help="Every ranking that the store allows, and which say the same; --out is .csv or .parquet."
        ),
    ] = False,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Also a store from which a server dropped requests.")
    ] = False,
    ray: Ray = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Rank every expert by a published score, or ask what is answered with a table of layers, sets of experts or tokens.

    A score is association with these prompts; compare measures an effect.
    """
    cluster = spread_over(ray, workers, None)
    if all_:
        _check_alone(method, store, {"--set": set_, "--scores": scores, "--edit": edit != "off", "--ray": ray})
        rank_all(method, target, baseline, out, incomplete=incomplete, json=json)
        return
    if store is None:
        raise WorkbenchError("Missing argument 'STORE': the folder of a store, as written by capture.")
    probe = asked(method)
    ask = probe.load()
    options = _options(probe, ask, (target, baseline), set_ or [])
    _check_files(probe, edit, out, scores)
    with _opened(store, incomplete, cluster) as opened, working(_what(probe, opened)):
        found = _ask(method, ask, opened, options, set_)
    chosen = [] if out is None else _chosen(probe, found, top)
    plan = None if out is None else getattr(Plan, edit)(chosen).check(opened.anatomy)
    if scores is not None:
        _WRITERS[scores.suffix](found, scores)
        note(f"Wrote '{scores}'.")
    if plan is not None:
        plan.to_json(out)
        note(f"Wrote '{out}': {edit} the {'first' if probe.ranks else 'members,'} {len(plan)}.")
    shows = _show if probe.ranks else _show_table
    print_json(jsonlib.loads(found.to_json())) if json else shows(found, top)
    if probe.ranks and (doubt := doubt_of(found, top)):
        warn(doubt)


def _chosen(probe: Method, found: Any, top: int) -> "Sequence[ExpertRef]":
    """The experts of --out."""
    chosen = found.top(top) if probe.ranks else found.experts()
    if not chosen:
        raise WorkbenchError(f"{probe.name} found no expert here, so --out has no plan to write; leave it away.")
    return chosen


def _what(probe: Method, store: "Store") -> str:
    return f"Ranking {store.anatomy.n_experts} experts by {probe.name}" if probe.ranks else f"Asking {probe.name}"


@contextmanager
def _opened(store: str, incomplete: bool, cluster: dict[str, Any] | None) -> "Iterator[Store]":
    """The store, counted by this process or by those of a cluster."""
    if cluster is None:
        from workbench import open_store

        yield open_store(store, incomplete=incomplete)
        return
    from workbench.replicas import Cluster, counting_on

    with counting_on(Cluster(**cluster), store, incomplete=incomplete) as opened:
        yield opened


def _check_alone(method: str, store: str | None, given: dict[str, Any]) -> None:
    """With --all no method is named, and no option that only one of them has."""
    if store is not None:
        raise WorkbenchError(
            f"--all asks in every way, so no method is named: give the store alone, without '{method}'."
        )
    for name, value in given.items():
        if value:
            raise WorkbenchError(
                f"{name} has no place beside --all, which asks each method by its defaults; leave it away."
            )


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


def _check_files(probe: Method, edit: str, out: Path | None, scores: Path | None) -> None:
    """What can be told to fail before the work: no experts, the edit, the ending, and places that cannot be written."""
    if out is not None and probe.answers not in ("ExpertScores", "SetTable"):
        raise WorkbenchError(
            f"{probe.name} answers a {probe.answers}, which chooses no experts, so --out has no plan to write; leave it away, or "
            f"write the table with --scores."
        )
    if edit not in ("off", "drop", "mute", "force"):
        raise WorkbenchError(f"--edit {edit} cannot be made from a ranking alone; use off, drop, mute or force.")
    if scores is not None and scores.suffix not in _WRITERS:
        raise WorkbenchError(f"'{scores}' should end in .csv, .parquet or .json, which says how to write the scores.")
    if out is not None and scores is not None and given_path(out).resolve() == given_path(scores).resolve():
        raise WorkbenchError(f"--out and --scores both name '{out}'; give each its own file.")
    for path in (out, scores):
        if path is not None:
            check_writable(path)


def doubt_of(found: "ExpertScores", top: int) -> str | None:
    """What a ranking must not leave unsaid: how many of the experts shown could be chance."""
    p: Any = found.frame["p_adjusted"]
    first: Any = found.first(top)["p_adjusted"]
    shown, passed = len(first), int((first < _ALPHA).sum())
    if p.isna().all() or (shown and passed == shown):
        return None
    if not (p < _ALPHA).any():
        return (
            f"No expert passes p adjusted < {_ALPHA} (the smallest is {p.min():.2g}): this ranking may be chance alone; ask "
            f"with more prompts before you rely on it."
        )
    return f"{passed} of the first {shown} pass p adjusted < {_ALPHA}; the others may be chance."


def _options(
    probe: Method, ask: Callable[..., Any], classes: tuple[str | None, str | None], others: list[str]
) -> dict[str, Any]:
    """The method's arguments from --target, --baseline and --set, checked against its signature."""
    found: dict[str, Any] = {}
    for text in others:
        _put(found, *pair_of(text, probe))
    sides = ("target", "baseline")  # the same two for every method that compares classes
    for name, own, value in zip(sides, (*probe.classes, *sides[len(probe.classes) :]), classes, strict=True):
        if value is not None:
            if own in found:
                raise WorkbenchError(f"--{name} and --set {own} name the same; give one of them.")
            found[own] = value
    for name in found:
        if name in old_words(ask):
            now = old_words(ask)[name]
            raise WorkbenchError(f"{probe.name} calls '{name}' {now} now; give --{now} VALUE.")
    options = options_for(probe, found)
    parameters = inspect.signature(ask).parameters
    required = [n for n, p in parameters.items() if p.default is p.empty and n != "store"]
    if missing := [n for n in required if n not in options]:
        if missing[0] == probe.beside:
            raise WorkbenchError(f"{probe.name} compares with another store; give --set {missing[0]}=PATH.")
        how = f"--{missing[0]} VALUE" if missing[0] in sides else f"--set {missing[0]}=VALUE"
        raise WorkbenchError(f"{probe.name} needs a {missing[0]}; give {how}.")
    return options


def _put(options: dict[str, Any], name: str, value: Any) -> None:
    """Puts the value where its dotted name says: `massive.absolute` into the table `massive`."""
    *tables, last = name.split(".")
    table: Any = options
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise WorkbenchError(f"--set gives {part} twice, whole and in parts; give it once.")
    if last in table:
        raise WorkbenchError(f"--set gives {name} twice; give it once.")
    table[last] = value


def pair_of(text: str, probe: Method) -> tuple[str, Any]:
    """`tokens=last_prompt`, `n_permutations=0`, `massive.absolute=1000`: as JSON where the method takes that, else text."""
    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        raise WorkbenchError(f"'{text}' sets nothing; write --set NAME=VALUE, such as --set tokens=last_prompt.")
    try:
        read = jsonlib.loads(value)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nested thousands deep
        return name, value
    return name, read_text(probe, name, value, read)


def _show(found: "ExpertScores", top: int) -> None:
    say(found.asked)
    columns = ["rank", "expert", "score", "95 % interval", "p adjusted", "n", "flags"]
    if rows := [_row(i, row) for i, row in enumerate(found.first(top).to_dict("records"), 1)]:
        print_table(columns, rows, right=["rank", *columns[2:-1]])
    if silent := found.silent(top):
        say(silent)
    say("A score is association with these prompts. To measure an effect: workbench compare MODEL PROMPTS --plan FILE")
    for text in found.notes:
        note(f"- {text}")


def _show_table(found: "Table", top: int) -> None:
    from probes.ranking import NO_ROW

    say(found.asked)
    names, rows = found.cells(top)
    words = {name for name in names if found.frame[name].dtype.kind not in "iufb"}
    print_table(names, rows, right=[name for name in names if name not in words]) if rows else say(NO_ROW)
    if len(found.frame) > top:
        say(f"{len(found.frame) - top} more rows: --top N shows them, --scores FILE writes all.")
    for text in found.notes:
        note(f"- {text}")


def _row(rank: int, row: Any) -> list[str]:
    """What fits a terminal of 80 columns: the p of an expert by itself stands in --json and --scores."""
    from probes.ranking import ref_of

    interval = f"{row['low']:.3g} to {row['high']:.3g}" if row["low"] == row["low"] else "-"
    score, adjusted = (_number(row[name]) for name in ("score", "p_adjusted"))
    return [str(rank), str(ref_of(row)), score, interval, adjusted, f"{row['n']:,}", row["flags"]]


def _number(value: float) -> str:
    return f"{value:.4g}" if value == value else "-"
