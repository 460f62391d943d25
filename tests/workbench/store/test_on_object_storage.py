"""A store at an address is the store in a folder: read, asked, checked, refused and locked alike."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app

from tests.support.refusals import refused
from tests.support.stores import anatomy, assert_same_content, random_tables
from workbench import open_store
from workbench.paths import given_place
from workbench.storage import disk_of
from workbench.store import Store, write_store


def tables() -> dict[str, pd.DataFrame]:
    labels = pd.DataFrame({"prompt_id": ["p0", "p1"], "name": "kind", "value": ["a", "b"], "source": "given"})
    return random_tables(samples=2) | {"labels": labels}


@pytest.fixture
def address() -> str:
    return f"memory://{uuid.uuid4().hex}/stores/x"


@pytest.fixture
def store(address: str) -> Store:
    return write_store(address, anatomy(), tables(), n_shards=2)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return write_store(tmp_path / "store", anatomy(), tables(), n_shards=2)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


class TestReading:
    def test_the_same_tables_and_counts(self, store: Store, local: Store) -> None:
        assert_same_content(store, local)
        assert store.check() == []
        assert str(store.path).startswith("memory://")
        np.testing.assert_array_equal(store.counts().n, local.counts().n)
        np.testing.assert_array_equal(store.routing(2).expert, local.routing(2).expert)
        pd.testing.assert_frame_equal(store.slots_of("p1", 1), local.slots_of("p1", 1), check_categorical=False)
        assert store.info() | {"path": ""} == local.info() | {"path": ""}

    def test_labels_are_added(self, store: Store, address: str) -> None:
        store.add_labels("by hand/1", {"p0": "x"}, "the test")
        found = open_store(address).labels
        assert found["value"][found["name"] == "by hand/1"].tolist() == ["x"]
        assert "already has labels" in refused(store.add_labels, "by hand/1", {"p0": "y"}, "the test")

    def test_the_command_line_reads_it(self, store: Store, local: Store) -> None:
        for words in (["store", "info"], ["store", "check"], ["rank", "usage"]):
            here, there = (run(*words, found.path, "--json") for found in (local, store))
            assert (there.exit_code, there.output) == (0, here.output.replace(str(local.path), str(store.path)))


class TestRefusing:
    def test_what_is_missing_is_said(self, store: Store, address: str) -> None:
        said = refused(open_store, address + "y")
        assert said == f"No plan.json lies in '{address}y', so it is not a store; make one with capture()."
        disk = disk_of(given_place(address))
        disk.delete("slots/00001.parquet")
        assert "slots/00001.parquet is missing" in refused(open_store, address)
        disk.delete("manifest.json")
        assert f"The store '{address}' is half written (2 of 2 shards)" in refused(open_store, address)

    def test_a_changed_file_is_found(self, store: Store, address: str, tmp_path: Path) -> None:
        disk = disk_of(given_place(address))
        content = bytearray(disk.read("slots/00000.parquet"))
        content[100] ^= 1
        (tmp_path / "part").write_bytes(content)
        disk.put("slots/00000.parquet", tmp_path / "part")
        assert store.check() == [
            "slots/00000.parquet does not match its checksum; it changed after the capture, so capture again."
        ]

    def test_a_folder_is_needed_elsewhere(self, store: Store, address: str) -> None:
        said = run("rank", "usage", address, "--scores", f"{address}/scores.csv")
        assert said.exit_code == 2
        assert "lies on object storage; here a file or folder of this machine is needed" in " ".join(
            said.output.split()
        )


class TestQuery:
    def test_select(self, store: Store, local: Store) -> None:
        sql = "select layer, expert, count(*) n, sum(weight) w from slots where layer = 2 group by all order by all"
        pd.testing.assert_frame_equal(store.query(sql), local.query(sql))
        assert store.query("select * from logits").empty

    @pytest.mark.parametrize(
        ("sql", "sentence"),
        [
            ("select * from read_parquet('s3://other/x.parquet')", "Permission Error"),
            ("select * from read_parquet('{address}/slots/00000.parquet')", "Permission Error"),
            ("select * from read_csv('/etc/passwd')", "Permission Error"),
            ("select * from read_parquet('http://127.0.0.1:9/x.parquet')", "Permission Error"),
            ("select * from glob('/etc/*')", "Permission Error"),
            ("select * from frame_of_the_user", "Catalog Error"),
            ("copy slots to '{folder}/stolen.parquet'", "changes nothing; this is COPY"),
            ("attach '{folder}/stolen.db'", "this is ATTACH"),
            ("install httpfs", "this is LOAD"),
            ("load httpfs", "this is LOAD"),
            ("set enable_external_access = true", "this is SET"),
            ("drop view slots", "this is DROP"),
        ],
    )
    def test_nothing_else_is_read_and_nothing_written(
        self, store: Store, address: str, tmp_path: Path, sql: str, sentence: str
    ) -> None:
        frame_of_the_user = pd.DataFrame({"secret": [1]})
        assert sentence in refused(store.query, sql.format(address=address, folder=tmp_path))
        assert not list(tmp_path.iterdir())
        assert len(frame_of_the_user)

    def test_no_folder_is_allowed(self, store: Store) -> None:
        found = store.query("select current_setting('allowed_directories') d, current_setting('allowed_paths') p")
        assert [list(found["d"][0]), list(found["p"][0])] == [[], []]
