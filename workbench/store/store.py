"""A captured store on disk: its tables, its plan and its manifest. No torch: a store opens on a laptop in a second.

    store = open_store("stores/refusal")
    store.table("slots", columns=["prompt_id", "expert", "weight"], layers=[3])     # a DataFrame
    store.counts().n                                                                # [prompts, layers, experts]
    store.query("select layer, expert, count(*) from slots group by all")           # DuckDB, read-only

Tokens have a canonical order (prompt as in `prompts.parquet`, then sample, then position): the order of
`store.tokens`, of every mask and group array that `counts` takes and of `routing`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from workbench import storage
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError, listed
from workbench.paths import Address, Place, given_place
from workbench.shards import READABLE, check_seal, said
from workbench.store.counts import Counts, Routing, counts, routing
from workbench.store.export import export
from workbench.store.integrity import check_files, problems
from workbench.store.labels import add_labels
from workbench.store.outputs import mean_output
from workbench.store.sql import query
from workbench.store.token_rows import TokenRows


@dataclass(frozen=True, eq=False, repr=False)
class Store(TokenRows):
    """The captured tables of one model over one prompt set, and what can be asked of them. Made by `capture`, `open_store`."""

    def counts(
        self,
        tokens: np.ndarray | None = None,
        by: Literal["prompt"] | np.ndarray = "prompt",
        value: Literal["count", "weight"] = "count",
        layers: Iterable[int] | None = None,
    ) -> Counts:
        """How often each expert was selected (or its summed weight), per group of tokens. See `workbench.store.counts`."""
        return counts(self, tokens, by, value, layers)

    def routing(self, layer: int) -> Routing:
        """Who went where in one layer, aligned with `store.tokens`. See `workbench.store.counts.routing`."""
        return routing(self, layer)

    def mean_output(self, expert: ExpertRef) -> np.ndarray:
        """The expert's mean output over the tokens that selected it, unweighted: [hidden] float64."""
        return mean_output(self, expert)

    def export(self, to: str | Path = "numpy", *, prompt: str | None = None, sample: int = 0) -> dict[str, Any] | Path:
        """Per-token columns by TransformerLens's hook names, as numpy, torch, .npz or .safetensors; see `export.py`."""
        return export(self, to, prompt=prompt, sample=sample)

    def query(self, sql: str) -> pd.DataFrame:
        """A read-only DuckDB query over the tables as views. See `workbench.store.sql`."""
        return query(self, sql)

    def add_labels(
        self, name: str, values: Mapping[str, Any] | pd.Series | pd.DataFrame, source: str, *, replace: bool = False
    ) -> None:
        """Adds a label, such as a classifier's verdict on each response, as `labels/NAME.parquet`.

        `values` maps prompt_id to a value (it holds for all samples), or is a DataFrame with prompt_id, sample and
        value. `source` says who gave it. See `workbench.store.labels`.
        """
        add_labels(self, name, values, source, replace=replace)

    def check(self) -> list[str]:
        """What is wrong with the store, one sentence each; empty when checksums, row counts and values all hold.

        Values that are not finite are told of with the layer and the expert that they come from first.
        """
        return problems(self)

    def info(self) -> dict[str, Any]:
        """What the store is, JSON-able: model, dtype, steering, what was kept, rows, size on disk, warnings.

        lacks: what is not in it, with what provides it. nonfinite: where values are not finite, "" when none is, null where an
        older capture did not look.
        """
        plan, sizes = (
            self.plan_json,
            [file["size_bytes"] for shard in self.manifest["shards"] for file in shard["files"]],
        )
        return {
            "path": str(self.path),
            "model": plan["model"],
            "dtype": plan.get("dtype"),
            "fingerprint": self.anatomy.fingerprint,
            "steering": None if self.steering is None else str(self.steering),
            "options": plan["options"],
            "lacks": self.lacks,
            "prompts": self.n_prompts,
            "labels": sorted(set(self.labels["name"])),
            "rows": self.manifest["rows"],
            "shards": len(self.manifest["shards"]),
            "size_bytes": sum(sizes) + sum(file["size_bytes"] for file in self.manifest["files"]),
            "nonfinite": said(self.nonfinite) if self.counts_finite or len(self.nonfinite) else None,
            "warnings": self.manifest.get("warnings", []),
            "versions": plan["versions"],
        }

    def __repr__(self) -> str:
        steered = f", steered with {self.steering}" if self.plan_json.get("steering") is not None else ""
        rows = self.manifest["rows"]
        steered += f", without {', '.join(self.untold)}" if self.untold else ""
        steered += ", with values that are not finite" if self.has("nonfinite") else ""
        return (
            f"Store({str(self.path)!r}: {self.plan_json['model']['name']}, {self.n_prompts} prompts, "
            f"{rows.get('tokens', 0)} tokens, {rows.get('slots', 0)} slots{steered})"
        )


def open_store(path: str | Path | Address, *, damaged: bool = False, incomplete: bool = False) -> Store:
    """Opens a store. Raises `WorkbenchError` when it is missing, half written, of another schema version or damaged.

    What is read are the plan and the manifest, against their checksums, and the files' sizes; `Store.check` reads it all.
    path: a folder, or an address on object storage: s3://bucket/stores/x, gs://..., az://...
    damaged: open a store with wrong files all the same, to check it. incomplete: count what is there although a server dropped
    requests (`Store.dropped`), which `counts`, and so every score, refuses else.
    """
    path = given_place(path)
    storage.check_spelling(path)
    disk = storage.disk_of(path)
    if disk.size("plan.json") is None:
        what = "There is no folder" if isinstance(path, Path) and not path.is_dir() else "No plan.json lies in"
        raise WorkbenchError(f"{what} '{path}', so it is not a store; make one with capture().")
    plan = begun_plan(path)
    _check_version(path, plan)
    if disk.size("manifest.json") is None:
        raise WorkbenchError(
            f"The store '{path}' is half written ({_progress(path, plan)}); if no capture runs there now, run the same "
            f"capture into it again and it goes on from there."
        )
    manifest = storage.read_json(path / "manifest.json")
    check_seal(path, manifest)
    store = Store(path, plan, manifest, incomplete)
    if not damaged:
        check_files(store)
    return store


def begun_plan(path: Place) -> dict[str, Any]:
    """The plan.json of a store that was begun. Raises `WorkbenchError` for one of another kind, such as a steering plan."""
    plan = storage.read_json(path / "plan.json")
    if "schema_version" not in plan:
        what = "is a steering plan" if "edits" in plan else "is not a store's"
        raise WorkbenchError(
            f"'{path}' is not a store, for its plan.json {what}; name a folder that capture() made, or a new one."
        )
    return plan


def _check_version(path: Place, plan: dict[str, Any]) -> None:
    found = plan.get("schema_version")
    if found not in READABLE:
        raise WorkbenchError(
            f"The store '{path}' has schema version {found}, this workbench reads {listed(READABLE)}; open it with the "
            f"workbench that wrote it ({plan.get('versions', {}).get('workbench', 'unknown version')}) or capture again."
        )


def _progress(path: Place, plan: dict[str, Any]) -> str:
    done = len(storage.disk_of(path).list("shards"))
    return f"{done} of {len(plan['shards'])} shards"
