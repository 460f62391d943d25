"""`workbench store`: what a store holds, as a page and as JSON, and what is wrong with it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.app.cli.printed import SHAPE, columns, lines, run, sentence
from tests.support.stores import random_store, random_tables
from tests.workbench.capturing.test_live import one, store_of
from workbench import Plan, open_store
from workbench.store import Store, write_store

pytestmark = pytest.mark.usefixtures("wide")


def test_store_info_prints_what_it_holds(tmp_path: Path) -> None:
    tables = random_tables(n_prompts=6, samples=2)
    ids = sorted(tables["prompts"]["prompt_id"])
    pets = zip(
        ids, ("cat", "cat", "cat", "dog", "dog", "cow"), ("hand", "hand", "file", "file", "file", "file"), strict=True
    )
    label = [{"prompt_id": i, "sample": -1, "name": "kind", "value": v, "source": source} for i, v, source in pets]
    many = [
        {"prompt_id": i, "sample": -1, "name": "code", "value": v, "source": "file"}
        for i, v in zip(ids, "aabcde", strict=True)
    ]
    four = [
        {"prompt_id": i, "sample": -1, "name": "four", "value": v, "source": "file"}
        for i, v in zip(ids, "aabbcd", strict=True)
    ]
    store = write_store(tmp_path / "s", SHAPE, {**tables, "labels": pd.DataFrame([*label, *many, *four])})
    said = run("store", "info", store.path)
    assert said.exit_code == 0, said.output
    rows = columns(said.stdout)
    assert rows[0] == [f"{tmp_path / 's'}: synthetic, 6 prompts, 2 samples each"]
    assert rows[1] == ["table", "rows", "on disk"]
    shown = {name: (n, size) for name, n, size in rows[2 : rows.index(["label", "values", "source", "rows"])]}
    assert set(shown) == {"tokens", "slots"}
    for name, (n, size) in shown.items():
        on_disk = sum(file.stat().st_size for file in (tmp_path / "s" / name).rglob("*.parquet"))
        assert (n, size) == (f"{len(tables[name]):,}", f"{on_disk / 1000:.1f} kB")
    labels = rows[rows.index(["label", "values", "source", "rows"]) + 1 :]
    values = {row[0]: row[1:] for row in labels[:3]}
    assert list(values) == ["kind", "code", "four"]
    assert values["kind"] == ["cat 3, dog 2, cow 1", "file, hand", "6"]
    assert values["code"][0] == "5 values, such as a"
    assert sorted(values["four"][0].split(", ")) == ["a 2", "b 2", "c 1", "d 1"]
    kept = open_store(store.path).plan_json["options"]
    assert labels[3] == [", ".join(f"{k}={v}" for k, v in kept.items() if v is not None)]
    assert (
        run("store", "info", random_store(tmp_path / "one").path)
        .stdout.splitlines()[0]
        .endswith("synthetic, 4 prompts")
    )


def test_store_info_warns_of_what_is_not_a_plain_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = random_tables(n_prompts=2)
    bad = [
        {
            "prompt_id": "p0",
            "sample": 0,
            "layer": 1,
            "what": "output",
            "expert": 2,
            "n_tokens": 3,
            "n_own": 1,
            "first_position": 0,
        }
    ]
    store = write_store(tmp_path / "s", SHAPE, {**tables, "nonfinite": pd.DataFrame(bad)}, lacks=["weight", "norms"])
    with monkeypatch.context() as steered:
        steered.setattr(Store, "steering", property(lambda _: Plan.off("L1E3")))
        said = run("store", "info", store.path)
        found = json.loads(run("store", "info", store.path, "--json").stdout)
    assert said.exit_code == 0, said.output
    first, second, third, fourth = said.stderr.splitlines()
    assert first == "Captured under a plan, so this is not the base model: off L1E3"
    assert second == (
        "Made before fingerprints had a version: of the model only weights, sizes and top-k can be compared with another's."
    )
    assert third == "Returned by a serving engine, which does not tell weight, norms: expert ids alone."
    assert fourth == found["nonfinite"] == "Values are not finite, first in layer 1: output of L1E2 at 3 tokens."
    assert found["steering"] == [e.to_dict() for e in Plan.off("L1E3").edits]
    assert run("store", "info", random_store(tmp_path / "plain").path).stderr == second + "\n"


def test_store_info_as_json(tmp_path: Path) -> None:
    store = random_store(tmp_path / "s", n_prompts=3)
    found = json.loads(run("store", "info", store.path, "--json").stdout)
    assert {k: found[k] for k in ("path", "prompts", "samples", "labels", "steering", "fingerprint")} == {
        "path": str(tmp_path / "s"), "prompts": 3, "samples": 1, "labels": [], "steering": None,
        "fingerprint": store.anatomy.fingerprint,
    }  # fmt: skip
    plan = json.loads((tmp_path / "s" / "plan.json").read_text("utf-8"))
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text("utf-8"))
    assert [found[k] for k in ("model", "schema_version", "options")] == [
        plan[k] for k in ("model", "schema_version", "options")
    ]
    assert found["rows"] == manifest["rows"]


def test_store_check_counts_files_and_problems(tmp_path: Path) -> None:
    store = random_store(tmp_path / "s", n_shards=2)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text("utf-8"))
    n = len(manifest["files"]) + sum(len(shard["files"]) for shard in manifest["shards"])
    said = run("store", "check", store.path)
    assert (said.exit_code, lines(said.stdout)) == (0, [f"{n} files, all as captured."])
    assert json.loads(run("store", "check", store.path, "--json").stdout) == {
        "path": str(store.path),
        "sound": True,
        "problems": [],
    }
    file = next((tmp_path / "s" / "slots").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    said = run("store", "check", store.path)
    assert (said.exit_code, lines(said.stdout)[-1]) == (1, f"{n} files: 1 problems.")
    assert file.name in lines(said.stdout)[0]
    found = run("store", "check", store.path, "--json")
    assert (found.exit_code, json.loads(found.stdout)["sound"], len(json.loads(found.stdout)["problems"])) == (
        1,
        False,
        1,
    )


def test_a_store_with_drops_is_ranked_only_where_that_is_asked_for(tmp_path: Path) -> None:
    written = store_of(tmp_path / "s")
    written.add([one("a1"), one("b1", 5), one("c1", 4, kept=False)])
    written.close()
    assert "1 requests were dropped (4 tokens)" in run("store", "info", tmp_path / "s").stderr
    for words in (("usage",), ("--all",)):
        assert run("rank", *words, tmp_path / "s").exit_code == 2
        assert run("rank", *words, tmp_path / "s", "--incomplete").exit_code == 0
    assert "or rank --incomplete." in sentence(run("rank", "usage", tmp_path / "s"))
