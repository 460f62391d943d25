"""A real S3 server keeps what every disk promises; what cannot be reached is one sentence, and no secret is told."""

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.scale.s3_server import BUCKET, SECRET, S3Server
from tests.support.stores import anatomy, assert_same_content, random_tables
from tests.workbench.storage.contract import DiskContract
from workbench import open_store
from workbench.capturing.claims import prove
from workbench.paths import Address
from workbench.storage import Disk, Waiting, disk_of
from workbench.store import copy_store, write_store

ROOT = Path(__file__).parents[2]


def new_place() -> Address:
    return Address("s3", BUCKET, f"stores/{uuid.uuid4().hex}")


def run(server: S3Server, *words: object, **other: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with the server's environment."""
    environment = {**os.environ, **server.environment(), **other}
    command = [sys.executable, "-m", "workbench_app", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


class TestS3(DiskContract):
    @pytest.fixture
    def disk(self, reached: S3Server) -> Disk:
        return disk_of(new_place())

    def test_a_large_file_goes_in_parts(self, disk: Disk, tmp_path: Path) -> None:
        content = os.urandom(1 << 20) * 20
        self.put(disk, tmp_path, "large", content)
        assert (disk.size("large"), disk.read("large", 10_000_000, 1000)) == (
            len(content),
            content[10_000_000:10_001_000],
        )

    def test_it_refuses_to_replace(self, disk: Disk) -> None:
        assert isinstance(disk.place, Address)
        prove(disk.place)


class TestStores:
    def test_copied_there_and_back_and_asked(self, reached: S3Server, tmp_path: Path) -> None:
        store = write_store(tmp_path / "store", anatomy(), random_tables(), n_shards=3)
        there = copy_store(store.path, new_place()).store
        assert_same_content(there, store)
        assert there.check() == []
        sql = "select layer, expert, count(*) n from slots group by all order by all"
        assert there.query(sql).equals(store.query(sql))
        assert copy_store(there.path, tmp_path / "back").store.check() == []
        for words in (["store", "info"], ["store", "check"], ["rank", "usage"]):
            here, said = (run(reached, *words, at.path, "--json") for at in (store, there))
            assert (said.returncode, said.stdout) == (0, here.stdout.replace(str(store.path), str(there.path))), words

    def test_no_secret_is_told(self, reached: S3Server, tmp_path: Path) -> None:
        """Of a capture, a copy, a ranking and refusals: neither what they print nor what they write holds the secret."""
        place, out = new_place(), tmp_path / "out"
        out.mkdir()
        (tmp_path / "prompts.jsonl").write_text('{"id": "a", "text": "hello"}\n')
        captured = ["capture", "demo", tmp_path / "prompts.jsonl", "--store", place, "--json"]
        commands: list[list[Any]] = [
            captured,
            ["store", "info", place, "--json"],
            ["rank", "usage", place, "--scores", out / "scores.json", "--out", out / "plan.json"],
            ["store", "copy", place, out / "copy"],
        ]
        printed = [run(reached, *words) for words in commands]
        assert [said.returncode for said in printed] == [0, 0, 0, 0], printed
        printed += [
            run(reached, "store", "info", place, AWS_SECRET_ACCESS_KEY=f"{SECRET}x"),
            run(reached, "store", "info", place, AWS_ENDPOINT_URL=f"http://{SECRET}@127.0.0.1:9"),
            run(reached, "store", "info", f"s3://key:{SECRET}@bucket/x"),
        ]
        assert [said.returncode for said in printed[4:]] == [2, 2, 2]
        assert not [said.args for said in printed if SECRET in said.stdout + said.stderr]
        disk = disk_of(place)
        written = {entry.key: disk.read(entry.key) for entry in disk.list()}
        written |= {str(file): file.read_bytes() for file in out.rglob("*") if file.is_file()}
        assert len(written) > 10
        assert not [name for name, content in written.items() if SECRET.encode() in content]


class TestRefusing:
    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "refuses this (SignatureDoesNotMatch); check AWS_ACCESS_KEY_ID"),
            ({"AWS_ACCESS_KEY_ID": "nobody"}, "refuses this (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID"),
            (
                {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
                "cannot be reached (error sending request); check the endpoint",
            ),
        ],
    )
    def test_one_sentence_when_a_command_begins(self, reached: S3Server, wrong: dict[str, str], sentence: str) -> None:
        said = run(reached, "store", "info", f"s3://{BUCKET}/stores/x", **wrong)
        assert (said.returncode, said.stdout, len(said.stderr.splitlines())) == (2, "", 1)
        assert sentence in said.stderr

    def test_no_bucket(self, reached: S3Server) -> None:
        said = run(reached, "store", "info", "s3://no-such-bucket/stores/x")
        assert (said.returncode, said.stderr) == (
            2,
            "There is no bucket s3://no-such-bucket; make it, or name another.\n",
        )


def test_an_outage_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is killed under an open store and begun again while a table is asked for."""
    server = S3Server(tmp_path, "outages")
    server.start()
    try:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        place = Address("s3", server.bucket, "stores/x")
        write_store(place, anatomy(), random_tables())
        store = open_store(place)
        server.stop()
        again = threading.Timer(2.0, server.start)
        again.start()
        with pytest.warns(Waiting, match="s3://outages does not answer"):
            n = len(store.table("slots"))
        again.join()
        assert n == len(random_tables()["slots"])
        server.stop()
        monkeypatch.setenv("WORKBENCH_RETRY", "1")
        begun = time.monotonic()
        with pytest.warns(Waiting), pytest.raises(ValueError, match="no longer answers"):
            store.table("slots")
        assert time.monotonic() - begun < 60
    finally:
        server.stop()
