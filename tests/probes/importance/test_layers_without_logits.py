"""Layers whose router logits were not kept are left out, and said: that nothing was kept of them is no zero."""

from pathlib import Path

import numpy as np
import pytest

import probes
from tests.support.stores import random_store
from workbench.errors import WorkbenchError
from workbench.store import Store, write_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    whole = random_store(tmp_path / "whole")
    slots, experts = whole.table("slots"), whole.anatomy.layer(1).n_experts
    keys = slots[slots["layer"] == 1].drop_duplicates(["prompt_id", "sample", "position"])
    logits = keys[["prompt_id", "sample", "position", "layer"]].reset_index(drop=True)
    draw = np.random.default_rng(0)
    logits["router_logits"] = list(draw.normal(size=(len(logits), experts)).astype(np.float32))
    tables = {"prompts": whole.prompts, "labels": whole.labels, "tokens": whole.tokens, "slots": slots}
    return write_store(tmp_path / "one", whole.anatomy, {**tables, "logits": logits})


@pytest.mark.parametrize("name", ["tcess", "unlearning_affinity"])
def test_their_experts_are_left_out(store: Store, name: str) -> None:
    found = getattr(probes, name)(store, tokens="all")
    assert set(found.frame["layer"]) == {1}
    assert "layers 2 kept no router logits, and their experts are left out" in found.notes
    if name == "unlearning_affinity":
        assert np.isclose(found.frame["score"].sum(), 1)
        routed = store.table("slots", layers=[1]).query("expert >= 0")["expert"].value_counts()
        assert found.frame.set_index("expert")["n"].to_dict() == {e: routed.get(e, 0) for e in found.frame["expert"]}


def test_logit_contrast_says_what_is_missing(store: Store) -> None:
    with pytest.raises(WorkbenchError, match="kept router logits of layers 1 alone"):
        probes.logit_contrast(store, "refused", "answered", tokens="all")
