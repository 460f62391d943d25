"""Bytes that survive a crash: on disk before they have their name, created once, claimed by one."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from workbench import storage
from workbench.capturing.sharing import open_shards
from workbench.errors import WorkbenchError
from workbench.shards import receipt_path
from workbench.storage import locked


def test_a_full_disk_is_one_sentence() -> None:
    sentence = "The disk is full while writing 's'; what is complete stays: free some space"
    with pytest.raises(WorkbenchError, match=sentence), storage.disk_errors(Path("s")):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="strange"), storage.disk_errors(Path("s")):
        raise OSError(errno.EIO, "strange")


def test_a_file_is_on_disk_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds the old file or the whole new one: the bytes are flushed, then renamed, then the name is flushed."""
    happened = list[tuple[str, int]]()
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        happened.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def renamed(source: Any, target: Any) -> None:
        happened.append(("rename", os.stat(source).st_ino))
        replace(source, target)

    part = storage.temporary(tmp_path, "labels/a.json")
    part.write_bytes(b"the content")
    file, checksum = part.stat().st_ino, hashlib.sha256(b"the content").hexdigest()
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    written = storage.publish(tmp_path, part, "labels/a.json")
    assert written == ("labels/a.json", 11, checksum)
    folder = (tmp_path / "labels").stat().st_ino
    assert happened == [("fsync", file), ("rename", file), ("fsync", folder)]
    happened.clear()
    assert storage.create_json(tmp_path, "plan.json", {"a": 1})
    assert happened[0] == ("fsync", (tmp_path / "plan.json").stat().st_ino), "linked before its bytes were flushed"


def test_create_json_happens_once(tmp_path: Path) -> None:
    assert storage.create_json(tmp_path, "plan.json", {"a": 1})
    assert not storage.create_json(tmp_path, "plan.json", {"a": 2})
    assert storage.read_json(tmp_path / "plan.json") == {"a": 1}


def test_claims_exclude_and_are_dropped(tmp_path: Path) -> None:
    with locked(tmp_path, "x") as first, locked(tmp_path, "x") as second, locked(tmp_path, "y") as other:
        assert (first, second, other) == (True, False, True)
    with locked(tmp_path, "x") as again:
        assert again


def test_ranks_begin_apart_and_finish_together(tmp_path: Path) -> None:
    shards = open_shards(tmp_path, 6, rank=1, world=3)
    order: list[int] = []
    for shard in shards:
        order.append(shard)
        storage.write_json(tmp_path, receipt_path(shard), {})
    assert order == [2, 3, 4, 5, 0, 1]
    assert list(open_shards(tmp_path, 6, rank=0, world=3)) == []
