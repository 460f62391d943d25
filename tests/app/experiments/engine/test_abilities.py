"""What a recipe asks of an engine that cannot do it is refused before anything is counted or written."""

from types import SimpleNamespace
from typing import Any

import pytest
from workbench_app.experiments.engine import plan_model, planning
from workbench_app.experiments.engine.abilities import check_abilities
from workbench_app.experiments.recipe import Recipe

from tests.app.experiments.engine.small import SHAPE, changed, sets_of
from workbench import WorkbenchError
from workbench.backends import Capabilities


def model(**cannot: Any) -> Any:
    facts = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=7), config=None, anatomy=SHAPE)
    backend = SimpleNamespace(can=Capabilities("e", **cannot), facts=facts)
    return SimpleNamespace(anatomy=SHAPE, facts=facts, tokenizer=None, local=None, hf=None, engine=lambda _: backend)


@pytest.mark.parametrize(
    ("cannot", "part"),
    [
        (
            {"scoring": False},
            "cannot score given text, which measure.distributions (or a metric kl or kl_first) needs on",
        ),
        ({"keep": None}, "cannot record which experts are selected on"),
    ],
)
def test_it_is_refused_first(
    recipe: Recipe, cannot: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "token_counts", lambda *_: pytest.fail("it was counted"))
    with pytest.raises(WorkbenchError) as caught:
        plan_model(recipe, sets_of(), model(**cannot), "s")
    assert str(caught.value).startswith(f"The engine 'e' {part}")


def test_what_is_read_of_the_weights_is_no_engine_s_business(recipe: Recipe) -> None:
    kept = changed(recipe, "capture", keep=("norms", "matrices", "outputs:0.1"))
    check_abilities(kept, model(keep=frozenset({"norms", "outputs"})))
    with pytest.raises(WorkbenchError, match="cannot record residual on"):
        check_abilities(changed(recipe, "capture", keep=("norms", "residual")), model(keep=frozenset({"norms"})))
    check_abilities(recipe, model(keep=frozenset({"norms"})))  # which names nothing
    with pytest.raises(WorkbenchError, match="cannot record inner on"):
        check_abilities(changed(recipe, "capture", keep=("inner:0.1",)), model(keep=frozenset({"norms"})))
