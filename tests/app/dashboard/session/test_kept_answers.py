"""What the dashboard keeps about a store or a model is asked anew when labels are added or another lies in its place."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workbench_app.dashboard.questions import offer
from workbench_app.dashboard.session import scores_of, store_at
from workbench_app.dashboard.session.machines import machine

import probes
from tests.support.stores import anatomy, random_tables
from workbench import open_store
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.store import write_store

QUICK = {"n_permutations": 20, "n_bootstrap": 20}


def made(path: Path, seed: int = 0, labels: bool = True) -> Path:
    """Eight prompts, with a label or none; the routing is drawn from the seed, every length from 0."""
    tables, other = random_tables(0, n_prompts=8), np.random.default_rng(seed)
    tables["slots"]["expert"] = [
        expert for _ in range(len(tables["slots"]) // 2) for expert in other.permutation(5)[:2].tolist()
    ]
    ids = tables["prompts"]["prompt_id"]
    if labels:
        tables["labels"] = pd.DataFrame({"prompt_id": ids, "name": "side", "value": ["a", "b"] * 4, "source": "given"})
    write_store(path, anatomy(), tables)
    return path


def scores(path: Path, target: str) -> list[float]:
    """By expert, as the dashboard has them."""
    found = scores_of(path, "ftri", target=target, tokens="prompt", **QUICK).frame.sort_values(["layer", "expert"])
    return found["score"].tolist()


def by_hand(path: Path, target: str) -> list[float]:
    """The difference of the classes' mean shares of prompt tokens, by a loop over rows."""
    name, value = target.split("=")
    store = open_store(path)
    labels = store.labels[store.labels["name"] == name].set_index("prompt_id")["value"]
    slots, n = store.table("slots"), store.prompts.set_index("prompt_id")["n_tokens"]
    read = slots[slots["position"] < slots["prompt_id"].astype(str).map(n)]
    out = []
    for layer in store.layers:
        for expert in range(5):
            share = dict.fromkeys(labels.index, 0.0)
            for prompt in read[(read["layer"] == layer) & (read["expert"] == expert)]["prompt_id"]:
                share[prompt] += 1 / n[prompt]
            out.append(
                np.mean([share[p] for p in labels.index if labels[p] == value])
                - np.mean([share[p] for p in labels.index if labels[p] != value])
            )
    return out


def test_a_ranking_follows_labels_that_are_added_and_exchanged(tmp_path: Path) -> None:
    path = made(tmp_path / "store")
    ids = open_store(path).prompt_ids
    manifest = (path / "manifest.json").read_bytes()
    assert scores(path, "side=a") == pytest.approx(by_hand(path, "side=a"))
    for turn, values in enumerate((["x"] * 4 + ["y"] * 4, ["x", "y"] * 4, ["y"] * 2 + ["x"] * 6)):
        store_at(path).add_labels("verdict", dict(zip(ids, values, strict=True)), "test", replace=turn > 0)
        assert scores(path, "verdict=x") == pytest.approx(by_hand(path, "verdict=x"))
        assert "verdict=x" in offer(path).classes
        assert "verdict=y" in offer(path).compared
    assert (path / "manifest.json").read_bytes() == manifest, "labels are added beside the manifest"


def put(other: Path, path: Path) -> None:
    """Moves a store into the place of another, with the other's time on every file."""
    when = (path / "manifest.json").stat()
    shutil.rmtree(path)
    shutil.move(other, path)
    for file in path.rglob("*"):
        os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))


def test_a_store_in_the_place_of_another_is_read_whatever_its_time(tmp_path: Path) -> None:
    first, second = made(tmp_path / "store", 1), made(tmp_path / "other", 2)
    before = scores(first, "side=a")
    assert before == pytest.approx(by_hand(first, "side=a"))
    put(second, first)
    after = scores(first, "side=a")
    assert after == pytest.approx(by_hand(first, "side=a"))
    assert after != pytest.approx(before)
    assert store_at(first).manifest == open_store(first).manifest


def test_so_is_one_without_any_label(tmp_path: Path) -> None:
    def loads() -> list[float]:
        found = scores_of(first, "usage", tokens="all", n_bootstrap=0).frame.sort_values(["layer", "expert"])
        return found["score"].tolist()

    first, second = (made(tmp_path / name, seed, labels=False) for seed, name in enumerate(("store", "other")))
    before = loads()
    put(second, first)
    n = open_store(first).table("slots").groupby(["layer", "expert"]).size().unstack(fill_value=0).to_numpy()
    assert loads() == pytest.approx((n / n.sum(axis=1, keepdims=True)).ravel())
    assert loads() != pytest.approx(before)


def test_an_answer_about_two_stores_is_asked_anew_when_the_other_changes(tmp_path: Path) -> None:
    def moved() -> list[float]:
        found = scores_of(first, "drift", other=second, tokens="all", **QUICK).frame.sort_values(["layer", "expert"])
        return found["score"].tolist()

    def by_rows() -> list[float]:
        shares = []
        for path in (first, second):
            slots = open_store(path).table("slots")
            n = slots.groupby(["layer", "expert"]).size().unstack(fill_value=0).to_numpy()
            shares.append((2 * n / n.sum(axis=1, keepdims=True)).ravel())
        return (shares[1] - shares[0]).tolist()

    first, second, third = (made(tmp_path / name, seed) for seed, name in enumerate(("one", "two", "three")))
    before = moved()
    assert before == pytest.approx(by_rows())
    assert moved() == before
    put(third, second)
    assert moved() == pytest.approx(by_rows())
    assert moved() != pytest.approx(before)


def test_the_same_store_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked, usage = made(tmp_path / "store"), [], probes.usage

    def counting(store: object, **options: object) -> object:
        asked.append(options)
        return usage(store, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(probes, "usage", counting)
    one, again, other = (scores_of(path, "usage", measure=m, n_bootstrap=0) for m in ("load", "load", "rate"))
    assert one is again
    assert [options.get("measure") for options in asked] == ["load", "rate"]
    assert one.frame["score"].tolist() != other.frame["score"].tolist()
    assert store_at(path) is store_at(path)


@pytest.mark.slow
def test_a_model_in_the_place_of_another_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_tokenizer().save_pretrained(folder)
    for seed in (0, 1):
        tiny_model("olmoe", seed=seed).save_pretrained(folder)
        found = machine(str(folder))
        assert found is machine(str(folder))
        weight = tiny_model("olmoe", seed=seed).model.layers[0].mlp.gate.weight
        assert found.model.hf.model.layers[0].mlp.gate.weight.equal(weight)
