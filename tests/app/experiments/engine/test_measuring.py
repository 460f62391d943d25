"""What a recipe's measurement does before any forward: which store the mean of an expert is taken from."""

from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from workbench_app.experiments.engine import Arm, Measuring

from tests.support.stores import KEY, anatomy, random_tables
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.store import Store, write_store

SHAPE, REF = anatomy(), ExpertRef(1, 2)


def store_of(path: Path, first: float) -> Store:
    """Two tokens select L1E2, whose output there is `first` and then `first + 2`: the mean is `first + 1`."""
    tables: dict[str, Any] = random_tables(n_prompts=1, shape=SHAPE)
    key = {"prompt_id": "p0", "sample": 0, "layer": REF.layer, "slot": 0, "expert": REF.expert}
    rows = [{**key, "position": i, "output": [first + 2.0 * i] * SHAPE.hidden_size} for i in range(2)]
    return write_store(path, SHAPE, {**tables, "outputs": pd.DataFrame(rows).sort_values([k for k in KEY if k in key])})


def measuring(stores: dict[str, Store]) -> Measuring:
    nothing = cast(Any, None)
    return Measuring(Path("run"), nothing, nothing, {}, stores, nothing)


def test_a_mean_comes_from_the_store_of_the_arms_own_ranking(tmp_path: Path) -> None:
    stores = {"cats": store_of(tmp_path / "a", 10.0), "dogs": store_of(tmp_path / "b", -4.0)}
    mean = Plan.replace([REF], "mean").to_json()
    for ranking, expected in (("cats", 11.0), ("dogs", -3.0)):
        (edit,) = measuring(stores).plan(Arm("P1", "plan", ranking=ranking, json=mean)).edits
        assert edit.expert == REF
        assert edit.value == (expected,) * SHAPE.hidden_size


def test_a_plan_without_means_needs_no_store() -> None:
    off = Plan.off([REF])
    assert measuring({}).plan(Arm("P1", "plan", ranking="cats", json=off.to_json())) == off
    assert measuring({}).plan(Arm("base", "base")) == Plan()


def test_a_store_without_outputs_has_no_mean(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", SHAPE, random_tables(n_prompts=1, shape=SHAPE))
    mean = Plan.replace([REF], "mean").to_json()
    with pytest.raises(WorkbenchError, match="outputs"):
        measuring({"cats": store}).plan(Arm("P1", "plan", ranking="cats", json=mean))
