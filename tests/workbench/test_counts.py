"""Counting selections: equal to counting rows one by one, for any mask, any groups, any shards."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import random_store
from workbench.counts import routed_tokens
from workbench.errors import WorkbenchError
from workbench.masks import token_mask
from workbench.store import Store


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
    assert (routed_tokens(store) == (routing.expert[:, 0] >= 0)).all()


def test_layers_and_spans(tmp_path: Path) -> None:
    store = random_store(tmp_path / "store")
    assert store.counts(layers=[2]).n.shape == (4, 1, 5)
    assert (store.counts(layers=[2]).n[:, 0] == store.counts().n[:, 1]).all()
    prompt, response = token_mask(store, "prompt"), token_mask(store, "response")
    assert (prompt ^ response).all()
    assert token_mask(store, "last_prompt").sum() == token_mask(store, "first_prompt").sum() == store.n_prompts
    assert (store.tokens["generated"][token_mask(store, generated=True)]).all()
    assert set(store.tokens["role"][token_mask(store, roles=["user", "special"])]) == {"user", "special"}
    assert set(store.tokens["token_id"][token_mask(store, token_ids={1, 2})]) <= {1, 2}
    assert set(store.tokens["position"][token_mask(store, positions=[0, 3])]) <= {0, 3}
    last = store.tokens[token_mask(store, "last_prompt")]
    assert last["position"].tolist() == (store.prompts["n_tokens"] - 1).tolist()


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
