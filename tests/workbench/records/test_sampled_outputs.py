"""Output vectors of a share of the tokens: which are kept, that nothing else changes, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.families import get
from tests.workbench.capturing.small import quiet
from workbench import WorkbenchError
from workbench.capturing import estimate
from workbench.store import Store

KEY = ["prompt_id", "sample", "position"]
LONG = [{"id": f"p{n}", "text": f"{n} words " * 12} for n in range(6)]


def tokens(store: Store) -> set[tuple[object, ...]]:
    return {*store.table("outputs", KEY).drop_duplicates().itertuples(index=False, name=None)}


def test_kept_are_all_vectors_of_some_tokens_in_every_layer_and_nothing_else_changes(tmp_path: Path) -> None:
    model = get("deepseek_v3")  # with shared experts
    whole, some = (quiet(model, tmp_path / n, LONG, keep={"outputs" + n}) for n in ("", ":0.3"))
    drawn, everything = tokens(some), whole.table("outputs")
    assert 0.2 < len(drawn) / len(tokens(whole)) < 0.4
    kept = everything[[tuple(row) in drawn for row in everything[KEY].itertuples(index=False, name=None)]]
    by = [*KEY, "layer", "slot"]
    ours, theirs = (x.sort_values(by, ignore_index=True) for x in (some.table("outputs"), kept))
    pd.testing.assert_frame_equal(ours.drop(columns="output"), theirs.drop(columns="output"))
    np.testing.assert_allclose(np.stack(ours["output"]), np.stack(theirs["output"]), rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(some.table("slots"), whole.table("slots"))
    assert some.plan_json["options"]["keep"] == ["outputs:0.3"]


def test_the_same_tokens_are_drawn_whatever_the_batches_and_others_by_another_seed(tmp_path: Path) -> None:
    model = get("mixtral")
    how = {"keep": ["outputs:0.5"]}
    one = quiet(model, tmp_path / "1", LONG, batch_tokens=4096, **how)
    other = quiet(model, tmp_path / "2", LONG, batch_tokens=30, shard_tokens=30, **how)
    seeded = quiet(model, tmp_path / "3", LONG, seed=7, **how)
    assert tokens(one) == tokens(other) != tokens(seeded)
    assert {key[0] for key in tokens(one)} == {p["id"] for p in LONG}, "not whole prompts are drawn"


def test_the_size_is_that_of_the_share() -> None:
    anatomy = get("mixtral").anatomy
    whole, tenth = (estimate(anatomy, 1000, {name}).tables["outputs"] for name in ("outputs", "outputs:0.1"))
    assert tenth == round(whole / 10)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (["outputs:0"], "has 'outputs:0'; its share of tokens should be above 0, up to 1, like outputs:0.1"),
        (["outputs:1.5"], "should be above 0, up to 1"),
        (["outputs:x"], "has 'outputs:x'; its share"),
        (
            ["logits:0.5"],
            "does not know 'logits:0.5'; it can be .* and outputs:SHARE, router_input:SHARE or inner:SHARE of",
        ),
        (["outputs", "outputs:0.5"], "names outputs twice; give it once"),
        (["inner:2"], "has 'inner:2'; its share of tokens should be above 0, up to 1, like inner:0.1"),
        (["outputs", "inner:0.5", "inner:0.2"], "names inner twice; give it once, whole or as inner:SHARE"),
    ],
)
def test_what_is_no_share_is_refused(tmp_path: Path, keep: list[str], said: str) -> None:
    with pytest.raises(WorkbenchError, match=said):
        quiet(get("mixtral"), tmp_path / "s", LONG, keep=keep)
    assert not (tmp_path / "s").exists()


def test_a_share_of_all_is_all(tmp_path: Path) -> None:
    store = quiet(get("mixtral"), tmp_path / "s", LONG[:1], keep=["outputs:1.0"])
    assert store.plan_json["options"]["keep"] == ["outputs"]
    assert len(tokens(store)) == len(store.tokens)
