"""A recipe, its arms and its prompts, made by hand: what its units hold is written by the tests."""

import math
from typing import Any

import pandas as pd
from workbench_app.experiments.engine import Arm

from workbench import Plan, PromptSet
from workbench.prompts import Prompt

NAN = math.nan
RECIPE: dict[str, Any] = {
    "name": "made", "models": ["some/model"],
    "prompts": {
        "ranked": {"source": "r", "role": "ranking"},
        "held": {"source": "h", "role": "target", "metrics": ["length", "kl_first"], "max_new_tokens": 4},
        "other": {"source": "o", "role": "capability", "metrics": ["choice", "choice_margin"]},
        "given": {"source": "g", "role": "target"},
    },
    "rankings": [{"name": "cats", "method": "usage", "prompts": "ranked"},
                 {"name": "dogs", "method": "ftri", "prompts": "ranked"}],
    "plans": [{"text": "off L1E1"}, {"text": "mute L1E1"}, {"text": "off L9E9"}],
    "controls": {"count": 1, "layer": 0, "usage": 0}, "statistics": {"bootstrap": 50, "permutations": 50},
    "measure": {"perplexity": "given", "sinks": "given"},
}  # fmt: skip

ARMS = (
    Arm("base", "base"),
    Arm("P01", "explicit", plan="off L1E1", json=Plan.off("L1E1").to_json(), experts=("L1E1",), n=1),
    Arm(
        "P01.count.0",
        "random",
        of="P01",
        match="count",
        draw=0,
        plan="off L1E1",
        json=Plan.off("L1E1").to_json(),
        experts=("L1E1",),
    ),
    Arm("P02", "explicit", plan="mute L1E1", json=Plan.mute("L1E1").to_json(), experts=("L1E1",)),
    Arm("P03", "explicit", reason="no such layer"),
    Arm("P03.count.0", "random", of="P03", match="count", draw=0, reason="P03 cannot be run"),
)

RUN = ("base", "P01", "P02")  # P01.count.0 has the plan of P01

SETS = {
    name: PromptSet(tuple(Prompt(f"{name}{i}", text=f"{name} words {i}", cluster=f"c{i // 2}") for i in range(3)), name)
    for name in ("ranked", "held", "other", "given")
}


def ids(prompts: str) -> list[str]:
    return [f"{prompts}{i}" for i in range(3)]


def several(prompts: str, **columns: Any) -> pd.DataFrame:
    """A unit file of several arms: each column's value of prompt i under arm a is its start + i + 10 a."""
    rows = [
        {"prompt_id": f"{prompts}{i}", "arm": arm, **{name: start + i + 10 * a for name, start in columns.items()}}
        for a, arm in enumerate(RUN)
        for i in range(3)
    ]
    return pd.DataFrame(rows)
