"""Runs side by side: a cell for every run, intervals that touch, and recipes that differ."""

from pathlib import Path

from workbench_app.experiments.report.comparison import Opened, apart_by, claim_lines, differing, effect_lines, shown_as
from workbench_app.experiments.report.report import opened

from tests.app.experiments.runs import made_recipe, made_run

NAN = float("nan")


def side(folder: Path, name: str, **effect: float) -> Opened:
    recipe, tables, _ = opened(made_run(folder / name, **effect))
    return Opened(name, "some/model", recipe, tables)


def test_lines_hold_a_cell_for_every_run(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a"), side(tmp_path, "b", steered=0.6, difference=-0.037, low=-0.081, high=0.012)
    b.tables["effects"] = b.tables["effects"].query("arm != 'P01'")
    b.tables["claims"] = b.tables["claims"].query("name == 'falls'")
    falls, stays = claim_lines([a, b])
    assert falls.label == "Refusals fall"
    assert falls.sides == (("appears", "−36.3", "[−48.1, −24.2]", ""), ("does not appear", "−3.7", "[−8.1, +1.2]", ""))
    assert falls.apart == "intervals 16.1\u00a0points apart"
    assert (stays.sides[1], stays.apart) == (None, "")
    lines = {line.label: line for line in effect_lines([a, b])}
    assert list(lines) == [
        "off, the other end's 1 by fTRI; held: refusals", "off, first 2 by fTRI; held: refusals",
        "off, first 2 by fTRI; sums: exactly right answers", "off, the other end's 2 by fTRI; held: refusals",
    ]  # fmt: skip
    plan = lines["off, first 2 by fTRI; held: refusals"]
    assert plan.sides[0] == ("63.7 to 27.4\u00a0%", "−36.3", "[−48.1, −24.2]", "off L1E0; off L1E1")
    assert plan.sides[1] == ("63.7 to 60\u00a0%", "−3.7", "[−8.1, +1.2]", "off L1E0; off L1E1")
    assert lines["off, the other end's 2 by fTRI; held: refusals"].apart == ""


def test_intervals_that_touch_are_not_apart() -> None:
    rows = [
        {"metric": "refused", "low": low, "high": high}
        for low, high in ((0.0, 0.1), (0.1, 0.2), (0.15, 0.3), (NAN, NAN))
    ]
    assert apart_by(rows[:2]) == ""
    assert apart_by([rows[0], rows[2], None, rows[3]]) == "intervals 5\u00a0points apart"
    assert apart_by([None, rows[3]]) == ""


def test_what_differs_between_recipes_is_text() -> None:
    a, b = made_recipe(), made_recipe(seed=1, title="", claims=[], references=[])
    assert differing([a, b]) == [("title", ("A made-up run", "–")), ("seed", ("0", "1"))]
    assert differing([a, a]) == []
    assert [shown_as(v) for v in (None, "", [], {}, 0)] == ["–", "–", "–", "–", "0"]
    assert shown_as("x" * 300) == "x" * 300
    assert shown_as("x" * 301) == "x" * 299 + "…"
