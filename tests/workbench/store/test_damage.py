"""A damaged store is one sentence, whoever reads it: truncated, emptied and missing files, edited plans and manifests."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app

from tests.support.stores import anatomy, random_tables
from workbench import WorkbenchError, open_store
from workbench.store import Store, write_store

FILES = ["prompts.parquet", "labels/given.parquet", "tokens/00001.parquet", "slots/00000.parquet"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    labels = pd.DataFrame({"prompt_id": ["p0", "p1"], "name": "kind", "value": ["a", "b"], "source": "given"})
    tables = random_tables(n_prompts=4) | {"labels": labels}
    store = write_store(tmp_path / "store", anatomy(), tables, n_shards=2)
    if not (store.path / "labels/given.parquet").exists():
        (path,) = (store.path / "labels").iterdir()
        pytest.fail(f"labels lie in {path}")
    return store


def refused(path: Path) -> str:
    with pytest.raises(WorkbenchError) as caught:
        open_store(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["removed", "emptied", "truncated"])
def test_files_that_are_missing_or_short_are_named(store: Store, name: str, how: str) -> None:
    file = store.path / name
    kept = b"" if how == "emptied" else file.read_bytes()[:-20]
    file.unlink() if how == "removed" else file.write_bytes(kept)
    assert name in refused(store.path)
    for words in (["store", "info"], ["rank", "usage"]):
        said = run(*words, store.path)
        assert said.exit_code == 2
        assert "is damaged" in " ".join(said.stderr.split())
    checked = run("store", "check", store.path)
    assert checked.exit_code == 1
    assert name in "".join(checked.stdout.split())


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
def test_an_edited_plan_or_manifest_is_not_believed(store: Store, name: str) -> None:
    file = store.path / name
    text = file.read_text("utf-8")
    data = json.loads(text)
    (data["options"] if name == "plan.json" else data["rows"]).update({"samples": 2, "slots": 3})
    file.write_text(json.dumps(data), "utf-8")
    assert f"{name} does not match its checksum" in refused(store.path)
    assert run("store", "check", store.path).exit_code == 2
    file.write_text(text, "utf-8")
    assert open_store(store.path).n_prompts == 4


@pytest.mark.parametrize("text", ["[]", "7", "null", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
def test_json_of_another_shape_is_one_sentence(store: Store, name: str, text: str) -> None:
    (store.path / name).write_text(text, "utf-8")
    assert f"{name}' is damaged" in refused(store.path)


@pytest.mark.parametrize("name", FILES)
def test_bytes_that_are_no_parquet_are_one_sentence(store: Store, name: str) -> None:
    """The size is right, so opening does not see it; whoever reads the file does."""
    file = store.path / name
    file.write_bytes(bytes(file.stat().st_size))
    table, opened = name.split("/")[0].removesuffix(".parquet"), open_store(store.path)
    for ask in (lambda: opened.table(table), lambda: opened.query(f"select count(*) from {table}")):
        with pytest.raises(WorkbenchError) as caught:
            ask()
        assert "\n" not in str(caught.value)
    if table != "labels":
        with pytest.raises(WorkbenchError):
            opened.counts()
    assert opened.check() != []
