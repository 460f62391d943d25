"""AIMER and the minimum norm where it is known what they are, on a model's own weights, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probes import aimer, min_norm, saliency
from tests.probes.oracle.cases import Case, golden
from tests.probes.oracle.importance.cases import drawn, sized, weighed
from tests.probes.oracle.memory import disk_store
from tests.support.families import get
from workbench import capture
from workbench.errors import WorkbenchError


def holding(*experts: np.ndarray) -> Case:
    """The golden store whose layer 1 has experts of these numbers."""
    case = golden()
    case.rows["matrices"] = [
        {"layer": 1, "expert": e, "matrix": "up", "n_values": x.size, "sum_abs": float(abs(x).sum()),
         "sum_squares": float((x * x).sum())}
        for e, x in enumerate(experts)
    ]  # fmt: skip
    return case


def by_expert(found: Any) -> list[float]:
    return found.frame.sort_values(["layer", "expert"])["score"].tolist()


def test_aimer_of_known_distributions() -> None:
    draw, n = np.random.default_rng(0), 400_000
    one = np.zeros(n)
    one[7] = -3.0
    found = by_expert(aimer(holding(draw.normal(size=n), draw.uniform(-1, 1, n), one).store))
    # E|x| / root E x^2: normal root(2 / pi), uniform (1/2) / root(1/3); one number alone 1 / root P
    assert found == pytest.approx([(2 / np.pi) ** 0.5, 0.75**0.5, n**-0.5], abs=0.004)


def test_aimer_does_not_see_how_large_weights_are_and_the_norm_sees_nothing_else() -> None:
    x = np.random.default_rng(1).normal(size=50)
    store = holding(x, 8 * x, -x).store
    flat, size = by_expert(aimer(store)), by_expert(min_norm(store, of="weights"))
    assert flat == pytest.approx([flat[0]] * 3)
    assert size == pytest.approx([size[0], 8 * size[0], size[0]])


def test_a_weight_that_is_not_finite_leaves_its_expert_without_a_score() -> None:
    case = holding(np.ones(4), np.array([1, np.nan]), np.ones(2))
    assert np.isnan(by_expert(aimer(case.store))).tolist() == [False, True, False]
    assert np.isnan(by_expert(min_norm(case.store, of="weights"))).tolist() == [False, True, False]


def test_nothing_read_of_tokens_flags_nobody_dead() -> None:
    found = aimer(weighed().store).frame  # expert 4 of layer 2 is never selected, and has no weights
    assert not found["flags"].str.contains("dead").any()
    assert found[["low", "high", "p"]].isna().all().all()


@pytest.mark.parametrize(("per", "member"), [("selection", {}), ("token", {"frequency": True})])
def test_the_norm_of_outputs_is_man_and_ean_with_their_intervals(per: str, member: dict[str, bool]) -> None:
    store = drawn(3).store
    own, theirs = min_norm(store, per=per), saliency(store, gate=0, **member)
    pd.testing.assert_frame_equal(own.frame, theirs.frame)
    assert (own.method, own.options["per"]) == ("min_norm", per)


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss"])
def test_on_a_model_it_is_what_its_weights_say(name: str, tmp_path: Path) -> None:
    model = get(name)
    store = capture(
        model, [{"id": "a", "text": "some words"}], tmp_path / "s", keep={"matrices", "norms"}, progress=False
    )
    weights = {
        n: x.double().numpy() for n, x in model.hf.state_dict().items() if n.endswith(("gate_up_proj", "down_proj"))
    }
    flat, size = aimer(store).frame, min_norm(store, of="weights").frame
    for row in flat.itertuples():
        own = [x[row.expert].ravel() for n, x in weights.items() if f"layers.{row.layer}." in n]
        theta = np.concatenate(own)
        assert row.score == pytest.approx(abs(theta).mean() / (theta**2).mean() ** 0.5, rel=1e-9)
        same = size[(size["layer"] == row.layer) & (size["expert"] == row.expert)]
        assert same["score"].item() == pytest.approx((theta**2).sum() ** 0.5, rel=1e-9)
        assert row.n == same["n"].item() == len(theta)


def test_what_is_refused(tmp_path: Path) -> None:
    store = disk_store(tmp_path / "s", golden().anatomy, golden().rows)
    for ask in (aimer, lambda store: min_norm(store, of="weights")):
        with pytest.raises(
            WorkbenchError, match=r"kept no matrices; capture it again with keep including 'matrices'\.$"
        ):
            ask(store)
    with pytest.raises(
        WorkbenchError, match="of='inputs' and per='selection' name no norm; of is outputs, weights, per is "
    ):
        min_norm(sized().store, of="inputs")  # pyright: ignore[reportArgumentType]
    assert not [note for note in min_norm(sized().store).notes if "rank correlation" in note], (
        "the store has no matrices"
    )
