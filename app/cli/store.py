"""`workbench store info`, `check` and `copy`: what a store holds, whether its files are sound, another place for it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from workbench.anatomy import WITHOUT_VERSION, is_unversioned

from ..terminal import note, print_json, print_table, say, warn, working
from .options import Json, Retry, StorePath, be_patient

if TYPE_CHECKING:
    from workbench import Store

_SHOWN_VALUES = 4

app = typer.Typer(help="Look into a store, check its files, or copy it.", no_args_is_help=True, rich_markup_mode=None)


@app.command("info")
def info(store: StorePath, json: Json = False) -> None:
    """Say what a store holds: model, prompts, labels, tables, options, and whether it was captured under a plan."""
    from workbench import open_store
    from workbench.shards import said

    found = open_store(store)
    if json:
        return print_json(_about(found))
    model = found.plan_json["model"]
    samples = f", {found.n_samples} samples each" if found.n_samples > 1 else ""
    say(f"{found.path}: {model['name']}, {found.n_prompts} prompts{samples}")
    steering = found.steering
    if steering is not None:
        warn(f"Captured under a plan, so this is not the base model: {steering}")
    if is_unversioned(found.anatomy.fingerprint):
        note(WITHOUT_VERSION)
    if found.untold:
        warn(f"Returned by a serving engine, which does not tell {', '.join(found.untold)}: expert ids alone.")
    if found.dropped:
        warn(f"{len(found.dropped)} requests were dropped ({sum(found.dropped.values()):,} tokens) and are not in it.")
    if len(found.nonfinite):
        warn(said(found.nonfinite))
    print_table(["table", "rows", "on disk"], _table_rows(found), right=["rows", "on disk"])
    if len(found.labels):
        print_table(["label", "values", "source", "rows"], _label_rows(found), right=["rows"])
    say(", ".join(f"{k}={v}" for k, v in found.plan_json["options"].items() if v is not None))
    return None


def _label_rows(store: "Store") -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    for name, labels in store.labels.groupby("name", sort=False):
        counts = labels["value"].value_counts()
        shown = ", ".join(f"{_cut(value)} {n}" for value, n in counts.head(_SHOWN_VALUES).items())
        rest = f"{len(counts)} values, such as {_cut(counts.index[0])}"
        rows.append(
            (
                str(name),
                shown if len(counts) <= _SHOWN_VALUES else rest,
                ", ".join(sorted(set(labels["source"]))),
                str(len(labels)),
            )
        )
    return rows


def _cut(value: Any, most: int = 20) -> str:
    return f"{str(value)[:most]}..." if len(str(value)) > most else str(value)


def _table_rows(store: "Store") -> list[tuple[str, str, str]]:
    from workbench.shards import READ_ONCE

    sizes: dict[str, int] = {}
    once = [file for file in store.manifest["files"] if file["table"] in READ_ONCE]
    for file in [*(file for shard in store.manifest["shards"] for file in shard["files"]), *once]:
        sizes[file["table"]] = sizes.get(file["table"], 0) + file["size_bytes"]
    rows = store.manifest["rows"]
    return [(name, f"{rows.get(name, 0):,}", decimal(n_bytes)) for name, n_bytes in sizes.items()]


def _about(store: "Store") -> dict[str, Any]:
    plan = store.plan_json
    steering = None if store.steering is None else [e.to_dict() for e in store.steering.edits]
    return {
        "path": str(store.path),
        "model": plan["model"],
        "fingerprint": store.anatomy.fingerprint,
        "schema_version": plan["schema_version"],
        "prompts": store.n_prompts,
        "samples": store.n_samples,
        "rows": store.manifest["rows"],
        "labels": sorted(set(store.labels["name"])),
        "steering": steering,
        "options": plan["options"],
        "lacks": store.lacks,
        "nonfinite": store.info()["nonfinite"],
    }


@app.command("check")
def check(store: StorePath, json: Json = False) -> None:
    """Compare every file with the manifest (size, checksum, rows); say where values are not finite. Exit code 1: a problem."""
    from workbench import open_store

    found = open_store(store, damaged=True)
    problems = found.check()
    if json:
        print_json({"path": str(found.path), "sound": not problems, "problems": problems})
    else:
        for problem in problems:
            say(problem)
        n = len(found.manifest["files"]) + sum(len(shard["files"]) for shard in found.manifest["shards"])
        say(f"{n} files: {len(problems)} problems." if problems else f"{n} files, all as captured.")
    if problems:
        raise typer.Exit(1)


@app.command("copy")
def copy(
    store: StorePath,
    to: Annotated[
        str, typer.Argument(metavar="TO", help="A folder or address that holds nothing yet, or part of this copy.")
    ],
    retry: Retry = None,
    json: Json = False,
) -> None:
    """Copy a store between folders and object storage, every file against its checksum. Stopped, it goes on by the same."""
    from workbench.store import copy_store

    be_patient(retry)
    with working(f"Copying {store} to {to}"):
        copied = copy_store(store, to)
    if json:
        return print_json({"path": str(copied.store.path), "written": copied.written, "found": copied.found})
    say(f"{copied.store.path}: {copied.written} files written, {copied.found} were there.")
    return None
