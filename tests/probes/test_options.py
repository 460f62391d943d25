"""A probe's options are known by name and of the kind that the probe takes; what several fields make is set field by field."""

from typing import Any

import pytest

from probes import MassiveRule, super_experts
from probes.catalogue import ranker
from probes.options import mistake, options_for, read_text
from tests.probes.magnitudes.test_massive import two_writers
from workbench import WorkbenchError


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        ("super_experts", {"massive": {"absolute": "many"}}, "'massive.absolute' is 'many'; it should be a finite number."),
        ("super_experts", {"massive": {"absolute": float("nan")}}, "'massive.absolute' is nan; it should be a finite number."),
        ("super_experts", {"massive": {"absolute": True}}, "'massive.absolute' is true; it should be a finite number."),
        ("super_experts", {"massive": {"ratio": None}}, "'massive.ratio' is null; it should be a finite number."),
        ("super_experts", {"massive": {"growth": "x"}},
         "'massive.growth' is 'x'; it should be a finite number or nothing (null)."),
        ("super_experts", {"massive": {"against": "owm"}},
         "'massive.against' is 'owm'; it should be one of ordinary, own; did you mean 'own'?"),
        ("super_experts", {"massive": {"absolut": 1}},
         "'massive.absolut' is no option of massive; did you mean 'absolute'? it has absolute, ratio, growth, against."),
        ("super_experts", {"massive": [100, 1000]},
         "'massive' is [100, 1000]; it should be a table of absolute, ratio, growth, against or nothing (null)."),
        ("super_experts", {"guard": "no"}, "'guard' is 'no'; it should be true or false."),
        ("super_experts", {"shared": 0}, "'shared' is 0; it should be true or false."),
        ("super_experts", {"rule": "papr"}, None),
        ("super_experts", {"store": 1}, "'store' is no option of super_experts; it has rule, massive, guard, shared."),
        ("usage", {"seed": 1.5}, "'seed' is 1.5; it should be a whole number."),
        ("usage", {"seed": True}, "'seed' is true; it should be a whole number."),
        ("usage", {"roles": [1]}, "'roles' is [1]; it should be text or a list or nothing (null)."),
        ("usage", {"where": 7}, "'where' is 7; it should be text or nothing (null)."),
        ("safex", {"alpha": "x"}, "'alpha' is 'x'; it should be a finite number."),
        ("npmi", {"markers": {"a": "b"}}, None),
    ],
)  # fmt: skip
def test_what_an_option_cannot_be_is_one_sentence(method: str, given: dict[str, Any], sentence: str | None) -> None:
    with pytest.raises(WorkbenchError) as refused:
        options_for(ranker(method), given)
    said = str(refused.value)
    assert said == f"{method}: {sentence}" if sentence else said.startswith(f"{method}: '{next(iter(given))}' is ")


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("usage", {"seed": 3, "roles": ["user"], "where": None, "tokens": "all"}),
        ("safex", {"alpha": 1, "share": 0.5}),
        ("npmi", {"markers": {"a": 1.5, "b": 2}, "token": 7}),
        ("ftri", {"classifier": len, "target": "true"}),
    ],
)
def test_what_a_probe_takes_is_passed_on_as_it_is(method: str, given: dict[str, Any]) -> None:
    assert mistake(ranker(method), given) is None
    assert options_for(ranker(method), given) == given


def test_fields_that_are_set_make_a_value_and_the_others_keep_their_defaults() -> None:
    probe = ranker("super_experts")
    built = options_for(probe, {"massive": {"absolute": 30_000, "growth": None}})
    assert built == {"massive": MassiveRule(absolute=30_000, growth=None)}
    assert options_for(probe, {"massive": MassiveRule(ratio=7)}) == {"massive": MassiveRule(ratio=7)}
    assert not super_experts(two_writers(), **built).flagged("super expert")  # 20,000 is the largest


def test_text_is_read_as_what_the_option_takes() -> None:
    probe = ranker("super_experts")
    assert read_text(probe, "massive.absolute", "1000", 1000) == 1000
    assert read_text(ranker("ftri"), "target", "true", True) == "true"
    assert read_text(ranker("ftri"), "seed", "true", True) is True
    assert read_text(ranker("ftri"), "nothing", "7", 7) == 7
