"""A recipe's captures and rankings: each made once as it says, and read again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from workbench_app.experiments.engine import ranking
from workbench_app.experiments.engine.arms import Ranked
from workbench_app.experiments.recipe import recipe_from

from tests.app.experiments.made import NAN, RECIPE, SETS
from tests.support.stores import random_store
from workbench import WorkbenchError
from workbench.capturing import Options
from workbench.progress import Meter, Progress


def test_every_ranking_set_is_captured_once_as_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"keep": ["outputs"], "generate": 3, "samples": 2, "temperature": 0.5}
    recipe, asked = recipe_from(RECIPE | {"capture": how, "seed": 9, "batch_tokens": 77}), list[Any]()
    said: list[Progress] = []
    meter = Meter(100, said.append)

    def capture(model: Any, prompts: Any, path: Path, given: Options, *, shard: Any, progress: Any) -> Any:
        asked.append((model, prompts, path.as_posix().removeprefix(f"{tmp_path}/"), given))
        for done, message in ((5, ""), (5, "a message"), (5, ""), (12, "")):
            progress(Progress(done, 50, 1.0, message))
        return random_store(path)

    monkeypatch.setattr(ranking, "capture_with", capture)
    found = ranking.captured(tmp_path, recipe, 3, SETS, lambda: "the model", meter)  # pyright: ignore[reportArgumentType]
    options = Options(("outputs",), generate=3, samples=2, temperature=0.5, batch_tokens=77, seed=9)
    assert asked == [("the model", SETS["ranked"], "stores/03-00", options)]
    assert [(p.done, p.message) for p in said] == [(5, ""), (5, "a message"), (12, "")]
    again = ranking.captured(tmp_path, recipe, 3, SETS, lambda: 1 / 0, meter)  # pyright: ignore[reportArgumentType]
    assert [s.path for s in again.values()] == [s.path for s in found.values()]
    responses = recipe_from(RECIPE | {"capture": {"responses": True, "keep": ["norms"]}})
    ranking.captured(tmp_path / "b", responses, 0, SETS, lambda: 0, Meter(0, None))  # pyright: ignore[reportArgumentType]
    assert asked[-1][3].responses is True


def test_a_ranking_is_made_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.ranking import ExpertScores

    recipe, made, said = recipe_from(RECIPE), list[Any](), list[Progress]()
    frame = pd.DataFrame({"layer": [1], "expert": [2], "score": [0.5], "n": [3], "low": NAN, "high": NAN, "p": NAN,
                          "p_adjusted": NAN, "flags": "super expert"})  # fmt: skip

    def usage(store: Any, **options: Any) -> ExpertScores:
        made.append((store, options))
        return ExpertScores("usage", {}, frame, (), "f")

    def fails(store: Any) -> ExpertScores:
        raise WorkbenchError("no labels.")

    monkeypatch.setattr(
        ranking, "ranker", lambda name: SimpleNamespace(name=name, load=lambda: {"usage": usage, "ftri": fails}[name])
    )
    monkeypatch.setattr(ranking, "expert_loads", lambda store: f"loads of {store}")
    for _ in range(2):
        found: Ranked = ranking.rank(tmp_path, recipe, 2, {"ranked": "the store"}, Meter(0, said.append))  # pyright: ignore[reportArgumentType]
        assert list(found.scores) == ["cats"]
        assert found.failed == {"dogs": "no labels."}
        assert found.loads == {"cats": "loads of the store", "dogs": "loads of the store"}
        assert [str(e) for e in found.supers] == ["L1E2"]
    assert made == [("the store", {})]
    assert [p.message for p in said] == ["Ranking by usage: cats", "Ranking by ftri: dogs"]
    assert sorted(f.name for f in (tmp_path / "units").iterdir()) == ["02-scores-00.parquet", "02-scores-01.parquet"]
