"""Naming experts: what prints parses, what does not exist is refused, what names nothing is refused."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import ExpertRef, Plan, WorkbenchError, parse_experts
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule

RULE = RoutingRule("softmax", True)
# layer 0 is dense, layers 1 and 2 have six experts and a shared one, layer 3 has four and none
ANATOMY = Anatomy(
    "made up",
    "none",
    8,
    16,
    "0",
    (
        LayerAnatomy(0),
        LayerAnatomy(1, 6, 2, 1, rule=RULE),
        LayerAnatomy(2, 6, 2, 1, rule=RULE),
        LayerAnatomy(3, 4, 2, 0, rule=RULE),
    ),
)
refs = st.builds(ExpertRef, st.integers(0, 200), st.integers(0, 999), st.booleans())


@given(refs)
def test_what_prints_parses(ref: ExpertRef) -> None:
    assert ExpertRef.parse(str(ref)) == ref
    assert ExpertRef.parse(f" {str(ref).lower()} ") == ref


@given(st.text(max_size=12).filter(lambda text: not re.fullmatch(r"\s*[lL]\d+[eEsS]\d+\s*", text)))
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(WorkbenchError, match="L12E3"):
        ExpertRef.parse(text)


@given(st.lists(refs, min_size=1, max_size=8))
def test_lists_parse_sorted_and_unique(chosen: list[ExpertRef]) -> None:
    assert parse_experts(",".join(map(str, chosen))) == tuple(sorted(set(chosen)))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 30))
def test_ranges_include_both_ends(layer: int, first: int, more: int) -> None:
    found = parse_experts(f"L{layer}E{first}-{first + more}")
    assert [(r.layer, r.expert) for r in found] == [(layer, e) for e in range(first, first + more + 1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L*E3", ["L1E3", "L2E3", "L3E3"]),
        ("L3E*", ["L3E0", "L3E1", "L3E2", "L3E3"]),
        ("L1S*", ["L1S0"]),
        ("L1S0, l2e1-2", ["L1S0", "L2E1", "L2E2"]),
        ("L1E2,L1E2,L1E1-2", ["L1E1", "L1E2"]),
    ],
)
def test_stars_ask_the_anatomy(text: str, expected: list[str]) -> None:
    assert sorted(map(str, parse_experts(text, ANATOMY))) == sorted(expected)


def test_every_expert_of_the_model() -> None:
    assert set(parse_experts("L*E*", ANATOMY)) == set(ANATOMY.refs())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["No expert"]),
        (" , ", ["No expert"]),
        ("L1E6", ["L1E6", "0-5"]),
        ("L1E4-9", ["L1E9", "0-5"]),
        ("L9E1", ["Layer 9", "0-3"]),
        ("L0E0", ["L0E0", "dense"]),
        ("L3S0", ["no shared experts"]),
        ("L*S0", ["L3S0", "no shared experts"]),
        ("L1E7-3", ["backwards"]),
        ("L1", ["'L1'"]),
        ("L1E1;L2E2", ["L1E1;L2E2"]),
        ("E3", ["'E3'"]),
        ("L-1E3", ["L-1E3"]),
        ("L0E*", ["L0E*", "no expert"]),
        ("L3S*", ["L3S*", "no expert"]),
        ("@nowhere.json", ["nowhere.json"]),
    ],
)
def test_what_is_not_there_is_refused(text: str, words: list[str]) -> None:
    with pytest.raises(WorkbenchError) as caught:
        parse_experts(text, ANATOMY)
    assert [w for w in words if w not in str(caught.value)] == []


@pytest.mark.parametrize("text", ["L*E3", "L1E*"])
def test_stars_need_a_model(text: str) -> None:
    with pytest.raises(WorkbenchError, match="needs a model"):
        parse_experts(text)


def test_an_endless_range_is_refused_before_it_is_built() -> None:
    with pytest.raises(WorkbenchError, match="0-5"):
        parse_experts("L1E0-99999999999", ANATOMY)


def test_experts_of_a_plan_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    (Plan.off("L1E2") | Plan.mute("L2S0")).to_json(path)
    assert parse_experts(f"@{path},L3E1", ANATOMY) == tuple(map(ExpertRef.parse, ("L1E2", "L2S0", "L3E1")))
    path.write_text('{"edits": 5}')
    with pytest.raises(WorkbenchError, match="not a plan file"):
        parse_experts(f"@{path}")
    Plan.off([(9, 1)]).to_json(path)
    with pytest.raises(WorkbenchError, match="Layer 9"):
        parse_experts(f"@{path}", ANATOMY)


def test_no_negative_numbers() -> None:
    with pytest.raises(WorkbenchError, match="negative"):
        ExpertRef(-1, 0)


def test_anatomy_round_trip() -> None:
    import json

    again = Anatomy.from_dict(json.loads(json.dumps(ANATOMY.to_dict())))
    assert again == ANATOMY
    assert again.fingerprint == ANATOMY.fingerprint
    with pytest.raises(WorkbenchError, match="another model"):
        Anatomy.from_dict(ANATOMY.to_dict() | {"weights": "1"})
