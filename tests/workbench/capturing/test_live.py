"""A store that a server writes while it answers: readers open it meanwhile, it holds no text unasked, and all is counted."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes import usage
from probes.agreement import agreement
from tests.support.stores import anatomy
from workbench import Plan, open_store
from workbench.capturing import LiveStore, live
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer
from workbench.model import Told
from workbench.serving.server import Captured
from workbench.serving.taken import Piece

SHAPE = anatomy(n_layers=3, n_experts=5, top_k=2)
FACTS = Told(SHAPE, tiny_tokenizer())


def store_of(path: Path, everywhere: str = "", facts: Any = FACTS, **how: Any) -> LiveStore:
    given: dict[str, Any] = {"share": 0.5, "seed": 3, "text": False, "max_bytes": 10**8} | how
    return LiveStore(path, facts, Plan.parse(everywhere), **given)


def one(name: str, n: int = 3, *, text: bool = False, plan: str = "", kept: bool = True) -> Captured:
    """Position p of layer l goes to experts p % 5 and (p + l) % 5, with weights 0.75 and 0.25."""
    at = np.arange(n)
    arrays: dict[str, np.ndarray] = {"ids": np.arange(70, 70 + n)} if text else {}
    for layer in SHAPE.moe_layers:
        arrays[f"index {layer}"] = np.stack([at % 5, (at + layer) % 5], 1).astype(np.int32)
        arrays[f"weight {layer}"] = np.tile(np.array([0.75, 0.25], np.float32), (n, 1))
    return Captured(name, f"call {name[0]}", plan, 2, n, Piece(name, at, arrays) if kept else None)


def test_readers_open_it_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SHARD_TOKENS", 4)
    written = store_of(tmp_path / "s")
    assert open_store(tmp_path / "s").counts().n.sum() == 0
    written.add([one("a1"), one("a2", 4)])
    first = open_store(tmp_path / "s")
    written.add([one("b1", 5)])
    second = open_store(tmp_path / "s")
    for store, names in ((first, ["a1", "a2"]), (second, ["a1", "a2", "b1"])):
        assert store.prompt_ids == names
        assert set(store.labels["prompt_id"]) == set(names)
        assert store.check() == [] or store is first
    written.close()
    n = second.counts().n
    assert n.shape == (3, 2, 5)
    assert n.sum((1, 2)).tolist() == [3 * 2 * 2, 4 * 2 * 2, 5 * 2 * 2]
    assert n[2, 0].tolist() == [2, 2, 2, 2, 2]  # layer 1: 0 to 4, and 1 to 5
    assert second.counts(value="weight").n[0, 0].tolist() == [0.75, 1.0, 1.0, 0.25, 0]
    assert second.prompts["cluster"].tolist() == ["call a", "call a", "call b"]
    assert second.prompts["n_tokens"].tolist() == [2, 2, 2]
    assert second.tokens["generated"].tolist() == [
        False,
        False,
        True,
        False,
        False,
        True,
        True,
        False,
        False,
        True,
        True,
        True,
    ]
    assert second.query("select count(*) n, count(distinct prompt_id) p from slots").iloc[0].tolist() == [48, 3]
    assert second.query("select count(*) n from prompts").iloc[0, 0] == 3


def test_nothing_that_was_said_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    for text in (False, True):
        written = store_of(tmp_path / f"{text}", text=text)
        written.add([one("a1", text=text, plan="0123456789abcdef"), one("a2", text=text)])
        written.close()
        store = open_store(tmp_path / f"{text}")
        assert store.prompts["text"].isna().all()
        assert store.tokens["token_id"].notna().all() == text
        assert store.tokens["token"].notna().all() == text
        assert store.labels["value"].tolist() == ["0123456789abcdef", "none"]
    assert store.tokens["token_id"].tolist()[:3] == [70, 71, 72]
    assert store.tokens["token"].tolist()[:3] == [tiny_tokenizer().decode([i]) for i in (70, 71, 72)]


def test_kept_and_dropped_are_what_was_forwarded_by_request(tmp_path: Path) -> None:
    written = store_of(tmp_path / "s")
    written.add([one("a1", 3), one("a2", 4, kept=False), one("b1", 5)])
    expected = {"requests": 2, "tokens": 8, "requests_dropped": 1, "tokens_dropped": 4}
    assert {name: written.told()[name] for name in expected} == expected
    written.close()
    assert {name: written.told()[name] for name in expected} == expected
    store = open_store(tmp_path / "s")
    assert store.manifest["live"] == expected
    shards = store.manifest["shards"]
    assert {k: v for s in shards for k, v in s["kept"].items()} == {"a1": 3, "b1": 5}
    assert {k: v for s in shards for k, v in s["dropped"].items()} == {"a2": 4}
    assert store.tokens.groupby("prompt_id", observed=True).size().to_dict() == {"a1": 3, "b1": 5}


def test_it_never_has_more_bytes_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SHARD_TOKENS", 40)
    most = 600_000
    written, sent = store_of(tmp_path / "s", max_bytes=most), 0
    while not written.is_full:
        written.add([one(f"{sent:09}", 20)])
        sent += 1
        assert sent < 10_000
    written.add([one("late", 20)])
    written.close()
    size = sum(file.stat().st_size for file in (tmp_path / "s").rglob("*") if file.is_file())
    assert 0 < size <= most
    told = open_store(tmp_path / "s").manifest["live"]
    assert (told["requests"], told["requests_dropped"]) == (sent - 1, 2)
    assert told["requests"] > 10


def test_a_later_server_goes_on_and_another_ones_folder_is_refused(tmp_path: Path) -> None:
    for name in ("a1", "b1"):
        written = store_of(tmp_path / "s", "off L1E3")
        with pytest.raises(WorkbenchError, match="Another server captures into"):
            store_of(tmp_path / "s", "off L1E3")
        written.add([one(name), one(f"{name}-dropped", kept=False)])
        written.close()
    store = open_store(tmp_path / "s")
    assert (store.prompt_ids, store.manifest["live"]["requests_dropped"]) == (["a1", "b1"], 2)
    assert store.steering == Plan.parse("off L1E3")
    other = Told(anatomy(n_layers=3, n_experts=5, top_k=2, weights="other"), tiny_tokenizer())
    for how, said in (
        ({"share": 0.4}, "share, seed"),
        ({"facts": other}, "model"),
        ({"everywhere": "off L1E2"}, "plan"),
    ):
        with pytest.raises(WorkbenchError, match=f"begun with another {said}"):
            store_of(tmp_path / "s", **{"everywhere": "off L1E3", **how})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(WorkbenchError, match="holds other files"):
        store_of(tmp_path / "mine")
    with pytest.raises(WorkbenchError, match="--share 0 makes no sense"):
        store_of(tmp_path / "t", share=0)


def test_what_a_killed_server_left_half_done_is_written_over(tmp_path: Path) -> None:
    """Files of a shard without its receipt."""
    written = store_of(tmp_path / "s")
    written.add([one("a1")])
    written.close()
    for table in ("prompts", "labels", "tokens", "slots"):
        (tmp_path / "s" / table / "00002.parquet").write_bytes((tmp_path / "s" / table / "00001.parquet").read_bytes())
    assert open_store(tmp_path / "s").labels["prompt_id"].tolist() == ["a1"]
    again = store_of(tmp_path / "s")
    again.add([one("b1")])
    again.close()
    store = open_store(tmp_path / "s")
    assert store.prompt_ids == ["a1", "b1"]
    assert store.check() == []


def test_labels_are_added_as_to_any_store(tmp_path: Path) -> None:
    written = store_of(tmp_path / "s")
    written.add([one("a1")])
    written.close()
    store = open_store(tmp_path / "s")
    store.add_labels("kind", {"a1": "x"}, source="hand")
    assert sorted(store.labels["name"]) == ["expert_plan", "kind"]


def test_a_store_with_drops_is_counted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    written = store_of(tmp_path / "s")
    written.add([one("a1", 3), one("b1", 5)])
    written.close()
    assert open_store(tmp_path / "s").dropped == {}
    whole = open_store(tmp_path / "s").counts().n
    written = store_of(tmp_path / "s")
    written.add([one("c1", 4, kept=False)])
    written.close()
    store = open_store(tmp_path / "s")
    assert store.dropped == {"c1": 4}
    said = f"The store '{store.path}' lacks 1 of 3 requests (4 of 12 tokens), which found no room"
    for ask in (
        store.counts,
        lambda: store.routing(1),
        lambda: usage(store),
    ):
        with pytest.raises(WorkbenchError, match=re.escape(said)):
            ask()
    asked = open_store(tmp_path / "s", incomplete=True)
    assert np.array_equal(asked.counts().n, whole)
    assert usage(asked).frame["score"].notna().all()
    assert len(agreement(asked).scores) >= 4
    assert agreement(store).scores == {}
    assert store.check() == []
    assert len(store.table("slots")) == len(asked.table("slots")) > 0
