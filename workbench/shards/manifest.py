"""The manifest completes a store, and seals it: with checksums of plan.json and its own, so that damage is not believed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from workbench import storage
from workbench.errors import WorkbenchError
from workbench.paths import Place
from workbench.shards.schema import SCHEMA_VERSION, TABLES


def finish(
    store: Place, receipts: list[dict[str, Any]], files: list[dict[str, Any]], *, is_last: bool = True, **about: Any
) -> dict[str, Any]:
    """Writes the manifest, which completes the store; is_last: no shards come any more, so nobody holds a lock there."""
    lines = [*files, *(file for receipt in receipts for file in receipt["files"])]
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "rows": {name: sum(x["rows"] for x in lines if x["table"] == name) for name in TABLES if name != "labels"},
        **about,
        "files": files,
        "shards": sorted(receipts, key=lambda receipt: receipt["shard"]),
    }
    manifest = sealed(store, manifest)
    storage.write_json(store, "manifest.json", manifest)
    if is_last:
        storage.tidy(store)
    return manifest


def sealed(store: Place, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the checksum of plan.json and its own."""
    whole = {**manifest, "plan_sha256": storage.sha256(store / "plan.json")}
    return {**whole, "sha256": _digest(whole)}


def check_seal(store: Place, manifest: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` when the manifest or plan.json is not what was written."""
    if manifest.get("sha256") != _digest(manifest):
        raise WorkbenchError(_damaged(store, "manifest.json"))
    if manifest.get("plan_sha256") != storage.sha256(store / "plan.json"):
        raise WorkbenchError(_damaged(store, "plan.json"))


def _digest(manifest: Mapping[str, Any]) -> str:
    said = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _damaged(store: Place, name: str) -> str:
    return (
        f"The store '{store}' is damaged: {name} does not match its checksum, so it changed after the capture; take a copy of "
        f"the store, or capture it again."
    )
