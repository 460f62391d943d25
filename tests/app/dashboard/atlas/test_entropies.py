"""Entropies are a measure like the others."""

from workbench_app.dashboard.questions import measures

from tests.app.world import view_of


def test_entropies_are_a_measure_like_the_others(tmp_path, store):
    look = view_of(tmp_path, store)
    found = measures.values_of(look, measures.Measure(measures.ENTROPY, "", (), ""))
    assert found.columns.tolist() == ["layer", "expert", "score", "n"]
    largest = measures.values_of(look, measures.Measure("x", "super_experts", (), ""))
    assert len(largest) == 8  # none of them shared
    assert measures.notes_of(look, measures.Measure("x", "usage", (), ""))[0] == "4 tokens of 2 responses read"
