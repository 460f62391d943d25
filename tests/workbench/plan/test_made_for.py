"""A plan is for the model whose ranking its experts come from, whatever way they took into it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.stores import anatomy
from workbench import Edit, Plan, WorkbenchError, parse_experts
from workbench.anatomy import ExpertRef

OURS = anatomy(n_experts=8)
OTHER = replace(anatomy(n_experts=8), model="another", weights="f" * 16)
TOP = [ExpertRef(1, e, fingerprint=OURS.fingerprint) for e in (3, 1)]


def ways(folder: Path) -> dict[str, Plan]:
    file = folder / "p.json"
    Plan.off(TOP).to_json(file)
    return {
        "edits": Plan((Edit("off", TOP[0]),)),
        "edits of a plan": Plan(Plan.off(TOP).edits),
        "experts of a file": Plan.off(Plan.from_json(file).experts),
        "experts named by a file": Plan.off(f"@{file}"),
        "a clause that names a file": Plan.parse(f"scale @{file}=2; off L2E0"),
    }


@pytest.mark.parametrize(
    "way",
    ["edits", "edits of a plan", "experts of a file", "experts named by a file", "a clause that names a file"],
)
def test_it_is_refused_on_another_model(way: str, tmp_path: Path) -> None:
    plan = ways(tmp_path)[way]
    assert plan.fingerprint == OURS.fingerprint
    assert plan.check(OURS) is plan
    with pytest.raises(WorkbenchError, match=OURS.fingerprint):
        plan.check(OTHER)


def test_so_are_experts_that_a_file_names(tmp_path: Path) -> None:
    Plan.off(TOP).to_json(tmp_path / "p.json")
    assert parse_experts(f"@{tmp_path / 'p.json'}", OURS) == tuple(sorted(TOP))
    with pytest.raises(WorkbenchError, match="What names these experts"):
        parse_experts(f"L1E0,@{tmp_path / 'p.json'}", OTHER)


def test_experts_of_two_models_make_no_plan() -> None:
    with pytest.raises(WorkbenchError, match="ranked on two models"):
        Plan((Edit("off", TOP[0]), Edit("off", ExpertRef(1, 5, fingerprint=OTHER.fingerprint))))
