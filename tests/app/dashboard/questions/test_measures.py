"""What can be asked of every expert of a store: labels as classes, entropies as means over tokens."""

import numpy as np
import pytest
from workbench_app.dashboard.questions import measures

from probes.utilisation import weight_entropy
from tests.app.paper import assert_drawn, said
from tests.app.world import view_of
from tests.support.stores import random_store


def test_what_the_atlas_offers_is_what_the_store_can_answer(tmp_path, store):
    found = measures.measures_for(view_of(tmp_path, store), store)
    assert_drawn("measures", "\n".join([*(said(tuple(m)) for m in found.measures), *found.refused]))
    bare = random_store(tmp_path / "bare")
    none = measures.measures_for(view_of(tmp_path, bare), bare)
    assert_drawn("measures_of_little", "\n".join([*(said(tuple(m)) for m in none.measures), *none.refused]))


def test_entropies_are_means_over_the_tokens_of_an_expert(store, tmp_path):
    frame = measures.entropies(str(store.path), ())
    two = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))  # every token here has these weights
    assert frame["score"][:6].tolist() == pytest.approx([two] * 6)
    rows = {(r.layer, r.expert): (r.score, r.n) for r in frame.itertuples()}
    assert {key: n for key, (_, n) in rows.items()} == {
        (n, (e + n) % 4): k for n in (0, 1) for e, k in enumerate((3, 2, 3, 0))
    }
    assert frame["score"][6:].isna().all()
    assert weight_entropy(np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 0.0], [1.0, 3.0]])).tolist() == pytest.approx(
        [0.0, 1.0, 0.0, two]
    )
    note = measures.notes_of(view_of(tmp_path, store), measures.Measure(measures.ENTROPY, "", (), ""))
    assert note == ("low: its tokens give one expert all the weight; high: their experts weigh the same",)
