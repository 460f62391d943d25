"""The tables of a captured store, read from their Parquet files: whole, in part, or batch by batch.

Tokens have a canonical order (prompt as in `prompts.parquet`, then sample, then position): the order of
`tokens`, of every mask and group array that `counts` takes and of `routing`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError, suggestion
from workbench.paths import Place
from workbench.plan import Plan
from workbench.shards import ON_REQUEST, OPTION, TABLES, Part, parts, source_of, stored_schema
from workbench.storage import Disk, disk_of

_IN_SHARDS = re.compile(r"labels/\d{5,}\.parquet")
"""Some of these may be of a shard that is written now, and whose prompts are not there yet."""


@dataclass(frozen=True, eq=False, repr=False)
class Tables:
    """The captured tables of one model over one prompt set, as they lie in a folder.

    `plan_json` is what was asked (model, options, batches); `manifest` what was written (shards, rows, checksums); `incomplete`:
    whether what is there is counted although something was `dropped`.
    """

    path: Place
    plan_json: dict[str, Any]
    manifest: dict[str, Any]
    incomplete: bool = False

    @property
    def disk(self) -> Disk:
        """Where its files are read from."""
        return disk_of(self.path)

    @cached_property
    def anatomy(self) -> Anatomy:
        """The MoE map of the model that was captured."""
        return Anatomy.from_dict(self.plan_json["anatomy"])

    @cached_property
    def steering(self) -> Plan | None:
        """The steering plan that was in force, or None for the base model."""
        steering = self.plan_json.get("steering")
        return None if steering is None else Plan.from_json(json.dumps(steering))

    @property
    def n_samples(self) -> int:
        """Samples (generations or given responses) per prompt."""
        return int(self.plan_json["options"]["samples"])

    @property
    def untold(self) -> tuple[str, ...]:
        """What a capture would hold and the source of this store could not tell ("weight", say); empty for a capture."""
        lacks = self.plan_json.get("lacks", ())
        return () if isinstance(lacks, dict) else tuple(lacks)

    @property
    def lacks(self) -> dict[str, str]:
        """What is not here, each with what provides it: tables that were not kept, and what the source could not tell."""
        absent = {name: f"capture(..., keep={{'{OPTION[name]}'}})" for name in ON_REQUEST if not self.has(name)}
        unshown: Any = self.plan_json.get("lacks", ())
        for name, why in unshown.items() if isinstance(unshown, dict) else ():
            table = "router_inputs" if name == OPTION["router_inputs"] else name
            absent[table] = f"a capture by another engine than {self.plan_json['backend']} ({why})"
        return absent | dict.fromkeys(self.untold, "a capture by another engine")

    @property
    def dropped(self) -> dict[str, int]:
        """Requests of a server that should be here and are not, for they found no room; each with its number of tokens."""
        return {name: n for shard in self.manifest["shards"] for name, n in shard.get("dropped", {}).items()}

    def check_complete(self) -> None:
        """Raises `WorkbenchError` for a store from which requests were dropped, unless it was opened as incomplete."""
        lost = self.dropped
        if not lost or self.incomplete:
            return
        kept = [n for shard in self.manifest["shards"] for n in shard["kept"].values()]
        raise WorkbenchError(
            f"The store '{self.path}' lacks {len(lost)} of {len(lost) + len(kept)} requests ({sum(lost.values()):,} of "
            f"{sum(lost.values()) + sum(kept):,} tokens), which found no room while they were captured: long ones, in busy "
            f"hours, so the rest is no fair sample. To count it all the same say open_store(path, incomplete=True), or rank "
            f"--incomplete."
        )

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """One row per prompt: prompt_id, text, pair, split, cluster, n_tokens (of the prompt alone)."""
        return self.table("prompts")

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """One row per token in canonical order; prompt_id and role are categorical. Token strings may be null."""
        return self.table("tokens")

    @property
    def labels(self) -> pd.DataFrame:
        """prompt_id, sample (null: every sample), name, value, source; the given labels and those added later."""
        return self.table("labels")

    @cached_property
    def nonfinite(self) -> pd.DataFrame:
        """Where values were not finite: prompt_id, sample, layer, what, expert, n_tokens, n_own, first_position.

        Empty for a sound store, and for one that did not count them (`counts_finite`); see `workbench.shards.schema`.
        """
        return self.table("nonfinite").astype({"expert": "Int32", "n_own": "Int64"})

    @property
    def counts_finite(self) -> bool:
        """Whether every shard was looked through for values that are not finite; older captures were not."""
        return all(shard.get("finite_checked", False) for shard in self.manifest["shards"])

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder layers whose slots were captured."""
        return tuple(self.plan_json["layers"])

    def has(self, name: str) -> bool:
        """Whether the table was kept."""
        return bool(self.files(_known_table(name)))

    def table(
        self, name: str, columns: Sequence[str] | None = None, layers: Iterable[int] | None = None
    ) -> pd.DataFrame:
        """A table, or some of its columns and layers, as a DataFrame; prompt_id is categorical but for prompts, labels.

        `tokens` comes in canonical order, the others in the order they were written. Raises `WorkbenchError` for an
        unknown table or column, a layer that was not captured, and a table that was not kept.
        """
        wanted = list(columns) if columns is not None else TABLES[_known_table(name)].names
        read = _with_order(name, wanted)
        tables = [self.read(part, read) for part in self.parts(name, read, layers)]
        table = pa.concat_tables(tables) if tables else stored_schema(name).empty_table().select(read)
        frame = table.unify_dictionaries().to_pandas()
        if "prompt_id" in frame and name not in ("prompts", "labels"):
            # astype would take the same ids in another order for the same type
            frame["prompt_id"] = frame["prompt_id"].cat.set_categories(self.prompt_ids)
        if name == "labels" and "sample" in frame:
            frame["sample"] = frame["sample"].astype("Int32")
        if name == "tokens":
            frame = frame.sort_values(["prompt_id", "sample", "position"], ignore_index=True)
        return frame[wanted]

    def slots_of(self, prompt: str, sample: int = 0) -> pd.DataFrame:
        """The routed slots of one response, as in `table`; files and row groups that cannot hold it are not read."""
        kept = [("prompt_id", "==", prompt), ("sample", "==", sample), ("slot", ">=", 0)]
        with self._reading():
            sources = [source_of(self.disk, *file) for file in self.sizes("slots").items()]
            return (
                pa.concat_tables([pq.read_table(source, filters=kept) for source in sources])
                .unify_dictionaries()
                .to_pandas()
            )

    def scan(
        self, name: str, columns: Sequence[str] | None = None, layers: Iterable[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The table as Arrow batches, without holding it all; no batch spans layers. prompt_id is dictionary-encoded."""
        for part in self.parts(name, columns, layers):
            yield from self.read(part, columns).to_batches()

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one of `parts`; `WorkbenchError` when its file is damaged."""
        with self._reading():
            return part.read(columns)

    def parts(self, name: str, columns: Sequence[str] | None = None, layers: Iterable[int] | None = None) -> list[Part]:
        """The files of a table as row groups of one layer each, in order of shard and layer."""
        _check_columns(_known_table(name), columns)
        if layers is not None:
            layers = self._check_layers(name, layers)
        files = self.sizes(name)
        if not files and name not in ("labels", "nonfinite"):
            raise WorkbenchError(
                f"The store '{self.path}' kept no {name}; capture it again with keep including '{OPTION.get(name, name)}'."
            )
        with self._reading():
            return parts(self.disk, files, layers)

    @cached_property
    def prompt_ids(self) -> list[str]:
        """The prompts in canonical order."""
        with self._reading():
            return [
                name for part in self.parts("prompts") for name in part.read(["prompt_id"])["prompt_id"].to_pylist()
            ]

    @property
    def n_prompts(self) -> int:
        """How many prompts the store holds."""
        return len(self.prompt_ids)

    def files(self, name: str) -> list[str]:
        """The files of a table. Of a store that a server writes prompts and labels lie in shards as well, like the rest."""
        shards = self.manifest["shards"]
        listed = [file["path"] for shard in shards for file in shard["files"] if file["table"] == name]
        if name == "prompts":
            return listed or ["prompts.parquet"]
        if name == "labels":
            added = [entry.key for entry in self.disk.list("labels") if entry.key.endswith(".parquet")]
            return listed + [path for path in added if not (listed and _IN_SHARDS.fullmatch(path))]
        return [file["path"] for file in self.manifest["files"] if file["table"] == name] + listed

    def sizes(self, name: str) -> dict[str, int | None]:
        """`files`, each with the size in bytes that the manifest tells; None for labels that were added later."""
        told = {file["path"]: file["size_bytes"] for file in self.listed}
        return {path: told.get(path) for path in self.files(name)}

    @property
    def listed(self) -> list[dict[str, Any]]:
        """The manifest's lines: table, path, size_bytes, sha256, rows."""
        return [*self.manifest["files"], *(file for shard in self.manifest["shards"] for file in shard["files"])]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turns what Arrow says of a damaged file into one sentence."""
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError, AssertionError, AttributeError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise WorkbenchError(
                f"A file of the store '{self.path}' cannot be read ({what}); `workbench store check` says which."
            ) from error

    def _check_layers(self, name: str, layers: Iterable[int]) -> list[int]:
        n_layers = len(self.anatomy.layers)
        known = {"residual": {*range(-1, n_layers)}, "nonfinite": {*range(-1, n_layers + 1)}}.get(name, {*self.layers})
        chosen = list(layers)
        for layer in chosen:
            if layer not in known:
                raise WorkbenchError(
                    f"The table {name} of '{self.path}' has no layer {layer}; it has {', '.join(map(str, sorted(known)))}."
                )
        return chosen


def _known_table(name: str) -> str:
    if name not in TABLES:
        raise WorkbenchError(
            f"A store has no table '{name}'; it has {', '.join(TABLES)}{suggestion(name, list(TABLES)) or '.'}"
        )
    return name


def _check_columns(name: str, columns: Sequence[str] | None) -> None:
    known = TABLES[name].names
    for column in columns or ():
        if column not in known:
            raise WorkbenchError(
                f"The table {name} has no column '{column}'; it has {', '.join(known)}{suggestion(column, known) or '.'}"
            )


def _with_order(name: str, columns: list[str]) -> list[str]:
    order = ["prompt_id", "sample", "position"] if name == "tokens" else []
    return columns + [column for column in order if column not in columns]
