"""The bundled store is what its command makes: `workbench capture demo refusal --store data/demo-store --generate 16`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from workbench_app.choice import committed_choice

from probes import ftri
from tests.support import families, reference
from workbench import capture, open_store
from workbench.bundled import bundled_path

KEYS = ["prompt_id", "sample", "position"]
CLEAR = 1e-4
"""Gap between probabilities that no processor's rounding of this fp32 model closes (they differ by about 1e-6)."""


@pytest.fixture(scope="module")
def bundled():
    return open_store(bundled_path("demo-store"))


def test_it_is_whole_and_of_the_bundled_model(bundled):
    assert bundled.check() == []
    assert families.get("demo").anatomy.is_same(bundled.anatomy.fingerprint)
    assert not bundled.steering


def test_it_ranks_the_experts_that_were_chosen_on_the_ranking_split(bundled):
    choice = committed_choice()
    scores = ftri(bundled, target="refused", baseline="answered", **choice.options)
    assert [str(ref) for ref in scores.top(choice.n)] == ["L2E8", "L2E20"]


Texts = Mapping[str, list[int]]


def texts_of(store: Any) -> Texts:
    """The tokens of each prompt and its answer."""
    rows = store.tokens.astype({"prompt_id": str}).sort_values(KEYS)
    return {prompt: ids.tolist() for prompt, ids in rows.groupby("prompt_id")["token_id"]}


def slots_of(store: Any) -> pd.DataFrame:
    """Slots in order, one row an expert."""
    return store.table("slots").astype({"prompt_id": str}).sort_values([*KEYS, "layer", "expert"], ignore_index=True)


def shared(prompt: str, there: Texts, here: Texts) -> int:
    """How many tokens both stores begin with; where they part, the model was near a tie."""
    a, b = there[prompt], here[prompt]
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if a != b:
        with torch.no_grad():
            best = families.get("demo").hf(torch.tensor([a[:same]])).logits[0, -1].double().softmax(-1).topk(2).values
        assert best[0] - best[1] < CLEAR, f"{prompt}: another token at {same}, by {best[0] - best[1]:.2g}"
    return same


def margins_of(store: Any) -> dict[tuple[str, int, int], float]:
    """By prompt, position and layer: how clear the selection was, by the reference's rule on the stored logits."""
    hf, rows = families.get("demo").hf, store.table("logits")
    keys = zip(rows.prompt_id.astype(str), rows.position, rows.layer, rows.router_logits, strict=True)
    return {(p, t, n): reference.route_token(hf, n, list(map(float, x))).margin for p, t, n, x in keys}


def assert_same_slots(there: pd.DataFrame, here: pd.DataFrame, margins: Mapping[tuple[str, int, int], float]) -> None:
    """The same experts with the same weights, up to where a sequence met a tie."""
    a, b = (frame.groupby(["prompt_id", "position", "layer"])["expert"].agg(tuple) for frame in (there, here))
    assert set(a.index) <= set(margins), "a token or a layer is missing"
    assert set(a.index) == set(b.index)
    differ = list(a.index[(a != b.loc[a.index]).to_numpy()])
    assert not [key for key in differ if margins[key] > CLEAR], "a clear token went to other experts"
    tied = {prompt for prompt, *_ in differ}
    one, two = (frame[~frame.prompt_id.isin(tied)] for frame in (there, here))
    assert len(one) > 0.9 * len(there)
    np.testing.assert_allclose(one["weight"], two["weight"], atol=1e-4)
    np.testing.assert_allclose(one["output_l2"], two["output_l2"], rtol=1e-3)


@pytest.mark.slow
def test_capturing_again_gives_the_same_store(bundled, tmp_path):
    again = capture(
        families.get("demo"), "refusal", tmp_path / "again", keep={"norms", "logits"}, generate=16, progress=False
    )
    there, here = texts_of(bundled), texts_of(again)
    assert there.keys() == here.keys()
    same = {prompt: shared(prompt, there, here) for prompt in there}
    assert sum(there[p] == here[p] for p in there) > 0.9 * len(there)
    frames = [slots_of(store) for store in (bundled, again)]
    frames = [f[f.position < f.prompt_id.map(same) - 1].reset_index(drop=True) for f in frames]
    margins = margins_of(again)
    assert_same_slots(*frames, margins)
    assert_a_flip_fails(*frames, margins)


def assert_a_flip_fails(there: pd.DataFrame, here: pd.DataFrame, margins: Mapping[tuple[str, int, int], float]) -> None:
    """One clear token at one other expert, and one weight off by a thousandth, are noticed."""
    row = next(
        i for i, key in enumerate(zip(there.prompt_id, there.position, there.layer, strict=True)) if margins[key] > 0.01
    )
    flipped, heavier = there.copy(), there.copy()
    flipped.loc[row, "expert"] = -7
    heavier.loc[row, "weight"] += 1e-3
    for wrong in (flipped, heavier):
        with pytest.raises(AssertionError):
            assert_same_slots(wrong, here, margins)
