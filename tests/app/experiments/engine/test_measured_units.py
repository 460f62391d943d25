"""What a unit hands to the library, and what a function of one's own may answer; no model is loaded."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workbench_app.experiments import measuring
from workbench_app.experiments.arms import Arm
from workbench_app.experiments.measuring import Measuring, about_unit, read_unit
from workbench_app.experiments.recipe import recipe_from
from workbench_app.experiments.units import Unit

from tests.app.experiments.made import ARMS, NAN, RECIPE, SETS, ids
from workbench import Plan, WorkbenchError
from workbench.progress import Meter


def test_a_unit_is_measured_as_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, asked = recipe_from(RECIPE), list[Any]()
    found = SimpleNamespace(
        kl_first_nats=[1.0, 2.0, 3.0], kl_nats=[4.0, 5.0, 6.0], nll_nats=[7.0, 8.0, 9.0], n_tokens=[1, 2, 3]
    )
    other = SimpleNamespace(kl_first_nats=[0.0] * 3, kl_nats=[0.5] * 3, nll_nats=[0.25] * 3, n_tokens=[9] * 3)
    sinks = SimpleNamespace(layers=(0, 3), share=np.arange(12.0).reshape(3, 2, 2) / 10, n_queries=np.array([5, 6, 7]))
    sinks.share[2] = NAN
    dose = SimpleNamespace(_asdict=lambda: {"tokens": 5})

    def answer(model: Any, encoded: Any, plan: Plan, most: int, batch: int, meter: Any) -> Any:
        asked.append(("answers", encoded, str(plan), most, batch))
        return SimpleNamespace(texts=("a", "bb", "ccc"), ids=((1,), (2, 3), ()), dose=dose)

    def divergence(model: Any, before: Any, after: Any, plans: Any, batch: int, meter: Any) -> Any:
        asked.append(("read", before, after, list(map(str, plans)), batch))
        return [found, other]

    def choose(model: Any, prompts: Any, plans: Any, batch_tokens: int, meter: Any) -> Any:
        asked.append(("choice", prompts, list(map(str, plans)), batch_tokens))
        rows = {"prompt_id": ids("other"), "right": [True, False, True], "right_normalised": [False, False, True]}
        return [pd.DataFrame(rows | {"margin_nats": [0.5, -0.5, start]}) for start in (1.0, 2.0)]

    def encode(model: Any, prompts: Any, room: int) -> Any:
        asked.append(("encode", str(prompts.source), room))
        return [(1,), (2, 2), (3, 3, 3)]

    monkeypatch.setattr(measuring, "answer", answer)
    monkeypatch.setattr(measuring, "divergence", divergence)
    monkeypatch.setattr(measuring, "choose", choose)
    monkeypatch.setattr(measuring, "encode_all", encode)
    monkeypatch.setattr(measuring, "metric_values", lambda metric, prompts, answers: [len(t) for t in answers.texts])
    checked: list[Any] = []
    monkeypatch.setattr(
        measuring, "check_applies", lambda metrics, prompts, found: checked.append([m.name for m in metrics])
    )
    monkeypatch.setattr(
        "workbench.attention.sinks_by_prompt", lambda model, prompts, plan: asked.append(("sinks", str(plan))) or sinks
    )
    texts = [SimpleNamespace(prompt_id=f"given{i}", before=(i,), read=(i, i)) for i in range(3)]
    monkeypatch.setattr(measuring, "given_text", lambda *_: texts)
    meter, nothing = Meter(0, None), str(Plan())
    here = Measuring(tmp_path, recipe, SimpleNamespace(), SETS, {}, meter)  # pyright: ignore[reportArgumentType]
    base, plan, encoded = ARMS[0], ARMS[1], [(1,), (2, 2), (3, 3, 3)]

    def measured(what: str, prompts: str, *arms: Arm) -> pd.DataFrame:
        asked.clear()
        number = list(recipe.prompts).index(prompts)
        path = f"units/00-{number:02}-{what}-{arms[0].arm}.parquet"
        here.measure(Unit(prompts, what, arms, path))
        return read_unit(tmp_path / path).to_pandas()

    one = measured("answers", "held", base)
    assert asked == [("encode", "held", 4), ("answers", encoded, nothing, 4, 4096)]
    assert one.drop(columns="ids").to_numpy().tolist() == [["held0", "a", 1], ["held1", "bb", 2], ["held2", "ccc", 3]]
    assert list(one.columns) == ["prompt_id", "answer", "ids", "metric.length"]
    assert [list(i) for i in one["ids"]] == [[1], [2, 3], []]
    assert about_unit(read_unit(tmp_path / "units/00-01-answers-base.parquet")) == {"dose": {"tokens": 5}}
    assert checked == [["length"]]
    measured("answers", "held", plan)
    assert asked == [("answers", encoded, "off L1E1", 4, 4096)]  # encoded once
    assert checked == [["length"]]  # asked of the bare model alone
    kl = measured("distributions", "held", base, plan)
    assert asked == [("read", encoded, [(1,), (2, 3), ()], [nothing, "off L1E1"], 4096)]
    assert kl.to_numpy().tolist() == [
        *(["held" + str(i), 1.0 + i, 4.0 + i, 7.0 + i, 1 + i, "base"] for i in range(3)),
        *(["held" + str(i), 0.0, 0.5, 0.25, 9, "P01"] for i in range(3)),
    ]
    assert list(kl.columns) == ["prompt_id", "kl_first_nats", "kl_nats", "nll_nats", "n_tokens", "arm"]
    chosen = measured("choice", "other", base, plan)
    assert asked == [("choice", SETS["other"], [nothing, "off L1E1"], 4096)]
    assert chosen.to_numpy().tolist() == [
        [f"other{i}", float(i != 1), float(i == 2), (0.5, -0.5, last)[i], arm]
        for arm, last in (("base", 1.0), ("P01", 2.0))
        for i in range(3)
    ]
    assert list(chosen.columns) == ["prompt_id", "choice", "choice_normalised", "choice_margin", "arm"]
    text = measured("perplexity", "given", base, plan)
    assert asked == [
        ("encode", "given", 0),
        ("read", [(0,), (1,), (2,)], [(0, 0), (1, 1), (2, 2)], [nothing, "off L1E1"], 4096),
    ]
    assert text["prompt_id"].tolist() == ids("given") * 2
    shares = measured("sinks", "given", plan)
    assert asked == [("sinks", "off L1E1")]
    assert shares.to_numpy().tolist() == [
        [f"given{p}", layer, head, pytest.approx((4 * p + 2 * at + head) / 10), n]
        for p, n in ((0, 5), (1, 6))
        for at, layer in enumerate((0, 3))
        for head in (0, 1)
    ]  # the third prompt has no query
    assert (meter.done, meter.forwards) == (6, 1)
    texts.clear()
    with pytest.raises(WorkbenchError) as error:
        measured("perplexity", "given", base)
    assert (
        str(error.value)
        == "'measure.perplexity' reads 'given', none of whose prompts gives a text or a response to read."
    )


def test_a_function_of_ones_own_gives_a_number_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    assert measuring.own_metric("builtins:len").function("abc") == 3.0  # pyright: ignore[reportArgumentType]
    assert measuring.own_metric("os.path:splitdrive").name == "os.path:splitdrive"
    monkeypatch.setattr(builtins, "nothing_of_ours", lambda _: None, raising=False)
    assert measuring.own_metric("builtins:nothing_of_ours").function("abc") is None  # pyright: ignore[reportArgumentType]
