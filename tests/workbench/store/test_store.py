"""A store on disk: tables, queries, labels, checks, and what it says about damage. No model is needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import KEY, anatomy, random_store, random_tables
from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError
from workbench.store import Store, open_store, write_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return random_store(tmp_path / "store", n_shards=2, samples=2, n_shared=1)


@given(seed=st.integers(0, 10**6), n_prompts=st.integers(1, 5), samples=st.integers(1, 3), n_shards=st.integers(1, 4))
@settings(max_examples=12, deadline=None)
def test_tables_round_trip(tmp_path_factory: Any, seed: int, n_prompts: int, samples: int, n_shards: int) -> None:
    shape = anatomy(n_shared=seed % 2)
    tables = random_tables(seed, n_prompts, samples, shape=shape)
    shuffled = {name: frame.sample(frac=1, random_state=seed) for name, frame in tables.items() if name != "prompts"}
    path = tmp_path_factory.mktemp("stores") / "store"
    store = write_store(path, shape, {"prompts": tables["prompts"], **shuffled}, n_shards=min(n_shards, n_prompts))
    assert store.check() == []
    for name in ("tokens", "slots"):
        order = [k for k in KEY if k in tables[name]]
        expected = tables[name].sort_values(order, ignore_index=True)
        found = store.table(name, list(expected.columns))
        found = found.assign(prompt_id=found["prompt_id"].astype(str)).sort_values(order, ignore_index=True)
        found = found.assign(**({"role": found["role"].astype(str)} if name == "tokens" else {}))
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


def test_tokens_are_in_canonical_order(store: Store) -> None:
    tokens = store.tokens
    assert store.prompt_ids == store.prompts["prompt_id"].tolist()
    assert tokens["prompt_id"].cat.codes.is_monotonic_increasing
    assert list(tokens["prompt_id"].cat.categories) == store.prompt_ids
    keys = list(zip(tokens["prompt_id"].cat.codes, tokens["sample"], tokens["position"], strict=True))
    assert keys == sorted(keys)


def test_columns_and_layers_are_chosen(store: Store) -> None:
    frame = store.table("slots", ["expert", "layer"], layers=[2])
    assert list(frame.columns) == ["expert", "layer"]
    assert set(frame["layer"]) == {2}
    assert len(frame) + len(store.table("slots", layers=[1])) == len(store.table("slots"))
    assert {batch.column("layer")[0].as_py() for batch in store.scan("slots")} == {1, 2}
    assert all(len(set(batch.column("layer").to_pylist())) == 1 for batch in store.scan("slots"))


def test_the_routed_slots_of_one_response(store: Store) -> None:
    whole: Any = store.table("slots").astype({"prompt_id": str})
    for prompt in store.prompt_ids:
        wanted = whole[(whole["prompt_id"] == prompt) & (whole["sample"] == 0) & (whole["slot"] >= 0)]
        found = store.slots_of(prompt).astype({"prompt_id": str})
        assert len(found)
        assert found.to_dict("list").keys() == wanted.to_dict("list").keys()
        pd.testing.assert_frame_equal(found, wanted.reset_index(drop=True), check_dtype=False)
    assert store.slots_of(store.prompt_ids[0], 7).empty
    assert store.slots_of("no such prompt").empty
    file = store.path / store.files("slots")[0]
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(WorkbenchError, match=r"cannot be read .*; `workbench store check` says which"):
        store.slots_of(store.prompt_ids[0])


def test_columns_not_kept_are_null(store: Store) -> None:
    assert store.table("slots")["output_l2"].isna().all()
    assert store.query("select count(*) n from slots where output_l2 is null")["n"][0] == len(store.table("slots"))


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda s: s.table("slot"), r"no table 'slot'; it has prompts, .*; did you mean 'slots'\?"),
        (lambda s: s.table("slots", ["expart"]), r"slots has no column 'expart'; .*; did you mean 'expert'\?"),
        (lambda s: s.table("slots", layers=[0]), r"slots of '.*' has no layer 0; it has 1, 2\."),
        (lambda s: s.table("logits"), "kept no logits; capture it again with keep including 'logits'"),
        (lambda s: s.mean_output(ExpertRef(1, 0)), "kept no outputs"),
        (lambda s: s.mean_output(ExpertRef(1, 9)), "L1E9: layer 1 of synthetic has experts 0-4"),
    ],
)
def test_unknown_names_are_refused(store: Store, ask: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        ask(store)


def test_mean_output(tmp_path: Path) -> None:
    rows = [
        ("p0", 0, 0, 1, 0, 3, [1.0, 2, 3, 4]),
        ("p0", 0, 1, 1, 1, 3, [3.0, 2, 1, 0]),
        ("p0", 0, 0, 1, 1, 2, [9.0] * 4),
    ]
    columns = ["prompt_id", "sample", "position", "layer", "slot", "expert", "output"]
    tables = random_tables(n_prompts=1) | {"outputs": pd.DataFrame(rows, columns=columns)}
    store = write_store(tmp_path / "store", anatomy(), tables)
    assert store.mean_output(ExpertRef(1, 3)).tolist() == [2, 2, 2, 2]
    with pytest.raises(WorkbenchError, match="has no output vector of L1E0"):
        store.mean_output(ExpertRef(1, 0))


class TestOpening:
    def test_an_opened_store_holds_what_was_written(self, tmp_path: Path) -> None:
        """Against the frames that were given, and not against the store that wrote them."""
        given = random_tables(3, n_prompts=5, samples=2)
        write_store(tmp_path / "store", anatomy(), given, n_shards=2)
        opened = open_store(tmp_path / "store")
        assert (opened.n_prompts, opened.n_samples, opened.layers) == (5, 2, (1, 2))
        for name, columns in (("prompts", ["prompt_id", "n_tokens"]), ("tokens", [*KEY[:3], "token_id"])):
            found = opened.table(name).astype({"prompt_id": str})[columns].to_numpy().tolist()
            assert sorted(found) == sorted(given[name][columns].to_numpy().tolist())
        columns = [*KEY[:5], "expert"]
        found = opened.table("slots").astype({"prompt_id": str})[columns].to_numpy().tolist()
        assert sorted(found) == sorted(given["slots"][columns].to_numpy().tolist())

    def test_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(WorkbenchError, match=r"There is no folder '.*nowhere', so it is not a store"):
            open_store(tmp_path / "nowhere")
        with pytest.raises(WorkbenchError, match=r"No plan\.json lies in '.*', so it is not a store"):
            open_store(tmp_path)

    def test_half_written(self, store: Store) -> None:
        (store.path / "manifest.json").unlink()
        (store.path / "shards/00001.json").unlink()
        with pytest.raises(
            WorkbenchError,
            match=r"is half written \(1 of 2 shards\); if no capture runs there now, run the same capture into it again",
        ):
            open_store(store.path)

    def test_other_schema_version(self, store: Store) -> None:
        plan = json.loads((store.path / "plan.json").read_text())
        (store.path / "plan.json").write_text(json.dumps(plan | {"schema_version": 99}))
        with pytest.raises(WorkbenchError, match="has schema version 99, this workbench reads 1, 2;"):
            open_store(store.path)

    def test_damaged_manifest(self, store: Store) -> None:
        (store.path / "manifest.json").write_text('{"rows": ')
        with pytest.raises(WorkbenchError, match=r"manifest\.json' is damaged"):
            open_store(store.path)

    def test_no_torch(self, store: Store) -> None:
        code = (
            "import sys; from workbench.store import open_store; "
            f"open_store({str(store.path)!r}).counts(); assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


class TestCheck:
    def test_sound(self, store: Store) -> None:
        assert store.check() == []

    def test_flipped_byte(self, store: Store) -> None:
        file = store.path / "slots/00001.parquet"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert [p for p in store.check() if "slots/00001.parquet does not match its checksum" in p]

    def test_truncated_missing_and_surplus(self, store: Store) -> None:
        file = store.path / "slots/00001.parquet"
        file.write_bytes(file.read_bytes()[:-10])
        (store.path / "tokens/00000.parquet").unlink()
        (store.path / "slots/00007.parquet").write_bytes(b"")
        found = "\n".join(store.check())
        assert "slots/00001.parquet has" in found
        assert "tokens/00000.parquet is missing" in found
        assert "slots/00007.parquet is not in the manifest" in found
        assert len(store.check()) == 3


class TestLabels:
    def test_add(self, store: Store) -> None:
        store.add_labels("refused", {"p0": True, "p1": False, "p2": None}, "the test")
        found = store.labels.set_index("prompt_id")
        assert found["value"].to_dict() == {"p0": "true", "p1": "false"}
        assert found["sample"].isna().all()
        assert set(found["source"]) == {"the test"}
        assert store.check() == []
        store.add_labels("refused", {"p0": True, "p1": False}, "the test")  # again: nothing happens
        store.add_labels("refused", {"p0": False}, "the test", replace=True)
        assert open_store(store.path).labels["value"].tolist() == ["false"]

    def test_the_same_again_writes_nothing_and_any_difference_is_refused(self, store: Store) -> None:
        """Same means the same prompts, samples, values and source; each of the four alone makes a difference."""
        given = pd.DataFrame({"prompt_id": ["p0", "p1"], "sample": [0, 1], "value": ["a", "b"]})
        store.add_labels("x", given, "the test")
        file = store.path / "labels/x.parquet"
        before = (file.read_bytes(), file.stat().st_ino)
        store.add_labels("x", given.iloc[::-1], "the test")
        assert (file.read_bytes(), file.stat().st_ino) == before
        others = {
            "prompt_id": given.assign(prompt_id=["p0", "p2"]),
            "sample": given.assign(sample=[0, 0]),
            "every sample": given.drop(columns="sample"),
            "value": given.assign(value=["a", "c"]),
            "fewer": given[:1],
        }
        for what, values in others.items():
            with pytest.raises(WorkbenchError, match="already has labels 'x'"):
                store.add_labels("x", values, "the test")
            assert (file.read_bytes(), file.stat().st_ino) == before, what
        with pytest.raises(WorkbenchError, match="already has labels 'x'"):
            store.add_labels("x", given, "another test")

    @pytest.mark.parametrize(("sample", "known"), [(-1, False), (0, True), (1, True), (2, False)])
    def test_samples_are_those_of_the_store(self, store: Store, sample: int, known: bool) -> None:
        values = pd.DataFrame({"prompt_id": ["p0"], "sample": [sample], "value": ["a"]})
        if known:
            store.add_labels("x", values, "the test")
            assert store.labels["sample"].tolist() == [sample]
            return
        with pytest.raises(WorkbenchError, match=rf"name sample {sample} of 'p0'; .* has samples 0-1"):
            store.add_labels("x", values, "the test")
        assert store.labels.empty

    def test_per_sample(self, store: Store) -> None:
        values = pd.DataFrame({"prompt_id": ["p0", "p0"], "sample": [0, 1], "value": ["a", "b"]})
        store.add_labels("a/b c", values, "the test")
        assert store.labels[["sample", "name", "value"]].values.tolist() == [[0, "a/b c", "a"], [1, "a/b c", "b"]]

    @pytest.mark.parametrize(
        ("name", "values", "sentence"),
        [
            ("x", {"q": 1}, "name the prompt 'q', which '.*' does not have"),
            ("given", {"p0": 1}, "Labels cannot be called 'given'"),
            ("", {"p0": 1}, "Labels cannot be called ''"),
            ("x", pd.DataFrame({"prompt_id": ["p0"]}), "have columns prompt_id; they need prompt_id and value"),
            ("x", pd.DataFrame({"prompt_id": ["p0"] * 2, "value": [1, 2]}), "give 'p0' two values"),
            ("x", pd.DataFrame({"prompt_id": ["p0"], "sample": [5], "value": [1]}), "name sample 5 of 'p0'; .* 0-1"),
        ],
    )
    def test_refused(self, store: Store, name: str, values: Any, sentence: str) -> None:
        with pytest.raises(WorkbenchError, match=sentence):
            store.add_labels(name, values, "the test")
        assert store.labels.empty

    def test_name_in_use(self, store: Store) -> None:
        store.add_labels("x", {"p0": 1}, "the test")
        with pytest.raises(WorkbenchError, match="already has labels 'x'; pass replace=True"):
            store.add_labels("x", {"p0": 2}, "the test")
        assert store.labels["value"].tolist() == ["1"]


class TestQuery:
    def test_select(self, store: Store) -> None:
        found = store.query("select layer, count(*) n from slots group by all order by all")
        assert found["n"].sum() == len(store.table("slots"))
        assert store.query("select * from logits").empty

    @pytest.mark.parametrize(
        ("sql", "sentence"),
        [
            ("copy slots to '{path}/stolen.parquet'", "runs one SELECT and changes nothing; this is COPY"),
            ("select 1; select 2", "this is SELECT and SELECT"),
            ("select * from read_csv('/etc/passwd')", "The query failed: Permission Error"),
            ("set enable_external_access = true", "this is SET"),
            ("selct 1", "The query failed: Parser Error"),
            ("attach '{path}/stolen.db'", "this is ATTACH"),
            ("install httpfs", "this is LOAD"),
            ("select * from read_csv('{path}/../stolen.csv')", "Permission Error"),
            ("select * from query('copy slots to x')", "Expected a single SELECT"),
            ("select * from read_parquet('http://127.0.0.1:9/stolen.parquet')", "Permission Error"),
            ("select '\ud800'", "half of a surrogate pair"),
            ("select expart from slots", "The query failed: Binder Error"),
        ],
    )
    def test_refused(self, store: Store, sql: str, sentence: str) -> None:
        with pytest.raises(WorkbenchError, match=sentence):
            store.query(sql.format(path=store.path))
        assert not list(store.path.rglob("stolen*"))

    def test_may_read_the_store_alone(self, store: Store) -> None:
        """Not even the folder that DuckDB would spill to, which is where the user happens to be."""
        found = store.query("select unnest(current_setting('allowed_directories')) as folder")
        assert found["folder"].tolist() == [f"{store.path.resolve()}/"]

    def test_without_duckdb(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "duckdb", None)
        with pytest.raises(WorkbenchError, match="needs DuckDB, which is not installed; run `pip install duckdb`"):
            store.query("select 1")


class TestWriting:
    def test_refuses_a_second_store(self, store: Store) -> None:
        before = (store.path / "manifest.json").read_bytes()
        with pytest.raises(WorkbenchError, match="already holds a store"):
            write_store(store.path, anatomy(), random_tables())
        assert (store.path / "manifest.json").read_bytes() == before

    def test_refuses_unknown_columns_and_missing_keys(self, tmp_path: Path) -> None:
        tables = random_tables()
        with pytest.raises(
            WorkbenchError, match=r"The table 'slots' with columns .*expart.* is not of the store's schema"
        ):
            write_store(
                tmp_path / "a", anatomy(), tables | {"slots": tables["slots"].rename(columns={"expert": "expart"})}
            )
        with pytest.raises(WorkbenchError, match="The table 'slots' needs a value of 'slot' in every row"):
            write_store(tmp_path / "b", anatomy(), tables | {"slots": tables["slots"].drop(columns="slot")})
