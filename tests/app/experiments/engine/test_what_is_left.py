"""How far a run is: what is left is counted unit by unit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments import run as running
from workbench_app.experiments.engine import Measuring, arms_path
from workbench_app.experiments.engine.arms import to_rows
from workbench_app.experiments.engine.unit_files import write_unit
from workbench_app.experiments.engine.units import Unit
from workbench_app.experiments.recipe import Recipe, recipe_from

from tests.app.experiments.made import ARMS, RECIPE, SETS
from workbench.progress import Meter


def test_what_is_left_is_counted_unit_by_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of one plan: the total is what was done, the units left and the models to come."""
    recipe = _small(models=["a", "b"])
    meter, seen = Meter(0, None), list[Any]()
    monkeypatch.setattr(running, "token_counts", lambda *_: {"ranked": 10, "held": 20})
    monkeypatch.setattr(running, "planned_cost", lambda *_: 1000)
    monkeypatch.setattr(
        running, "unit_cost", lambda recipe, sets, lengths, unit: {"answers": 7, "distributions": 11}[unit.what]
    )
    monkeypatch.setattr(running, "check_model", lambda *given: seen.append(("checked", given[2], given[4])))
    monkeypatch.setattr(running, "captured", lambda *_: {})

    def measure(self: Measuring, unit: Unit) -> None:
        seen.append((unit.what, unit.arms[0].arm, self.meter.total, self.meter.done))
        self.meter.forwarded(5)

    monkeypatch.setattr(Measuring, "measure", measure)
    model = SimpleNamespace(dtype="torch.float32", anatomy="the map")
    arms = (ARMS[0], ARMS[1])
    for number in (0, 1):
        write_unit(tmp_path, arms_path(number), pd.DataFrame(to_rows(arms)).astype(object))
    one = running.Run(tmp_path, recipe, SETS, lambda _: model, {"models": [{}, {}]}, meter)  # pyright: ignore[reportArgumentType]
    assert one.one_model(0) == 3
    assert seen == [
        ("checked", 0, "float32"),
        ("answers", "base", 7 + 7 + 11 + 1000, 0), ("answers", "P01", 5 + 7 + 11 + 1000, 5),
        ("distributions", "base", 10 + 11 + 1000, 10),
    ]  # fmt: skip
    assert meter.total == 15 + 1000
    seen.clear()
    (tmp_path / "units" / "01-01-answers-base.parquet").touch()  # done before
    assert one.one_model(1) == 2
    assert seen[1:] == [("answers", "P01", 15 + 7 + 11, 15), ("distributions", "base", 20 + 11, 20)]
    assert meter.total == 25
    for name in ("01-01-answers-P01", "01-01-distributions-base"):
        (tmp_path / "units" / f"{name}.parquet").touch()
    assert one.one_model(1) == 0


def test_before_there_are_arms_the_total_is_all_that_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _small(models=["a", "b", "c"])
    meter = Meter(0, None)
    meter.forwarded(6)
    monkeypatch.setattr(running, "token_counts", lambda *_: {})
    monkeypatch.setattr(running, "planned_cost", lambda *_: 1000)
    monkeypatch.setattr(running, "check_model", lambda *_: None)
    decoded: list[Any] = []
    monkeypatch.setattr(running, "check_decoding", lambda *given: decoded.append(given[2:]))
    monkeypatch.setattr(running, "decoding_of", lambda *_: SimpleNamespace(record=lambda: {"stop": [1]}))
    monkeypatch.setattr(running, "captured", lambda *_: {})

    def rank(run: Path, recipe: Recipe, number: int, stores: Any, meter: Meter) -> Any:
        assert (number, meter.total) == (1, 6 + 2 * 1000)
        return "ranked"

    monkeypatch.setattr(running, "rank", rank)
    monkeypatch.setattr(
        running, "arms_of", lambda recipe, anatomy, ranked: ARMS if (anatomy, ranked) == ("the map", "ranked") else ()
    )
    model = SimpleNamespace(dtype="torch.float32", anatomy="the map")
    one = running.Run(tmp_path, recipe, SETS, lambda _: model, {"models": [{}, {"decoding": {"stop": [1]}}]}, meter)  # pyright: ignore[reportArgumentType]
    assert one.arms_on_disk(1) is None
    assert one.make_arms(1) == ARMS == one.arms_on_disk(1)
    assert decoded == [(1, {"stop": [1]})]


def _small(**changes: Any) -> Recipe:
    prompts = {k: v for k, v in RECIPE["prompts"].items() if k in ("ranked", "held")}
    return recipe_from(
        RECIPE | {"prompts": prompts, "rankings": [], "plans": [{"text": "off L1E1"}], "measure": {}} | changes
    )
