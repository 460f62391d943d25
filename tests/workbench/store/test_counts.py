"""Counting selections: equal to counting rows one by one, for any mask, any groups, any shards."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.reading import token_mask
from tests.support.stores import anatomy, random_store, random_tables
from workbench.errors import WorkbenchError
from workbench.store import Store, write_store


def _by_hand(store: Store, groups: np.ndarray, *, weights: bool) -> tuple[dict[Any, float], dict[int, int]]:
    """Sums by (group, layer, expert) and routed tokens by group, one row at a time."""
    tokens = store.tokens
    group_of = {
        (p, s, t): int(g)
        for p, s, t, g in zip(tokens.prompt_id, tokens["sample"], tokens.position, groups, strict=True)
    }
    sums, routed = Counter(), Counter()
    for row in store.table("slots").itertuples():
        group = group_of[row.prompt_id, row.sample, row.position]
        if group < 0 or row.expert < 0:
            continue
        sums[group, row.layer, row.expert] += row.weight if weights else 1
        routed[group, row.prompt_id, row.sample, row.position] = 1
    return dict(sums), dict(Counter(key[0] for key in routed))


@given(seed=st.integers(0, 10**6), samples=st.integers(1, 2), kind=st.sampled_from(["prompt", "mask", "groups"]))
@settings(max_examples=20, deadline=None)
def test_counts_equal_counting_by_hand(tmp_path_factory: Any, seed: int, samples: int, kind: str) -> None:
    path = tmp_path_factory.mktemp("stores") / "store"
    store = random_store(path, n_shards=1 + seed % 3, seed=seed, samples=samples, n_shared=seed % 2)
    draw = np.random.default_rng(seed)
    groups = store.tokens["prompt_id"].cat.codes.to_numpy().astype(int)
    mask = None
    if kind == "mask":
        mask = draw.random(len(groups)) < 0.5
        groups = np.where(mask, groups, -1)
    if kind == "groups":
        groups = draw.integers(-1, 1500 if seed % 5 == 0 else 4, len(groups))  # more groups than counted directly
    for value in ("count", "weight"):
        found = store.counts(mask, "prompt" if kind != "groups" else groups, value)
        sums, routed = _by_hand(store, groups, weights=value == "weight")
        assert found.layers == store.layers
        assert found.n.sum() == pytest.approx(sum(sums.values()))
        for (group, layer, expert), expected in sums.items():
            assert found.n[group, found.layers.index(layer), expert] == pytest.approx(expected)
        assert {i: n for i, n in enumerate(found.tokens) if n} == routed


def test_routing_is_aligned_with_tokens(tmp_path: Path) -> None:
    store = random_store(tmp_path / "store", n_shards=2, samples=2, n_shared=1)
    routing, tokens, slots = store.routing(2), store.tokens, store.table("slots", layers=[2]).query("slot >= 0")
    expected = slots.pivot_table(
        index=["prompt_id", "sample", "position"], columns="slot", values="expert", observed=True
    )
    for i, row in enumerate(tokens.itertuples()):
        key = (row.prompt_id, row.sample, row.position)
        if key in expected.index:
            assert routing.expert[i].tolist() == expected.loc[key].tolist()
        else:
            assert routing.expert[i].tolist() == [-1, -1]
            assert routing.weight[i].tolist() == [0, 0]
    assert (store.routed_tokens == (routing.expert[:, 0] >= 0)).all()


def test_layers_are_those_asked_for(tmp_path: Path) -> None:
    store = random_store(tmp_path / "store")
    slots = store.table("slots")
    groups = np.zeros(len(store.tokens), int)
    for layers in ([2], [1], [2, 1]):
        found = store.counts(by=groups, layers=layers)
        expected = [[((slots.layer == n) & (slots.expert == e)).sum() for e in range(5)] for n in found.layers]
        assert sorted(found.layers) == sorted(layers)
        assert found.n[0].tolist() == expected
        assert 0 < found.n.sum() < len(slots) or len(layers) == 2


# two prompts: "a" has two tokens and an answer of two, of two samples the second has one; "b" has three tokens and no answer
TOKENS = [
    ("a", 0, 0, 11, "special", False), ("a", 0, 1, 12, "user", False), ("a", 0, 2, 13, "think", True),
    ("a", 0, 3, 12, "assistant", True),
    ("a", 1, 0, 11, "special", False), ("a", 1, 1, 12, "user", False), ("a", 1, 2, 14, "assistant", True),
    ("b", 0, 0, 11, "special", False), ("b", 0, 1, 15, "user", False), ("b", 0, 2, 12, "user", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"span": "prompt"}, [0, 1, 4, 5, 7, 8, 9]),
        ({"span": "response"}, [2, 3, 6]),
        ({"span": "first_prompt"}, [0, 4, 7]),
        ({"span": "last_prompt"}, [1, 5, 9]),
        ({"generated": True}, [2, 3, 6]),
        ({"generated": False}, [0, 1, 4, 5, 7, 8, 9]),
        ({"roles": ["user", "think"]}, [1, 2, 5, 8, 9]),
        ({"roles": "special"}, [0, 4, 7]),
        ({"positions": [0, 3]}, [0, 3, 4, 7]),
        ({"token_ids": {12, 14}}, [1, 3, 5, 6, 9]),
        ({"span": "response", "token_ids": {12, 14}, "positions": [3]}, [3]),
        ({"span": "prompt", "generated": True}, []),
    ],
)
def test_spans_and_conditions_pick_the_tokens_counted_by_hand(tmp_path: Path, asked: Any, rows: list[int]) -> None:
    columns = ["prompt_id", "sample", "position", "token_id", "role", "generated"]
    tables = {
        "prompts": pd.DataFrame({"prompt_id": ["a", "b"], "text": "some text", "n_tokens": [2, 3]}),
        "tokens": pd.DataFrame(TOKENS, columns=columns),
        "slots": random_tables(n_prompts=1)["slots"][:1].assign(prompt_id="a"),
    }
    store = write_store(tmp_path / "store", anatomy(), tables)
    assert store.tokens["token_id"].tolist() == [row[3] for row in TOKENS]
    assert np.flatnonzero(token_mask(store, **asked)).tolist() == rows


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda s: s.counts(by="token"), r"counts\(by='token'\) is not known"),
        (lambda s: s.counts(np.ones(3)), r"counts\(tokens=...\) has shape \[3\]; it needs one value for each of the"),
        (lambda s: s.counts(by=np.ones(3, int)), r"counts\(by=...\) has shape \[3\]"),
        (lambda s: s.counts(layers=[0]), "has no layer 0"),
        (lambda s: token_mask(s, "answer"), "'answer' is no span of tokens"),
        (lambda s: token_mask(s, roles=["usr"]), r"'usr' is no role of a token; .* did you mean 'user'\?"),
    ],
)
def test_refused(tmp_path: Path, ask: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        ask(random_store(tmp_path / "store"))
