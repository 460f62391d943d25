"""What a recipe says that says nothing: every default, and where the range of each number ends."""

import tomllib
from typing import Any

import pytest
from workbench_app.experiments.recipe import Claim, recipe_from

from workbench import WorkbenchError

LEAST: dict[str, Any] = {
    "name": "least", "models": "demo", "plans": [{"text": "off L0E0"}],
    "prompts": {"held": {"source": "refusal", "role": "target", "metrics": "refused"}},
}  # fmt: skip


def test_every_default_is_written_out() -> None:
    assert tomllib.loads(recipe_from(LEAST).to_toml()) == {
        "name": "least", "title": "", "question": "", "seed": 0, "batch_tokens": 4096,
        "models": [{"source": "demo", "dtype": "auto", "device": "auto"}],
        "prompts": {"held": {"source": "refusal", "role": "target", "labels": {}, "unseen": False, "metrics": ["refused"],
                             "max_new_tokens": 48}},
        "metrics": {},
        "capture": {"generate": 0, "samples": 1, "temperature": 0.0, "responses": False},
        "rankings": [], "claims": [], "references": [],
        "plans": [{"ranking": [], "end": ["top"], "n": [], "edit": [], "value": [], "phase": ["all"], "parts": [], "prompts": [],
                   "text": "off L0E0"}],
        "controls": {"count": 10, "layer": 10, "usage": 10, "bottom": True, "super_experts": "flag", "capability_draws": 3},
        "statistics": {"bootstrap": 2000, "permutations": 10_000, "correction": "max_standardised"},
        "measure": {"distributions": True},
    }  # fmt: skip
    claim = Claim(name="c", text="t", prompts="p", metric="m", direction="down")
    assert (claim.at_least, claim.within, claim.paper, claim.differences) == (None, 0.05, None, ())


def put(place: str, value: Any) -> dict[str, Any]:
    section, _, key = place.rpartition(".")
    if section == "prompts":
        return LEAST | {"prompts": {"held": LEAST["prompts"]["held"] | {key: value}}}
    if section == "claims":
        about = {"name": "c", "text": "t", "prompts": "held", "metric": "refused", "direction": "none"}
        return LEAST | {"claims": [about | {key: value}]}
    return LEAST | ({section: {key: value}} if section else {key: value})


@pytest.mark.parametrize(
    ("place", "fits", "not_"),
    [
        ("seed", 0, -1), ("batch_tokens", 1, 0), ("capture.generate", 0, -1), ("capture.samples", 1, 0),
        ("capture.temperature", 0.0, -0.1), ("controls.count", 0, -1), ("controls.capability_draws", 0, -1),
        ("statistics.bootstrap", 1, 0), ("statistics.bootstrap", 100_000, 100_001), ("statistics.permutations", 1, 0),
        ("prompts.max_new_tokens", 1, 0), ("prompts.limit", 1, 0), ("prompts.source", "x" * 120, "x" * 121),
        ("prompts.source", "x", ""), ("name", "n" * 60, "n" * 61), ("claims.within", 0.001, 0.0), ("claims.at_least", 0.5, 0.0),
        ("claims.name", "n" * 60, "n" * 61), ("models", ["demo"], []), ("plans", LEAST["plans"], []), ("seed", 3, 3.0),
        ("seed", 3, "3"), ("seed", 1, True), ("batch_tokens", 2, "2"), ("controls.bottom", False, 0),
        ("capture.temperature", 0, "0"), ("prompts.limit", 2, "2"), ("prompts.unseen", True, 1),
        ("capture.responses", False, "no"),
        ("statistics.bootstrap", 5, "5"), ("measure.distributions", False, 0), ("claims.within", 1, "1"),
        ("capture.temperature", 1.0, float("nan")),
    ],
)  # fmt: skip
def test_a_number_has_its_range_and_its_kind(place: str, fits: Any, not_: Any) -> None:
    assert recipe_from(put(place, fits))
    with pytest.raises(WorkbenchError) as error:
        recipe_from(put(place, not_), "w")
    assert place.rpartition(".")[2] in str(error.value).partition(" is ")[0]


def test_a_recipe_cannot_be_changed() -> None:
    made: Any = recipe_from(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        made.seed = 3
