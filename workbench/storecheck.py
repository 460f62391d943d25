"""`workbench store check`: whether every file of a store is what the manifest says."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from workbench import durable

if TYPE_CHECKING:
    from workbench.store import Store


def problems(store: "Store") -> list[str]:
    """One sentence per damaged, missing or surplus file; empty when the store is sound."""
    listed = [*store.manifest["files"], *(file for shard in store.manifest["shards"] for file in shard["files"])]
    found = [problem for file in listed if (problem := _problem(store, file))]
    known = {file["path"] for file in listed}
    surplus = [
        f"{path.relative_to(store.path)} is not in the manifest; remove it if you did not put it there."
        for folder in ("tokens", "slots", "residual", "logits", "outputs")
        for path in sorted((store.path / folder).glob("*"))
        if str(path.relative_to(store.path)) not in known
    ]
    return found + _missing_shards(store) + surplus


def _problem(store: "Store", file: dict[str, Any]) -> str | None:
    path = store.path / file["path"]
    if not path.is_file():
        return f"{file['path']} is missing; capture the store again."
    if path.stat().st_size != file["size_bytes"]:
        return f"{file['path']} has {path.stat().st_size} bytes, the manifest says {file['size_bytes']}; capture again."
    if durable.sha256(path) != file["sha256"]:
        return f"{file['path']} does not match its checksum; it changed after the capture, so capture again."
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as error:
        return f"{file['path']} is not a Parquet file ({error}); capture the store again."
    return None if rows == file["rows"] else f"{file['path']} has {rows} rows, the manifest says {file['rows']}."


def _missing_shards(store: "Store") -> list[str]:
    have = {shard["shard"] for shard in store.manifest["shards"]}
    return [
        f"Shard {i} of the plan is not in the manifest." for i in range(len(store.plan_json["shards"])) if i not in have
    ]
