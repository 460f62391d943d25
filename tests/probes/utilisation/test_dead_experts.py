"""Experts that no token read selects: who they are, over how many tokens, and an answer without any."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes import SetTable, dead_experts, usage
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import memory_store
from tests.probes.traffic.routed import routed_rows, routed_store
from workbench.errors import WorkbenchError
from workbench.plan import Plan


def test_the_dead_are_those_that_usage_flags_and_a_plan_takes_them() -> None:
    found = dead_experts(golden().store, tokens="last_prompt", where="pair=y")
    flagged = usage(golden().store, tokens="last_prompt", where="pair=y", n_bootstrap=0).flagged("dead")
    assert found.experts() == found.experts("dead") == tuple(sorted(flagged))
    assert Plan.off(found.experts()) == Plan.off("L1E2, L2E2, L2E4").for_model(golden().anatomy)
    assert found.sets == ("dead",)
    assert found.options == {"tokens": "last_prompt", "roles": None, "where": "pair=y"}
    assert found.notes == (
        "3 of 8 experts, in 2 of 2 layers, were selected by none of the 2 tokens of 2 responses read",
        "no interval, no p-value: nothing is estimated",
    )
    assert found.frame.dtypes.astype(str).tolist()[1:] == ["int32", "int32", "int64"]


def test_an_empty_slot_is_no_selection() -> None:
    rows, shape = routed_rows([np.array([[0, 1], [2, 3]])], 4)
    rows["slots"] = [row for row in rows["slots"] if (row["position"], row["slot"]) != (1, 1)]
    assert [*map(str, dead_experts(memory_store(shape, rows)).experts())] == ["L0E3"]


def test_constant_routing_leaves_the_others_dead() -> None:
    found = dead_experts(routed_store([np.full((7, 1), 2)] * 2, 4))
    assert [*map(str, found.experts())] == ["L0E0", "L0E1", "L0E3"]
    assert found.frame["n"].tolist() == [14] * 3


def test_no_dead_expert_is_an_answer_that_prints_and_comes_back_from_files(tmp_path: Path) -> None:
    found = dead_experts(routed_store([np.array([[0, 1], [2, 3]])], 4))
    assert found.experts() == found.sets == ()
    assert [*found.frame] == ["set", "layer", "expert", "n"]
    said = "no expert is dead: each of 4 was selected by some of the 2 tokens of 1 responses read"
    assert repr(found).splitlines() == [
        "dead_experts of test/moe, 0 rows (tokens=all)",
        "No row; the notes say why.",
        "Counted on these prompts; an effect is measured by compare().",
        f"- {said}",
        "- no interval, no p-value: nothing is estimated",
    ]
    for ending in ("csv", "parquet", "json"):
        path = tmp_path / f"dead.{ending}"
        getattr(found, f"to_{ending}")(path)
        back = SetTable.read(path)
        assert (back.notes, back.options, back.fingerprint) == (found.notes, found.options, found.fingerprint)
        assert back.experts() == ()
        pd.testing.assert_frame_equal(back.frame, found.frame, check_dtype=False)
    with pytest.raises(WorkbenchError, match="dead_experts found no set 'dead'; it has nothing"):
        found.experts("dead")
