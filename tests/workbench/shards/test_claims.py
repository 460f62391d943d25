"""Captures onto object storage: who writes a shard is a claim, which nobody can take from a writer that lives."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.families import get
from tests.support.refusals import refused
from tests.support.stores import assert_same_content
from tests.workbench.capturing.small import quiet
from workbench import open_store
from workbench.capturing import claims
from workbench.capturing.claims import Claims, prove
from workbench.capturing.sharing import open_shards
from workbench.model import MoEModel
from workbench.paths import Address
from workbench.shards import ShardWriter, receipt_path
from workbench.storage import Bucket, create_json, disk_of, read_json, write_json

SMALL: dict[str, Any] = {"batch_tokens": 1, "shard_tokens": 1}


@pytest.fixture(scope="module")
def model() -> MoEModel:
    return get("qwen2_moe")


@pytest.fixture
def place() -> Address:
    return Address("memory", uuid.uuid4().hex, "stores/x")


def files(place: Address) -> list[str]:
    return [entry.key for entry in disk_of(place).list()]


class TestCapture:
    def test_it_is_the_store_of_a_folder(self, model: MoEModel, place: Address, tmp_path: Path) -> None:
        there = quiet(model, place, **SMALL)
        here = quiet(model, tmp_path / "store", **SMALL)
        assert_same_content(there, here)
        assert there.check() == []
        listed = {file["path"] for file in there.listed}
        assert set(files(place)) == listed | {"plan.json", "manifest.json"} | {receipt_path(n) for n in range(4)}

    def test_it_goes_on_and_repeats_no_shard(self, model: MoEModel, place: Address) -> None:
        before = quiet(model, place, **SMALL)
        kept = {shard["shard"]: shard for shard in before.manifest["shards"]}
        disk = disk_of(place)
        for gone in ("manifest.json", receipt_path(2)):
            disk.delete(gone)
        after = quiet(model, place, **SMALL)
        changed = [shard["shard"] for shard in after.manifest["shards"] if shard != kept[shard["shard"]]]
        assert (changed, after.check()) == ([2], []), "the files of the first writer of shard 2 are swept away"
        assert quiet(model, place, **SMALL).manifest == after.manifest

    def test_a_torn_upload_is_no_shard(self, model: MoEModel, place: Address, monkeypatch: pytest.MonkeyPatch) -> None:
        """An upload that fails between two tables of a shard leaves no receipt, and what it left is swept away."""
        put, uploads = Bucket.put, list[str]()

        def torn(self: Bucket, key: str, part: Path, **how: Any) -> None:
            uploads.append(key)
            if len(uploads) == 8:
                raise ConnectionError("cut")
            put(self, key, part, **how)

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "put", torn)
            with pytest.raises(ConnectionError):
                quiet(model, place, **SMALL)
        assert len([name for name in files(place) if name.startswith("shards/")]) < 4
        monkeypatch.setattr(claims, "STALE", -1.0)  # whoever claimed died here
        store = quiet(model, place, **SMALL)
        assert store.check() == []


class TestStale:
    def test_a_minute_unless_it_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WORKBENCH_STALE", raising=False)
        assert claims.seconds() == (10.0, 60.0)
        monkeypatch.setenv("WORKBENCH_STALE", "12")
        assert claims.seconds() == (2.0, 12.0)

    @pytest.mark.parametrize("given", ["soon", "0", "-3", "nan"])
    def test_no_number_is_refused_before_anything_is_written(
        self, given: str, model: MoEModel, place: Address, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WORKBENCH_STALE", given)
        said = refused(quiet, model, place, **SMALL)
        assert said == f"WORKBENCH_STALE='{given}' is no number of seconds; set it to one, such as 60."
        assert files(place) == []


class TestClaims:
    def test_a_shard_has_one_owner_until_its_claim_is_stale(
        self, place: Address, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [1000.0]
        monkeypatch.setattr(claims.time, "monotonic", lambda: clock[0])
        dead, alive = Claims(place), Claims(place)
        create_json(place, "claims/00000.0001.json", {"owner": dead.owner, "beats": 0})  # and nobody beats

        def tried() -> bool:
            with alive.held(0, alive.latest().get(0)) as ours:
                return ours

        assert [tried(), tried()] == [False, False]
        clock[0] += claims.STALE - 1
        assert not tried()
        write_json(place, "claims/00000.0001.json", {"owner": dead.owner, "beats": 1})
        clock[0] += claims.STALE - 1
        assert not tried(), "it was written meanwhile"
        clock[0] += claims.STALE + 1
        assert tried()
        assert alive.latest()[0][0] == 2, "the next generation"
        with dead.held(0, (1, alive.latest()[0][1])) as ours:
            assert not ours, "of two who take the same generation one succeeds"

    def test_an_owner_writes_its_claim_again(self, place: Address, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(claims, "BEAT", 0.0)
        ours = Claims(place)
        with ours.held(3, None) as held:
            assert held
            while not read_json(place / "claims/00003.0001.json")["beats"]:
                pass
        assert read_json(place / "claims/00003.0001.json")["owner"] == ours.owner

    def test_every_shard_is_given_out_once(self, place: Address) -> None:
        both = [open_shards(place, 5, rank, 2, Claims(place)) for rank in (0, 1)]
        given = [next(both[0]), next(both[1])]
        for shard in given:
            create_json(place, receipt_path(shard), {})
        given += [next(both[1]), next(both[0])]
        for shard in given[2:]:
            create_json(place, receipt_path(shard), {})
        last = next(both[0])
        create_json(place, receipt_path(last), {})
        assert [*both[0], *both[1]] == []
        assert (sorted([*given, last]), given[:2]) == ([0, 1, 2, 3, 4], [0, 2])

    def test_two_writers_of_a_shard_are_harmless(self, place: Address) -> None:
        receipts = []
        for owner in ("first", "second"):
            with ShardWriter(place, 0, ["tokens"], owner) as shard:
                receipts.append(shard.publish({"batches": [], "by": owner}))
        assert [receipt["by"] for receipt in receipts] == ["first", "first"]
        assert files(place) == ["shards/00000.json", "tokens/00000-first.parquet"]


class TestStorageThatReplaces:
    @pytest.fixture
    def replacing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Storage that ignores the condition, as some servers do: every write succeeds."""

        def create(self: Bucket, key: str, content: bytes) -> bool:
            part = Path(f"/tmp/{uuid.uuid4().hex}")
            part.write_bytes(content)
            self.put(key, part)
            return True

        monkeypatch.setattr(Bucket, "create", create)

    def test_it_is_found_out(self, place: Address) -> None:
        prove(place)
        assert files(place) == []

    def test_it_is_refused_before_anything_is_written(self, model: MoEModel, place: Address, replacing: None) -> None:
        said = refused(quiet, model, place)
        assert said.startswith(
            f"memory://{place.bucket} replaces an object where it was asked to write only if there is none"
        )
        assert "--single-writer" in said
        assert files(place) == []

    def test_one_writer_may(self, model: MoEModel, place: Address, replacing: None, tmp_path: Path) -> None:
        store = quiet(model, place, single_writer=True, **SMALL)
        assert open_store(place).check() == []
        assert_same_content(store, quiet(model, tmp_path / "store", **SMALL))
        assert json.loads(disk_of(place).read("manifest.json")) == store.manifest
