"""What is known of pairs: independent choice, even routing, one expert a token, empty slots, and what is kept and refused."""

from itertools import combinations

import numpy as np
import pytest

from probes import co_selection
from probes.catalogue import asked
from probes.options import options_for
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import memory_store
from tests.probes.oracle.structure.checks import pairs
from tests.probes.traffic.routed import routed_rows, routed_store
from workbench.errors import WorkbenchError


def test_experts_chosen_independently_have_lift_one() -> None:
    """Of four tokens two select 0 and two 1, one of them both; the slot that a token does not need is empty."""
    rows, shape = routed_rows([np.array([[0, 1], [0, -1], [-1, 1], [2, -1]])], 4)
    rows["slots"] = [row for row in rows["slots"] if row["expert"] >= 0]
    got = pairs(co_selection(memory_store(shape, rows), first=0), "n", "share", "expected", "lift")
    assert got[0, 0, 0, 1] == (1, 0.25, 0.25, 1.0)
    assert got[0, 0, 0, 2] == (0, 0, 0.125, 0)
    assert got[0, 2, 0, 3] == (0, 0, 0, None), "nobody selects 3"


@pytest.mark.parametrize(("k", "lift"), [(2, 0.6), (3, 0.8), (4, 0.9), (6, 1.0)])
def test_even_routing_has_the_lift_that_the_notes_say(k: int, lift: float) -> None:
    """Every choice of k of 6 once."""
    even = np.array([*combinations(range(6), k)])
    found = co_selection(routed_store([even], 6))
    assert found.frame["lift"].tolist() == pytest.approx([lift] * 15)
    assert (
        f"even routing of {k} of 6 experts gives every pair a lift of {lift:.3f}: they compete for slots" in found.notes
    )


def test_one_expert_a_token_is_never_with_another() -> None:
    found = co_selection(routed_store([np.array([[0], [1], [1]])], 3), first=0)
    assert found.frame[["n", "share"]].to_numpy().tolist() == [[0, 0]] * 3
    assert found.frame["lift"].fillna(-1).tolist() == [0, -1, -1]
    assert "no token read selected two experts of a layer" in found.notes
    assert not [note for note in found.notes if "even routing" in note]


def test_a_layer_of_one_expert_has_no_pair() -> None:
    found = co_selection(routed_store([np.zeros((3, 1), int)], 1))
    assert found.frame.empty
    assert "all 0 pairs of experts within a layer, by the share of tokens" in found.notes
    assert "No row; the notes say why." in repr(found)


def test_two_slots_with_one_expert_are_one_selection() -> None:
    found = co_selection(routed_store([np.array([[0, 0], [0, 1]])], 2))
    assert found.frame[["n", "share", "expected", "lift"]].to_numpy().tolist() == [[1, 0.5, 0.5, 1.0]]


def test_every_token_counts_however_many_there_are() -> None:
    """More than are counted at once."""
    routes = np.tile(np.array([[0, 1], [1, 2], [0, 1]]), (11_000, 1))
    got = pairs(co_selection(routed_store([routes], 4)), "n")
    assert got == {(0, 0, 0, 1): (22_000,), (0, 1, 0, 2): (11_000,), (0, 0, 0, 2): (0,), **dict.fromkeys(
        [(0, 0, 0, 3), (0, 1, 0, 3), (0, 2, 0, 3)], (0,))}  # fmt: skip


def test_its_options_notes_and_types_and_what_first_keeps() -> None:
    found = co_selection(golden().store, tokens="prompt", where="pair=x", first=4)
    options = {"layer": None, "first": 4, "tokens": "prompt", "roles": None, "where": "pair=x"}
    assert found.options == options
    assert found.notes == (
        "5 tokens of 2 responses read",
        "the first 4 of 13 pairs of experts within a layer, by the share of tokens; first=0 keeps every pair",
        "even routing of 2 of 3 experts gives every pair a lift of 0.750: they compete for slots",
        "even routing of 2 of 5 experts gives every pair a lift of 0.625: they compete for slots",
        "no interval, no p-value: the first of many pairs were chosen for being together",
    )
    kinds = [*["int32"] * 4, "int64", *["float64"] * 3]
    assert found.frame.dtypes.astype(str).tolist() == kinds
    whole = co_selection(golden().store, tokens="prompt", where="pair=x", first=0)
    assert found.frame.equals(whole.frame.head(4))
    assert len(whole.frame) == 3 + 10
    assert {*co_selection(golden().store, 2).frame["layer"]} == {2}


def test_what_is_refused() -> None:
    with pytest.raises(WorkbenchError, match=r"^Layer 0 of 'memory' has no slots; it has layers 1, 2"):
        co_selection(golden().store, layer=0)
    with pytest.raises(WorkbenchError, match=r"^first=-1 is no number of rows; give 1 or more, or 0 for every pair"):
        co_selection(golden().store, first=-1)
    assert options_for(asked("co_selection"), {"layer": 3}) == {"layer": 3}
    with pytest.raises(WorkbenchError, match="'layer' is 'x'; it should be a whole number or nothing"):
        options_for(asked("co_selection"), {"layer": "x"})
