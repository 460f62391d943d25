"""A store is copied whole, from a folder to object storage and back; stopped anywhere it goes on, and a damaged one stays."""

import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from workbench_app.cli import app

from tests.support.refusals import refused
from tests.support.stores import anatomy, assert_same_content, random_tables
from workbench import open_store
from workbench.paths import given_place
from workbench.storage import Folder, disk_of
from workbench.store import Store, copy_store, write_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = write_store(tmp_path / "store", anatomy(), random_tables(), n_shards=3)
    store.add_labels("later/1", {"p0": "x"}, "the test")
    return open_store(store.path)


@pytest.fixture
def address() -> str:
    return f"memory://{uuid.uuid4().hex}/stores/x"


def contents(place: Any) -> dict[str, bytes]:
    disk = disk_of(given_place(place))
    return {entry.key: disk.read(entry.key) for entry in disk.list()}


def test_there_and_back_every_byte_is_the_same(store: Store, address: str, tmp_path: Path) -> None:
    there = copy_store(store.path, address)
    back = copy_store(address, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(address) == contents(store.path)
    assert_same_content(back.store, store)
    assert (there.found, there.store.check(), back.store.check()) == (0, [], [])
    again = copy_store(store.path, address)
    assert again.written == 1, "the manifest alone"


class Stopped(Exception):
    """What stops a copy."""


def copied_at_most(n: int, store: Store, target: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Copies until so many files have their names; whether that was all."""
    left, put = [n], Folder.put

    def counting(self: Folder, *args: Any, **how: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        put(self, *args, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "put", counting)
        try:
            copy_store(store.path, target)
        except Stopped:
            return False
    return True


def test_stopped_after_every_second_file_it_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, target, sizes = contents(store.path), tmp_path / "target", [0]
    while not copied_at_most(2, store, target, monkeypatch):
        there = contents(target)
        assert there.items() <= whole.items(), "what has its name is whole"
        assert "is half written" in refused(open_store, target)
        sizes.append(len(there))
    assert all(later - before in (2, 3) for before, later in pairwise(sizes)), "nothing is written twice"
    assert contents(target) == whole


def test_a_file_that_changed_is_written_anew(store: Store, address: str) -> None:
    copy_store(store.path, address)
    disk = disk_of(given_place(address))
    part = store.path / "part"
    part.write_bytes(bytes(disk.size("slots/00001.parquet") or 0))
    disk.put("slots/00001.parquet", part)
    disk.delete("tokens/00000.parquet")
    copy_store(store.path, address)
    assert contents(address) == contents(store.path)


def test_what_is_not_copied(store: Store, address: str, tmp_path: Path) -> None:
    other = write_store(tmp_path / "other", anatomy(), random_tables(seed=1), n_shards=3)
    copy_store(store.path, address)
    assert "holds another store; name a place" in refused(copy_store, other.path, address)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("mine")
    assert "holds other files; name a place" in refused(copy_store, store.path, tmp_path / "full")
    assert "cannot be copied onto itself" in refused(copy_store, store.path, store.path)
    file = store.path / "slots/00002.parquet"
    content = bytearray(file.read_bytes())
    content[50] ^= 1
    file.write_bytes(content)
    assert "slots/00002.parquet' does not match its checksum, so it was not copied" in refused(
        copy_store, store.path, tmp_path / "new"
    )
    assert not (tmp_path / "new/slots/00002.parquet").exists()


def test_the_command(store: Store, address: str) -> None:
    said = CliRunner().invoke(app, ["store", "copy", str(store.path), address])
    assert (said.exit_code, said.stdout) == (
        0,
        f"{address}: {len(contents(address)) - 1} files written, 0 were there.\n",
    )
    said = CliRunner().invoke(app, ["store", "copy", str(store.path), "s3://KEY:hunter2@bucket/x"])
    assert (said.exit_code, "hunter2" in said.output) == (2, False)
