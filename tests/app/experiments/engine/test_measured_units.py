"""What a unit hands to the library, and what a function of one's own may answer; no model is loaded."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workbench_app.experiments.engine import Arm, Measuring, about_unit, measuring, read_unit
from workbench_app.experiments.engine.units import Unit
from workbench_app.experiments.recipe import own_metric, recipe_from

from tests.app.experiments.made import ARMS, NAN, RECIPE, SETS, ids
from tests.support.refusals import refused
from workbench import Plan
from workbench.progress import Meter

ENCODED = [(1,), (2, 2), (3, 3, 3)]
NOTHING = str(Plan())


class Library:
    """Stands where the library stands: keeps what it was asked, and answers with numbers that stand nowhere else."""

    def __init__(self) -> None:
        self.asked, self.checked = list[Any](), list[Any]()
        self.texts = [SimpleNamespace(prompt_id=f"given{i}", before=(i,), read=(i, i)) for i in range(3)]

    def answer(self, model: Any, encoded: Any, plan: Plan, most: int, batch: int, meter: Any) -> Any:
        self.asked.append(("answers", encoded, str(plan), most, batch))
        dose = SimpleNamespace(_asdict=lambda: {"tokens": 5})
        return SimpleNamespace(texts=("a", "bb", "ccc"), ids=((1,), (2, 3), ()), dose=dose, broken=())

    def divergence(self, model: Any, before: Any, after: Any, plans: Any, batch: int, meter: Any) -> Any:
        self.asked.append(("read", before, after, list(map(str, plans)), batch))
        own = {
            "kl_first_nats": [1.0, 2.0, 3.0],
            "kl_nats": [4.0, 5.0, 6.0],
            "nll_nats": [7.0, 8.0, 9.0],
            "n_tokens": [1, 2, 3],
        }
        other = {"kl_first_nats": [0.0] * 3, "kl_nats": [0.5] * 3, "nll_nats": [0.25] * 3, "n_tokens": [9] * 3}
        return [SimpleNamespace(**own), SimpleNamespace(**other)]

    def choose(self, model: Any, prompts: Any, plans: Any, batch_tokens: int, meter: Any) -> Any:
        self.asked.append(("choice", prompts, list(map(str, plans)), batch_tokens))
        rows = {"prompt_id": ids("other"), "right": [True, False, True], "right_normalised": [False, False, True]}
        return [pd.DataFrame(rows | {"margin_nats": [0.5, -0.5, start]}) for start in (1.0, 2.0)]

    def encode_all(self, model: Any, prompts: Any, room: int) -> Any:
        self.asked.append(("encode", str(prompts.source), room))
        return ENCODED

    def sinks_by_prompt(self, model: Any, prompts: Any, plan: Plan) -> Any:
        """Two layers of two heads; the third prompt has no query."""
        self.asked.append(("sinks", str(plan)))
        share = np.arange(12.0).reshape(3, 2, 2) / 10
        share[2] = NAN
        return SimpleNamespace(layers=(0, 3), share=share, n_queries=np.array([5, 6, 7]))

    def given_text(self, *_: Any) -> Any:
        return self.texts

    def check_applies(self, prompts: Any, found: Any) -> None:
        self.checked.append(list(found.values))


class Units:
    """The units of the recipe, each measured with the library's stand-in and read back."""

    def __init__(self, folder: Path, library: Library) -> None:
        self.folder, self.library, self.recipe, self.meter = folder, library, recipe_from(RECIPE), Meter(0, None)
        self.here = Measuring(folder, self.recipe, SimpleNamespace(), SETS, {}, self.meter)  # pyright: ignore[reportArgumentType]

    def measured(self, what: str, prompts: str, *arms: Arm) -> pd.DataFrame:
        """What the unit's file holds; `library.asked` is what this unit asked."""
        self.library.asked.clear()
        number = list(self.recipe.prompts).index(prompts)
        path = f"units/00-{number:02}-{what}-{arms[0].arm}.parquet"
        self.here.measure(Unit(prompts, what, arms, path))
        return read_unit(self.folder / path).to_pandas()


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Units:
    library = Library()
    for name in ("answer", "divergence", "choose", "encode_all", "check_applies", "given_text"):
        monkeypatch.setattr(measuring, name, getattr(library, name))
    monkeypatch.setattr("workbench.comparison.sinks_by_prompt", library.sinks_by_prompt)
    return Units(tmp_path, library)


BASE, PLAN = ARMS[:2]


def test_answers_are_asked_with_the_recipes_lengths_and_encoded_once(units: Units) -> None:
    asked, checked = units.library.asked, units.library.checked
    one = units.measured("answers", "held", BASE)
    assert asked == [("encode", "held", 4), ("answers", ENCODED, NOTHING, 4, 4096)]
    assert one.drop(columns="ids").to_numpy().tolist() == [["held0", "a", 1], ["held1", "bb", 2], ["held2", "ccc", 3]]
    assert list(one.columns) == ["prompt_id", "answer", "ids", "metric.length"]
    assert [list(i) for i in one["ids"]] == [[1], [2, 3], []]
    assert about_unit(read_unit(units.folder / "units/00-01-answers-base.parquet")) == {"dose": {"tokens": 5}}
    assert checked == [["length"]]
    units.measured("answers", "held", PLAN)
    assert asked == [("answers", ENCODED, "off L1E1", 4, 4096)]  # encoded once
    assert checked == [["length"]]  # asked of the bare model alone


def test_distributions_are_read_over_the_answers_of_the_bare_model(units: Units) -> None:
    units.measured("answers", "held", BASE)
    kl = units.measured("distributions", "held", BASE, PLAN)
    assert units.library.asked == [("read", ENCODED, [(1,), (2, 3), ()], [NOTHING, "off L1E1"], 4096)]
    assert kl.to_numpy().tolist() == [
        *(["held" + str(i), 1.0 + i, 4.0 + i, 7.0 + i, 1 + i, "base"] for i in range(3)),
        *(["held" + str(i), 0.0, 0.5, 0.25, 9, "P01"] for i in range(3)),
    ]
    assert list(kl.columns) == ["prompt_id", "kl_first_nats", "kl_nats", "nll_nats", "n_tokens", "arm"]


def test_choices_are_asked_of_all_arms_together(units: Units) -> None:
    chosen = units.measured("choice", "other", BASE, PLAN)
    assert units.library.asked == [("choice", SETS["other"], [NOTHING, "off L1E1"], 4096)]
    assert chosen.to_numpy().tolist() == [
        [f"other{i}", float(i != 1), float(i == 2), (0.5, -0.5, last)[i], arm]
        for arm, last in (("base", 1.0), ("P01", 2.0))
        for i in range(3)
    ]
    assert list(chosen.columns) == ["prompt_id", "choice", "choice_normalised", "choice_margin", "arm"]


def test_given_text_is_read_or_said_to_be_missing(units: Units) -> None:
    text = units.measured("perplexity", "given", BASE, PLAN)
    assert units.library.asked == [
        ("encode", "given", 0),
        ("read", [(0,), (1,), (2,)], [(0, 0), (1, 1), (2, 2)], [NOTHING, "off L1E1"], 4096),
    ]
    assert text["prompt_id"].tolist() == ids("given") * 2
    units.library.texts.clear()
    assert refused(units.measured, "perplexity", "given", BASE) == (
        "'measure.perplexity' reads 'given', none of whose prompts gives a text or a response to read."
    )


def test_sinks_are_measured_plan_by_plan_and_leave_out_a_prompt_without_a_query(units: Units) -> None:
    shares = units.measured("sinks", "given", PLAN)
    assert units.library.asked == [("sinks", "off L1E1"), ("encode", "given", 0)]
    assert shares.to_numpy().tolist() == [
        [f"given{p}", layer, head, pytest.approx((4 * p + 2 * at + head) / 10), n]
        for p, n in ((0, 5), (1, 6))
        for at, layer in enumerate((0, 3))
        for head in (0, 1)
    ]
    assert (units.meter.done, units.meter.forwards) == (6, 1)


def test_a_function_of_ones_own_gives_a_number_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    assert own_metric("builtins:len").function("abc") == 3.0  # pyright: ignore[reportArgumentType]
    assert own_metric("os.path:splitdrive").name == "os.path:splitdrive"
    monkeypatch.setattr(builtins, "nothing_of_ours", lambda _: None, raising=False)
    assert own_metric("builtins:nothing_of_ours").function("abc") is None  # pyright: ignore[reportArgumentType]
