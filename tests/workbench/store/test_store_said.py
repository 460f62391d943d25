"""What a small store says of itself, to the letter: info, repr, tables, every sentence about damage; and its files."""

import copy
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import workbench.shards.shards as shards
import workbench.shards.table_file as table_file
from tests.support.stores import anatomy
from workbench import Plan, __version__
from workbench.errors import WorkbenchError
from workbench.generation import SHARD_TOKENS
from workbench.shards import ShardWriter, check_seal, conform, parts, stored_schema
from workbench.shards.manifest import sealed
from workbench.storage import disk_of
from workbench.store import Store, open_store, write_store

SLOTS = [  # prompt, position, layer, slot, expert, weight
    ("q", 0, 1, 0, 4, 0.5),
    ("q", 0, 2, 0, 1, 0.25),
    ("q", 1, 1, 0, 3, 1.0),
    ("p", 0, 1, 0, 0, 0.75),
    ("p", 0, 2, 0, 2, 0.125),
]
KEPT = ("logits", "outputs", "router_inputs", "inner", "matrices", "routers", "directions", "alignments")
NONFINITE = [("q", 0, 1, "output", 4, 2, 1, 0)]


def tables(**more: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Prompt q before p; the tokens and slots of q come last first."""
    tokens = [("q", 2, 7), ("q", 1, 6), ("q", 0, 5), ("p", 0, 8)]
    return {
        "prompts": pd.DataFrame({"prompt_id": ["q", "p"], "text": ["two words", "x"], "n_tokens": [2, 1]}),
        "tokens": pd.DataFrame(tokens, columns=["prompt_id", "position", "token_id"]).assign(sample=0),
        "slots": pd.DataFrame(SLOTS, columns=["prompt_id", "position", "layer", "slot", "expert", "weight"]).assign(
            sample=0
        ),
        **more,
    }


def nonfinite() -> pd.DataFrame:
    columns = ["prompt_id", "sample", "layer", "what", "expert", "n_tokens", "n_own", "first_position"]
    return pd.DataFrame(NONFINITE, columns=columns)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    labels = pd.DataFrame({"prompt_id": ["q", "p"], "name": ["b", "a"], "value": ["1", "2"], "source": ["given"] * 2})
    return write_store(tmp_path / "s", anatomy(), tables(labels=labels), n_shards=2, lacks=["norms", "residual"])


def changed(store: Store, plan: dict[str, Any] | None = None, **manifest: Any) -> Store:
    return Store(store.path, store.plan_json | (plan or {}), {**copy.deepcopy(store.manifest), **manifest})


def checked(store: Store) -> list[dict[str, Any]]:
    return [{**shard, "finite_checked": True} for shard in store.manifest["shards"]]


class TestSaid:
    def test_info(self, store: Store) -> None:
        assert store.info() == {
            "path": str(store.path),
            "model": {"name": "synthetic", "weights": "w"},
            "dtype": None,
            "fingerprint": anatomy().fingerprint,
            "steering": None,
            "options": {"samples": 1},
            "lacks": {
                **{name: f"capture(..., keep={{'{name.replace('inputs', 'input')}'}})" for name in KEPT},
                **dict.fromkeys(["residual", "norms"], "a capture by another engine"),
            },
            "prompts": 2,
            "labels": ["a", "b"],
            "rows": {"prompts": 2, "tokens": 4, "slots": 5}
            | dict.fromkeys(
                ["responses", "residual", *KEPT, "nonfinite"],
                0,
            ),
            "shards": 2,
            "size_bytes": sum(file.stat().st_size for file in store.path.rglob("*.parquet")),
            "nonfinite": None,
            "warnings": [],
            "versions": {"workbench": __version__},
        }
        about = changed(store, {"dtype": "bfloat16"}, shards=checked(store), warnings=["Look."]).info()
        assert (about["dtype"], about["nonfinite"], about["warnings"]) == ("bfloat16", "", ["Look."])

    def test_what_a_killed_process_left_goes(self, tmp_path: Path) -> None:
        left = tmp_path / "s/.writing/slots+00000.parquet.x.part"
        left.parent.mkdir(parents=True)
        left.write_text("half")
        write_store(tmp_path / "s", anatomy(), tables())
        assert not left.exists()

    def test_repr(self, store: Store) -> None:
        said = f"Store('{store.path}': synthetic, 2 prompts, 4 tokens, 5 slots, without norms, residual)"
        assert repr(store) == said
        steered = changed(store, {"steering": json.loads(Plan.off("L1E3").to_json()), "lacks": []}, rows={})
        assert repr(steered) == f"Store('{store.path}': synthetic, 2 prompts, 0 tokens, 0 slots, steered with off L1E3)"
        assert changed(store, {"lacks": []}).untold == ()

    def test_values_that_are_not_finite(self, tmp_path: Path) -> None:
        store = write_store(tmp_path / "s", anatomy(), tables(nonfinite=nonfinite()), n_shards=2)
        assert repr(store).endswith("2 prompts, 4 tokens, 5 slots, with values that are not finite)")
        said = "Values are not finite, first in layer 1: output of L1E4 at 2 tokens."
        assert store.info()["nonfinite"] == said  # a shard that was not looked through, but has rows
        assert store.check() == [f"{said} Store.nonfinite counts them."]
        assert store.nonfinite.values.tolist() == [["q", 0, 1, "output", 4, 2, 1, 0]]
        assert not store.counts_finite
        half = checked(store)
        del half[1]["finite_checked"]
        assert not changed(store, shards=half).counts_finite
        assert changed(store, shards=checked(store)).counts_finite

    def test_tables_in_canonical_order(self, store: Store) -> None:
        assert store.prompt_ids == ["q", "p"]
        assert store.table("tokens", ["token_id"]).values.tolist() == [[5], [6], [7], [8]]
        assert store.table("slots", ["expert", "layer"], layers=[2]).values.tolist() == [[1, 2], [2, 2]]
        found = store.table("slots", ["prompt_id", "position", "layer", "slot", "expert", "weight"])
        assert found.astype({"prompt_id": str}).values.tolist() == [
            *[list(row) for row in (SLOTS[0], SLOTS[2], SLOTS[1])],
            *[list(row) for row in SLOTS[3:]],
        ]
        assert store.labels[["prompt_id", "name", "value"]].values.tolist() == [["q", "b", "1"], ["p", "a", "2"]]
        assert [part.n_rows for part in store.parts("slots")] == [2, 1, 1, 1]
        assert [part.layer for part in store.parts("slots", layers=[2])] == [2, 2]

    @pytest.mark.parametrize(
        ("table", "has"), [("residual", "-1, 0, 1, 2"), ("nonfinite", "-1, 0, 1, 2, 3"), ("slots", "1, 2")]
    )
    def test_layers_that_there_are(self, tmp_path: Path, table: str, has: str) -> None:
        stream = pd.DataFrame({"prompt_id": ["q"], "sample": 0, "position": 0, "layer": 2, "l2": 1.5})
        store = write_store(tmp_path / "s", anatomy(), tables(residual=stream, nonfinite=nonfinite()))
        with pytest.raises(WorkbenchError) as caught:
            store.table(table, layers=[1, 4])
        assert str(caught.value) == f"The table {table} of '{store.path}' has no layer 4; it has {has}."
        for layer in map(int, has.split(",")):
            store.table(table, layers=[layer])

    def test_sentences_of_opening(self, store: Store) -> None:
        def said() -> str:
            with pytest.raises(WorkbenchError) as caught:
                open_store(store.path)
            return str(caught.value).replace(str(store.path), "S")

        files = {name: (store.path / name).read_text() for name in ("plan.json", "manifest.json")}
        damaged = "does not match its checksum, so it changed after the capture; take a copy of the store, or capture it again."
        for name in files:
            (store.path / name).write_text(files[name].replace("synthetic", "other").replace('"rows": 3', '"rows": 5'))
            assert said() == f"The store 'S' is damaged: {name} {damaged}"
            (store.path / name).write_text(files[name])
        tokens = store.path / "tokens/00000.parquet"
        content = tokens.read_bytes()
        tokens.write_bytes(content + b"!")
        wrong = (
            f"tokens/00000.parquet has {len(content) + 1} bytes, the manifest says {len(content)}; capture again. "
            f"`workbench store check` lists what is wrong."
        )
        assert said() == f"The store 'S' is damaged: {wrong}"
        (store.path / "slots/00001.parquet").unlink()
        assert said() == f"The store 'S' is damaged (2 files are wrong): {wrong}"
        assert len(open_store(store.path, damaged=True).check()) == 2

    def test_the_seal_does_not_mind_the_order_of_keys(self, tmp_path: Path) -> None:
        (tmp_path / "plan.json").write_text("{}")
        plan = hashlib.sha256(b"{}").hexdigest()
        whole = f'{{"a": [1], "b": "x", "plan_sha256": "{plan}"}}'
        expected = {"b": "x", "a": [1], "plan_sha256": plan, "sha256": hashlib.sha256(whole.encode()).hexdigest()}
        assert sealed(tmp_path, {"b": "x", "a": [1]}) == expected
        check_seal(tmp_path, dict(reversed(expected.items())))

    def test_sentences_of_check(self, store: Store) -> None:
        manifest = copy.deepcopy(store.manifest)
        by_path = {file["path"]: file for shard in manifest["shards"] for file in shard["files"]}
        by_path["tokens/00001.parquet"]["rows"] = 7
        by_path["slots/00000.parquet"]["sha256"] = "0"
        text = store.path / "slots/00001.parquet"
        text.write_bytes(b"no parquet here")
        by_path["slots/00001.parquet"] |= {
            "size_bytes": 15,
            "sha256": hashlib.sha256(b"no parquet here").hexdigest(),
        }
        (store.path / "tokens/00000.parquet").unlink()
        (store.path / "slots/b.tmp").write_text("")
        (store.path / "slots/a.tmp").write_text("")
        found = Store(store.path, store.plan_json | {"shards": [0, 1, 2]}, manifest).check()
        surplus = "is not in the manifest; remove it if you did not put it there."
        assert [x for x in found if "is not a Parquet file" not in x] == [
            "tokens/00000.parquet is missing; capture the store again.",
            "slots/00000.parquet does not match its checksum; it changed after the capture, so capture again.",
            "tokens/00001.parquet has 1 rows, the manifest says 7.",
            "Shard 2 of the plan is not in the manifest.",
            f"slots/a.tmp {surplus}",
            f"slots/b.tmp {surplus}",
        ]
        assert found[3].startswith("slots/00001.parquet is not a Parquet file (")
        assert found[3].endswith("); capture the store again.")

    def test_a_damaged_file_is_one_sentence(self, store: Store) -> None:
        (store.path / "slots/00000.parquet").write_bytes(b"")
        with pytest.raises(WorkbenchError) as caught:
            store.table("slots")
        start, end = str(caught.value).split(" (", 1)
        assert start == f"A file of the store '{store.path}' cannot be read"
        assert end.endswith("); `workbench store check` says which.")


def rows(layer: int, n: int, name: str = "slots", width: int = 0) -> pa.RecordBatch:
    keys = {"prompt_id": pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), ["a"])}
    numbers = {k: np.zeros(n, np.int32) for k in ("sample", "position", "slot", "expert")}
    columns: dict[str, Any] = {
        **keys,
        **numbers,
        "layer": np.full(n, layer, np.int32),
        "weight": np.ones(n, np.float32),
    }
    if width:
        offsets = pa.array(np.arange(0, (n + 1) * width, width), pa.int32())
        columns["output"] = pa.ListArray.from_arrays(offsets, pa.array(np.ones(n * width, np.float32)))
    return conform(name, columns, n)


class TestShards:
    def groups(self, path: Path, name: str, batches: list[pa.RecordBatch]) -> list[tuple[int | None, list[int]]]:
        """(layer, rows of each of its row groups) of a shard of these batches."""
        with ShardWriter(path, 0, [name]) as shard:
            for batch in batches:
                shard.put({name: partial(iter, [batch])})
            shard.publish({})
        found = parts(disk_of(path), {f"{name}/00000.parquet": None})
        return [(part.layer, [part.metadata.row_group(i).num_rows for i in part.row_groups]) for part in found]

    def test_what_is_gathered_into_a_row_group(self, tmp_path: Path) -> None:
        """65,536 rows of one layer, or 4,096 rows of two mebibytes or more together."""
        assert (table_file.ROWS_GATHERED, SHARD_TOKENS, shards.BATCHES_WAITING) == (65_536, 65_536, 2)
        slots = [rows(1, 4_096), rows(2, 3), rows(1, 4_096)]  # narrow ones wait for more
        assert sorted(self.groups(tmp_path / "a", "slots", slots)) == [(1, [8_192]), (2, [3])]
        tokens = [rows(1, n, "tokens") for n in (65_536, 65_535, 1, 5)]
        assert self.groups(tmp_path / "c", "tokens", tokens) == [(None, [65_536, 65_536, 5])]
        wide = [rows(1, 4_096, "outputs", 128), rows(1, 4_095, "outputs", 300), rows(1, 1, "outputs", 4)]
        assert self.groups(tmp_path / "b", "outputs", [*wide, rows(1, 9, "outputs", 4)]) == [(1, [4_096, 4_096, 9])]

    def test_a_receipt(self, tmp_path: Path) -> None:
        with ShardWriter(tmp_path, 3, ["slots", "tokens", "nonfinite"]) as shard:
            shard.put({"slots": partial(iter, [rows(1, 4), rows(1, 0)]), "nonfinite": partial(iter, [])})
            receipt = shard.publish({"batches": [6, 7]})

        def line(name: str, n: int) -> dict[str, Any]:
            data = (tmp_path / name / "00003.parquet").read_bytes()
            sha = hashlib.sha256(data).hexdigest()
            path = f"{name}/00003.parquet"
            return {"table": name, "path": path, "size_bytes": len(data), "sha256": sha, "rows": n}

        assert receipt == {"shard": 3, "batches": [6, 7], "files": [line("slots", 4), line("tokens", 0)]}
        assert json.loads((tmp_path / "shards/00003.json").read_text()) == receipt
        assert not (tmp_path / "nonfinite").exists()
        assert pq.read_metadata(tmp_path / "tokens/00003.parquet").num_rows == 0
        assert not list((tmp_path / ".writing").iterdir())

    def test_two_batches_wait_for_the_writer_and_no_third(self, tmp_path: Path) -> None:
        import threading

        go = threading.Event()

        def slowly() -> Any:
            go.wait(20)
            yield rows(1, 1)

        with ShardWriter(tmp_path, 0, ["slots", "tokens"]) as shard:
            shard.put({"slots": slowly})
            assert shard.room.acquire(blocking=False)
            shard.room.release()
            shard.put({"slots": slowly, "tokens": partial(iter, [])})
            assert not shard.room.acquire(blocking=False)
            go.set()
            for future in shard.futures:
                future.result()
            assert shard.room.acquire(blocking=False), "a batch leaves when the last of its tables was written"
            assert shard.room.acquire(blocking=False)
            shard.room.release()
            shard.room.release()
            assert shard.publish({})["files"][0]["rows"] == 2

    def test_how_columns_lie(self, tmp_path: Path) -> None:
        """Words by a dictionary, most numbers split by bytes; statistics for what chooses row groups; no key is null."""
        self.groups(tmp_path, "slots", [rows(1, 2_000)])
        group = pq.read_metadata(tmp_path / "slots/00000.parquet").row_group(0)
        found = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        for name, column in found.items():
            is_split = name in ("weight", "output_l2", "output_max_abs", "position", "expert", "output_argmax")
            assert column.has_dictionary_page == (name == "prompt_id"), name
            assert ("BYTE_STREAM_SPLIT" in column.encodings) == is_split, name
            assert (column.statistics is not None) == (name in ("prompt_id", "layer")), name
        schema = pq.read_schema(tmp_path / "slots/00000.parquet")
        keys = ["prompt_id", "sample", "position", "layer", "slot", "expert"]
        assert [f.name for f in schema if not f.nullable] == keys
        assert {f.name: str(f.type) for f in schema}["prompt_id"].startswith("dictionary<values=string, indices=int32")
        named = {f.name for f in stored_schema("nonfinite") if not f.nullable}
        assert named == {"prompt_id", "sample", "layer"}, "what is no expert's has none"
        assert stored_schema("labels").field("prompt_id").nullable
