"""Load and weight: tokens that were never routed, layers of unequal width, class means."""

import numpy as np
import pytest

from probes import ftri, usage
from probes.ranking import assemble
from probes.reading import expert_axis
from tests.probes.oracle.cases import golden, label
from workbench.errors import WorkbenchError


def test_weights_of_the_last_token_and_what_was_never_routed() -> None:
    only = usage(golden().store, measure="weight", tokens="last_prompt", where="pair=y", n_bootstrap=0).frame
    # the last prompt token of c {1,0} {3,0} and of d {1,0} {3,1}, slot 0 weighs 1/4 and slot 1 3/4
    found = {(r.layer, r.expert): r.score for r in only.itertuples() if r.n}
    assert found == pytest.approx({(1, 0): 0.75, (1, 1): 0.25, (2, 3): 0.25, (2, 0): 0.375, (2, 1): 0.375})
    last = golden()
    for row in last.rows["tokens"]:
        row["role"] = "tool" if row["token"] == "end" else row["role"]
    with pytest.raises(WorkbenchError, match="None of the tokens read of 'memory' was routed; read other tokens"):
        usage(last.store, roles="tool")


def test_layers_of_unequal_width_and_columns_that_are_not_there() -> None:
    store = golden().store
    axis = expert_axis(store, (1, 2))
    assert axis.layer.tolist() == [1] * 3 + [2] * 5
    assert axis.expert.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert axis.of(np.arange(20).reshape(2, 2, 5)).tolist() == [
        [0, 1, 2, 5, 6, 7, 8, 9],
        [10, 11, 12, 15, 16, 17, 18, 19],
    ]
    columns = {
        "score": np.array([0.1 + 0.2, 0.3, -0.0, 1, 2, 3, 4, 5]),
        "n": np.ones(8, int),
        "low": np.full(8, -1e-14),
    }
    found = assemble(store, "m", {"o": 1}, axis, columns, ("note",))
    frame = found.frame.sort_values(["layer", "expert"])
    assert frame["score"].tolist() == [0.3, 0.3, 0.0, 1, 2, 3, 4, 5], "sums that differ in their last digit tie"
    assert [str(x) for x in found.flagged("ties")] == ["L1E0", "L1E1"]
    assert np.copysign(1, frame["low"]).eq(1).all()
    assert frame[["high", "p", "p_adjusted"]].isna().all().all()
    assert (found.method, found.options, found.notes[0]) == ("m", {"o": 1}, "note")
    assert expert_axis(store, ()).layer.tolist() == []


def test_classes_weigh_alike_in_class_means() -> None:
    case = golden()
    for row in case.rows["labels"]:
        row["value"] = {"a": "refused", "b": "answered", "c": "answered", "d": "other"}[row["prompt_id"]]
    case.rows["labels"].append(label("a", "x", name="unused"))
    found = ftri(case.store, "refused", contrast="class_means", n_permutations=0, n_bootstrap=0)
    # shares at prompt tokens of L2E0: a 1; b 1/3 and c 1, so 2/3; d 0: 1 - (2/3 + 0) / 2
    scores = {(r.layer, r.expert): r.score for r in found.frame.itertuples()}
    assert scores[2, 0] == pytest.approx(2 / 3)
    assert found.notes[:3] == (
        "refused: 1 responses, 2.0 tokens read on average", "answered: 2 responses, 2.0 tokens read on average",
        "other: 1 responses, 2.0 tokens read on average",
    )  # fmt: skip
