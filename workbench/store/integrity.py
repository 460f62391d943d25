"""`workbench store check`: whether every file of a store is what the manifest says."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from workbench import storage
from workbench.errors import WorkbenchError
from workbench.shards import STREAMED, n_rows, said
from workbench.store.tables import Tables


def problems(store: Tables) -> list[str]:
    """One sentence per damaged, missing or surplus file, and one where values are not finite; empty for a sound store."""
    sizes = {entry.key: entry.size for entry in store.disk.list()}
    found = [problem for file in store.listed if (problem := _problem(store, file, sizes))]
    known = {file["path"] for file in store.listed}
    surplus = [
        f"{path} is not in the manifest; remove it if you did not put it there."
        for path in sizes
        if path.partition("/")[0] in STREAMED and path not in known
    ]
    return found + _missing_shards(store) + surplus + _not_finite(store)


def check_files(store: Tables) -> None:
    """Raises `WorkbenchError` when a file is missing or has another size: what costs no reading."""
    sizes = {entry.key: entry.size for entry in store.disk.list()}
    found = [problem for file in store.listed if (problem := _size_problem(file, sizes))]
    if found:
        more = f" ({len(found)} files are wrong)" if len(found) > 1 else ""
        raise WorkbenchError(
            f"The store '{store.path}' is damaged{more}: {found[0]} `workbench store check` lists what is wrong."
        )


def _size_problem(file: dict[str, Any], sizes: Mapping[str, int]) -> str | None:
    found = sizes.get(file["path"])
    if found is None:
        return f"{file['path']} is missing; capture the store again."
    if found != file["size_bytes"]:
        return f"{file['path']} has {found} bytes, the manifest says {file['size_bytes']}; capture again."
    return None


def _problem(store: Tables, file: dict[str, Any], sizes: Mapping[str, int]) -> str | None:
    if wrong := _size_problem(file, sizes):
        return wrong
    if storage.sha256(store.path / file["path"]) != file["sha256"]:
        return f"{file['path']} does not match its checksum; it changed after the capture, so capture again."
    try:
        rows = n_rows(store.disk, file["path"], file["size_bytes"])
    except (pa.ArrowException, OSError) as error:
        return f"{file['path']} is not a Parquet file ({str(error).splitlines()[0]}); capture the store again."
    return None if rows == file["rows"] else f"{file['path']} has {rows} rows, the manifest says {file['rows']}."


def _not_finite(store: Tables) -> list[str]:
    try:
        found = said(store.nonfinite)
    except WorkbenchError:  # the file's own damage is told of above
        return []
    return [f"{found} Store.nonfinite counts them."] if found else []


def _missing_shards(store: Tables) -> list[str]:
    have = {shard["shard"] for shard in store.manifest["shards"]}
    return [
        f"Shard {i} of the plan is not in the manifest." for i in range(len(store.plan_json["shards"])) if i not in have
    ]
