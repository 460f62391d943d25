"""Disks keep what every disk promises: a folder, and object storage in memory."""

import uuid
from pathlib import Path

import pytest

from tests.support.refusals import refused
from tests.workbench.storage.contract import DiskContract
from workbench.paths import Address, given_path, given_place
from workbench.storage import Disk, disk_of


class TestFolder(DiskContract):
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Disk:
        return disk_of(tmp_path / "store")


class TestMemory(DiskContract):
    @pytest.fixture
    def disk(self) -> Disk:
        return disk_of(given_place(f"memory://{uuid.uuid4().hex}/stores/x"))


class TestPlaces:
    @pytest.mark.parametrize("written", ["s3://bucket/stores/x", "s3://bucket/stores/x/", Path("s3://bucket/stores/x")])
    def test_an_address_is_what_was_written(self, written: str | Path) -> None:
        place = given_place(written)
        assert place == Address("s3", "bucket", "stores/x")
        assert (str(place), place.name, str(place.parent)) == ("s3://bucket/stores/x", "x", "s3://bucket/stores")
        assert (str(place / "a/b"), str(Address("s3", "bucket") / "a")) == ("s3://bucket/stores/x/a/b", "s3://bucket/a")

    def test_a_folder_stays_a_path(self) -> None:
        assert given_place("stores/x") == Path("stores/x")
        assert given_place("s3/x") == Path("s3/x")

    @pytest.mark.parametrize(
        "written",
        [
            "s3://KEY:hunter2@bucket/x",
            "s3://KEY:hunter2@",
            "s3://hunter2@bucket/x",
            "s3://bucket/x?secret=hunter2",
            "s3:/KEY:hunter2@b/x",
        ],
    )
    def test_credentials_in_an_address_are_refused_and_not_repeated(self, written: str) -> None:
        for ask in (given_place, given_path):
            said = refused(ask, written)
            assert said.startswith("An address s3://... holds credentials or options; name the bucket")
            assert "hunter2" not in said

    def test_what_is_no_store(self) -> None:
        assert refused(given_place, "s3://") == "'s3://' names no bucket; write s3://bucket/stores/x."
        assert refused(given_path, "gs://b/x").startswith("'gs://b/x' lies on object storage; here a file or folder")
