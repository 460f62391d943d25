"""Runs side by side: claims by name, the same plans with both intervals, and what cannot be compared."""

from pathlib import Path

import pytest
from workbench_app.experiments.report import write_comparison
from workbench_app.experiments.tables import read_table, write_table

from tests.app.experiments.runs import RECIPE, made_run
from workbench import WorkbenchError


def compared(tmp_path: Path, *runs: Path) -> str:
    return write_comparison(runs, tmp_path / "out.html").read_text("utf-8").replace("\u00a0", " ")


def test_claims_and_effects_stand_side_by_side_with_both_intervals(tmp_path: Path) -> None:
    a = made_run(tmp_path / "first")
    b = made_run(tmp_path / "second", {"seed": 7}, steered=0.6, difference=-0.037, low=-0.081, high=0.012)
    page = compared(tmp_path, a, b)
    row = next(line for line in page.splitlines() if "<td>Refusals fall" in line)
    assert row.index("appears") < row.index("[−48.1, −24.2]") < row.index("does not appear") < row.index("[−8.1, +1.2]")
    assert "intervals 16.1 points apart" in row  # -0.081 against -0.242
    effect = next(line for line in page.splitlines() if "off, first 2 by fTRI; held: refusals" in line)
    assert "63.7 to 27.4 %" in effect
    assert "63.7 to 60 %" in effect
    assert "off L1E0; off L1E1" in effect
    assert "<td>seed</td>" in page


def test_the_same_run_twice_differs_in_nothing(tmp_path: Path) -> None:
    page = compared(tmp_path, made_run(tmp_path / "a"), made_run(tmp_path / "b"))
    assert " apart" not in page
    assert "Nothing but, perhaps, what they claim." in page


def test_what_only_one_run_has_is_a_dash(tmp_path: Path) -> None:
    other = {"claims": [], "plans": [{"ranking": ["fTRI"], "n": [1, 2], "edit": ["off"]}]}
    page = compared(tmp_path, made_run(tmp_path / "a"), made_run(tmp_path / "b", other))
    row = next(line for line in page.splitlines() if "<td>Refusals fall" in line)
    assert "<td>–</td>" in row


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    claims = [{**RECIPE["claims"][0], "text": "Something else", "edit": "mute"}]  # the same name is not the same claim
    other = {"claims": claims, "plans": [{"ranking": ["fTRI"], "n": [1, 2], "edit": ["mute"]}]}
    runs = made_run(tmp_path / "a"), made_run(tmp_path / "b", other)
    frame = read_table(runs[1], "arms")
    frame.loc[frame["edit"] == "off", "edit"] = "mute"
    write_table(runs[1], "arms", frame)
    with pytest.raises(WorkbenchError, match="a, b have no claim and no plan in common"):
        write_comparison(runs, tmp_path / "out.html")


@pytest.mark.parametrize("left", [0, 40])
def test_a_damaged_table_is_one_sentence(tmp_path: Path, left: int) -> None:
    runs = made_run(tmp_path / "a"), made_run(tmp_path / "b")
    path = runs[1] / "tables" / "arms.parquet"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(WorkbenchError, match=r"The table '.*arms.parquet' is damaged .* delete the folder '.*tables'"):
        write_comparison(runs, tmp_path / "out.html")


def test_one_run_alone_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="give two runs or more"):
        write_comparison([made_run(tmp_path / "a")], tmp_path / "out.html")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="is no experiment run"):
        write_comparison([made_run(tmp_path / "a"), tmp_path], tmp_path / "out.html")
