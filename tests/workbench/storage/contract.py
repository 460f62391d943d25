"""What every disk promises, as one class of tests that each disk's own class inherits."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.shards import source_of
from workbench.storage import Disk

ODD = "labels/a b%2Fc+d'é.parquet"


class DiskContract:
    """The promises of `workbench.storage.Disk`; a subclass gives the fixture `disk`, empty each time."""

    @pytest.fixture
    def disk(self) -> Disk:
        raise NotImplementedError

    @staticmethod
    def put(disk: Disk, tmp_path: Path, key: str, content: bytes) -> None:
        part = tmp_path / "part"
        part.write_bytes(content)
        disk.put(key, part)
        assert not part.exists()

    def test_ranges_of_a_file(self, disk: Disk, tmp_path: Path) -> None:
        self.put(disk, tmp_path, "slots/00000.parquet", b"0123456789")
        key = "slots/00000.parquet"
        assert (disk.read(key), disk.size(key)) == (b"0123456789", 10)
        assert [disk.read(key, 2, 3), disk.read(key, 8, 100), disk.read(key, 7), disk.read(key, 4, 0)] == [
            b"234",
            b"89",
            b"789",
            b"",
        ]

    def test_an_open_file_seeks(self, disk: Disk, tmp_path: Path) -> None:
        self.put(disk, tmp_path, "a", b"0123456789")
        for known in (None, 10):
            with disk.open("a", known) as file:
                assert file.read(2) == b"01"
                assert file.seek(-3, os.SEEK_END) == 7
                assert (file.read(), file.read(), file.seek(1), file.seek(2, io.SEEK_CUR)) == (b"789", b"", 1, 3)
                assert file.read(4) == b"3456"

    def test_what_is_not_there(self, disk: Disk) -> None:
        assert (disk.size("a/b"), disk.list(), disk.list("a")) == (None, [], [])
        for ask in (disk.read, disk.open):
            with pytest.raises(FileNotFoundError):
                ask("a/b")
        disk.delete("a/b")

    def test_a_file_takes_the_place_of_another_and_is_told_from_it(self, disk: Disk, tmp_path: Path) -> None:
        self.put(disk, tmp_path, "a", b"before")
        (before,) = disk.list()
        self.put(disk, tmp_path, "a", b"after.")
        (after,) = disk.list()
        assert (disk.read("a"), before[:2], before.stamp != after.stamp) == (b"after.", after[:2], True)

    def test_a_list_holds_what_is_below_and_nothing_beside(self, disk: Disk, tmp_path: Path) -> None:
        for key in ("tokens/1", "tokens/0", "tokens2/0", "tokens.json", "tokens/more/0"):
            self.put(disk, tmp_path, key, key.encode())
        assert [entry[:2] for entry in disk.list("tokens")] == [("tokens/0", 8), ("tokens/1", 8), ("tokens/more/0", 13)]
        assert [entry.key for entry in disk.list()] == sorted(
            ["tokens/1", "tokens/0", "tokens2/0", "tokens.json", "tokens/more/0"]
        )
        disk.delete("tokens/0")
        assert [entry.key for entry in disk.list("tokens")] == ["tokens/1", "tokens/more/0"]

    def test_an_odd_name_stays_as_it_is(self, disk: Disk, tmp_path: Path) -> None:
        self.put(disk, tmp_path, ODD, b"odd")
        assert ([entry.key for entry in disk.list("labels")], disk.read(ODD), disk.size(ODD)) == ([ODD], b"odd", 3)
        disk.delete(ODD)
        assert disk.size(ODD) is None

    def test_of_many_who_create_one_succeeds(self, disk: Disk) -> None:
        def create(n: int) -> bool:
            return disk.create("claims/0", str(n).encode())

        with ThreadPoolExecutor(8) as pool:
            won = [n for n, ours in enumerate(pool.map(create, range(8))) if ours]
        assert [str(n).encode() for n in won] == [disk.read("claims/0")]
        assert not disk.create("claims/0", b"later")
        assert disk.read("claims/0") == str(won[0]).encode()

    def test_parquet_is_read_by_columns(self, disk: Disk, tmp_path: Path) -> None:
        table = pa.table({"layer": list(range(50_000)), "weight": [n / 7 for n in range(50_000)]})
        pq.write_table(table, tmp_path / "part", row_group_size=10_000)
        size = (tmp_path / "part").stat().st_size
        disk.put("slots/0", tmp_path / "part")
        file = pq.ParquetFile(source_of(disk, "slots/0", size))
        assert file.read_row_groups([1, 4], columns=["weight"]).equals(
            pa.concat_tables([table.slice(10_000, 10_000), table.slice(40_000)]).select(["weight"])
        )
