"""The made-up run on two models: its tables, and the facts of its claims."""

from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.report.facts import Tables, claim_facts
from workbench_app.experiments.report.report import with_claims
from workbench_app.experiments.tables import read_tables

from tests.app.experiments.report.two_models import MODELS, changed, recipe_of_two
from tests.app.experiments.runs import made_run


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    one = read_tables(made_run(tmp_path_factory.mktemp("made") / "run"))
    random = [("P02.count.0", -0.041), ("P02.layer.1", 0.027), ("P02.usage.2", None), ("P01.count.0", 0.444)]
    rows = [
        {"model": MODELS[0], "arm": arm, "prompts": "sums", "role": "capability", "metric": "exact", "difference": d}
        for arm, d in random
    ]
    one["effects"] = pd.concat([one["effects"], pd.DataFrame(rows)], ignore_index=True)
    one["effects"]["n"] = one["effects"]["n"].fillna(64)
    drawn = [
        {"model": MODELS[0], "arm": f"P02.layer.{i}", "layer": 0, "share": 0.5, "decay": d}
        for i, d in enumerate((0.5, -0.125))
    ]
    other = [{"model": MODELS[0], "arm": "P01.count.0", "layer": 0, "share": 0.5, "decay": 0.999}]
    later = [
        {"model": MODELS[0], "arm": a, "layer": 1, "share": s, "decay": d}
        for a, s, d in (("base", 0.25, 0.0), ("P02", 0.3, -0.2))
    ]
    one["sinks"] = pd.concat([one["sinks"], pd.DataFrame([*drawn, *other, *later])], ignore_index=True)
    two = changed(one, MODELS[1])
    return {name: pd.concat([one[name], two[name]], ignore_index=True) for name in one}


@pytest.fixture(scope="module")
def facts(tables: Tables) -> Any:
    return claim_facts(recipe_of_two(), with_claims(recipe_of_two(), tables))
