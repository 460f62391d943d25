"""What Python passes to a probe is of the kind that the signature says, for every probe and every option that is a number."""

import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import probes
from probes import min_norm, usage
from probes.catalogue import ASKED
from tests.probes.reading.made import words
from workbench.errors import WorkbenchError

_WRONG: dict[str, list[Any]] = {
    "float": [float("nan"), float("inf"), "a", [1.0], True],
    "int": [1.5, float("nan"), "a", [1]],
    "bool": [float("nan"), "no", 1],
    "list[float] | tuple[float, ...]": [1.0, [float("nan")], ["a"]],
    "list[int] | tuple[int, ...]": [4, [1.5], [float("nan")]],
}


def _kind(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


ASKS = [
    (name, option, wrong)
    for name, method in ASKED.items()
    for option, p in inspect.signature(method.load()).parameters.items()
    for wrong in _WRONG.get(_kind(p.annotation), ())
]


def test_an_option_of_another_kind_is_one_sentence_of_every_probe() -> None:
    assert {name for name, *_ in ASKS} >= {"capacity", "saliency", "usage", "locality", "placement", "esft", "describe"}
    for name, option, wrong in ASKS:
        required = dict.fromkeys(ASKED[name].classes[:1], "a") if name != "ftri" else {}
        with pytest.raises(WorkbenchError, match=rf"^{name}: {option}=.* makes no sense; it should be [^\n]*\.$"):
            getattr(probes, name)(
                None, **({"other": None} if ASKED[name].beside else {}), **required, **{option: wrong}
            )


@pytest.mark.parametrize("name", list(ASKED))
def test_what_is_drawn_is_not_below_zero_and_a_probe_stays_itself(name: str) -> None:
    ask = getattr(probes, name)
    assert pickle.loads(pickle.dumps(ask)) is ask is ASKED[name].load()  # noqa: S301 (our own)
    for option in inspect.signature(ask).parameters:
        if option == "seed" or option.startswith("n_"):
            with pytest.raises(
                WorkbenchError, match=rf"^{name}: {option}=-1 is below 0; give a whole number from 0 on\.$"
            ):
                ask(None, **{option: -1})


def test_numbers_of_numpy_and_other_lists_are_taken() -> None:
    store = words("am/ab/ab/ab")
    few: Any = {"n_bootstrap": np.int64(120), "seed": np.uint8(3), "roles": ("user",)}
    wanted = usage(store, n_bootstrap=120, seed=3, roles=["user"]).frame
    assert usage(store, **few).frame.equals(wanted)
    found = probes.capacity(store, factors=np.array([1, 2.0]), parts=np.array(2))  # pyright: ignore[reportArgumentType]
    assert set(found.frame["factor"]) == {1.0, 2.0}


def test_a_mask_of_numbers_and_no_role_are_said() -> None:
    store = words("am/ab/ab/ab")
    with pytest.raises(
        WorkbenchError, match=r"^tokens is an array of float64; it needs a name \(.*one bool for each row"
    ):
        min_norm(store, tokens=np.full(8, np.nan))
    with pytest.raises(WorkbenchError, match=r"is in tokens='all', since roles names none; read other tokens: "):
        usage(store, roles=[])
