"""Neurons told apart: brute force on random stores, labels exchanged, known limits, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import probes
from probes import neuron
from tests.probes.oracle.cases import Case, golden, random_case
from tests.probes.oracle.contrasts.cases import grown, with_neurons
from tests.probes.oracle.contrasts.checks import neuron_equals_brute
from tests.probes.oracle.strategies import DRAWN, TOKENS, cases
from workbench.errors import WorkbenchError


def drawn(seed: int, **how: int) -> Case:
    return with_neurons(random_case(seed, **how))


@DRAWN
@given(cases(drawn), TOKENS, st.sampled_from([0, 1, 3]), st.sampled_from([0.0, 1.0, 2.0]))
def test_neurons_equal_loops(case: Case, tokens: str, candidates: int, least: float) -> None:
    neuron_equals_brute(probes, case, tokens, candidates, least)


def test_classes_that_change_places_have_no_neuron_in_common() -> None:
    one, other = (neuron(grown().store, *both) for both in (("refused", "answered"), ("answered", "refused")))
    names = [{*map(tuple, found.frame[["layer", "expert", "neuron"]].to_numpy())} for found in (one, other)]
    assert names[0]
    assert not names[0] & names[1]


def test_experts_whose_neurons_all_grow_alike_have_none() -> None:
    case = grown()
    for row in case.rows["inner"]:
        row["neurons"] = [row["position"] + (row["prompt_id"] in "ac")] * 6
    found = neuron(case.store, "refused", "answered", z=0.0)
    assert found.frame.empty
    assert found.sets == ()
    assert "0 of 30 neurons of the candidates stand out" in found.notes


def test_without_neurons_of_the_tokens_read_the_notes_say_what_to_read_or_capture() -> None:
    case = grown()
    case.rows["inner"] = case.rows["inner"][:1]
    found = neuron(case.store, "refused", "answered", tokens="response")
    assert found.frame.empty
    assert any("kept neurons of none of the tokens read: read others, such as tokens=content" in n for n in found.notes)


def test_an_activation_that_is_no_number_is_left_out() -> None:
    case = grown()
    for row in case.rows["inner"]:
        if (row["prompt_id"], row["position"], row["expert"]) == ("a", 1, 0):
            row["neurons"] = [float("nan"), *row["neurons"][1:]]
    found = neuron(case.store, "refused", "answered").frame.set_index(["layer", "expert"])
    assert found.loc[1, 0]["score"] == pytest.approx(1 / 2)  # the maximum of a's other token is 1
    assert found.loc[1, 0]["n"] == 5


def test_of_normal_neurons_without_a_difference_one_in_44_stands_out() -> None:
    case, rng = grown(), np.random.default_rng(0)
    for row in case.rows["inner"]:
        row["neurons"] = rng.normal(size=4000).tolist()
    found = neuron(case.store, "refused", "answered", candidates=0)
    shares = found.frame.groupby("set").size() / 4000
    assert shares.between(0.01, 0.035).all(), shares


def test_what_cannot_be_asked_is_one_sentence() -> None:
    with pytest.raises(WorkbenchError, match=r"candidates=-1 and z=2\.0 make no sense; both should be 0 or more"):
        neuron(grown().store, "refused", candidates=-1)
    with pytest.raises(WorkbenchError, match="kept no neurons; capture it again with keep="):
        neuron(golden().store, "refused")
