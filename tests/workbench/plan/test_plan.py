"""Plans as values: they join, merge, print, parse, go to JSON and back, and refuse what contradicts itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workbench.plan.plans import edits, plans, tokens
from workbench import ExpertRef, Plan, WorkbenchError
from workbench.plan import Edit, Scope
from workbench.plan.edits import KINDS, parse_positions

MANY = settings(max_examples=60, deadline=None)


# ---- round trips


@MANY
@given(plans)
def test_what_prints_parses(plan: Plan) -> None:
    assert Plan.parse(str(plan)) == plan


@MANY
@given(plans, st.none() | st.text("0123456789abcdef", min_size=16, max_size=16))
def test_json_round_trip(plan: Plan, fingerprint: str | None) -> None:
    plan = Plan(plan.edits, fingerprint)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert hash(again) == hash(plan)
    assert again.fingerprint == fingerprint


@MANY
@given(edits, tokens, tokens)
def test_json_keeps_any_span(edit: Edit, a: str, b: str) -> None:
    """Tokens may hold spaces and line ends."""
    plan = Plan((Edit(edit.kind, edit.expert, edit.value, Scope(span=(a, b))),))
    assert Plan.from_json(plan.to_json()) == plan


def test_json_through_a_file(tmp_path: Path) -> None:
    plan = Plan.off("L0E15") | Plan.mute("L1S0", span=("<think>", "</think>")) | Plan.replace("L0E1", [0.1, -2.0])
    text = plan.to_json(tmp_path / "plan.json")
    assert Plan.from_json(tmp_path / "plan.json") == Plan.from_json(text) == plan


# ---- a plan is a set


@MANY
@given(plans, plans, plans)
def test_joining_is_a_union(a: Plan, b: Plan, c: Plan) -> None:
    def joined(*parts: Plan) -> Plan | None:
        try:
            out = Plan()
            for part in parts:
                out |= part
        except WorkbenchError:
            return None
        return out

    assert joined(a, b) == joined(b, a)
    assert joined(a, a) == a
    assert joined(a, Plan()) == a
    assert joined(a, b, c) == joined(c, b, a)
    if (both := joined(a, b)) is not None:
        assert set(both.edits) == set(a.edits) | set(b.edits)
        assert len(both) == len(set(both.edits))


def test_equal_edits_merge() -> None:
    plan = Plan.off("L0E1,L0E1") | Plan.off([(0, 1)]) | Plan.off(ExpertRef(0, 1)) | Plan.off(["L0E1"])
    assert str(plan) == "off L0E1"
    assert str(Plan.scale("L0E1", 2) | Plan.scale("L0E1", 2.0)) == "scale L0E1=2"


def test_a_whole_number_is_a_number() -> None:
    """JSON and Python write 8 for 8.0: neither may become something else."""
    ref = ExpertRef(0, 1)
    for made in (Edit("scale", ref, 8), Edit.from_dict({"kind": "scale", "expert": "L0E1", "value": 8})):
        assert made == Edit("scale", ref, 8.0)
        assert isinstance(made.value, float)
        assert str(made) == "scale L0E1=8"
    text = '{"edits": [{"kind": "replace", "expert": "L0E1", "value": [1, 2]}]}'
    assert Plan.from_json(text).edits[0].value == (1.0, 2.0)


def test_an_empty_plan_is_nothing() -> None:
    assert not Plan()
    assert str(Plan()) == "nothing"
    assert Plan.parse("nothing") == Plan.parse("") == Plan.from_json('{"edits": []}') == Plan()


def test_edits_print_in_the_order_they_apply() -> None:
    kinds = ("mute", "replace", "scale", "drop", "force", "off", "bias")
    ref, value = ExpertRef(0, 1), {"replace": (1.0,), "scale": 2.0, "bias": 1.0}
    plan = Plan(tuple(Edit(k, ref, value.get(k)) for k in kinds if k != "off"))
    assert [e.kind for e in plan.edits] == ["bias", "force", "drop", "scale", "replace", "mute"]
    assert KINDS == ("bias", "off", "force", "drop", "scale", "replace", "mute")


# ---- contradictions and mistakes


@pytest.mark.parametrize(
    ("a", "b", "is_refused"),
    [
        ("off L0E1", "force L0E1", True),
        ("off L0E1 in prompt", "force L0E1", True),
        ("off L0E1 in prompt", "force L0E1 in generated", False),
        ("off L0E1 at 0-3", "force L0E1 at 5-", True),  # scopes are taken at their widest
        ("off L0E1", "force L0E2", False),
        ("off L0E1", "force L1E1", False),
        ("replace L0E1=[1]", "replace L0E1=[2]", True),
        ("replace L0E1=[1] in prompt", "replace L0E1=[2] in generated", False),
        ("scale L0E1=2", "scale L0E1=3", False),
    ],
)
def test_contradictions_are_refused(a: str, b: str, is_refused: bool) -> None:
    for x, y in ((a, b), (b, a)):
        if is_refused:
            with pytest.raises(WorkbenchError, match="L0E1"):
                Plan.parse(f"{x}; {y}")
        else:
            assert len(Plan.parse(f"{x}; {y}")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("of L0E1", ["off"]),
        ("off", ["KIND EXPERTS"]),
        ("off L0E1=3", ["takes no value"]),
        ("scale L0E1", ["one number"]),
        ("scale L0E1=x", ["'x'"]),
        ("scale L0E1=inf", ["finite"]),
        ("bias L0E1=-inf", ["off"]),
        ("bias L0E1=nan", ["finite"]),
        ("scale L0E1=[1,2]", ["one number"]),
        ("replace L0E1=3", ["vector"]),
        ("replace L0E1=[1,nan]", ["finite"]),
        ("replace L0E1=median", ["median"]),
        ("off L0S0", ["shared expert"]),
        ("force L0S0", ["shared expert"]),
        ("drop L0S0", ["shared expert"]),
        ("off L0E1 in answers", ["answers", "prompt"]),
        ("off L0E1 at 3-1", ["hold nothing"]),
        ("off L0E1 at -3", ["-3"]),
        ("off L0E1 between <think>", ["<think>"]),
        ("off L*E1", ["needs a model"]),
        ("off L0E1, L0E2", ["KIND EXPERTS"]),
        ('off L0E1 between "a b', ["KIND EXPERTS"]),
        ('off L0E1 between "\\x" b', ["JSON string"]),
    ],
)
def test_mistakes_are_refused_in_one_sentence(text: str, words: list[str]) -> None:
    with pytest.raises(WorkbenchError) as caught:
        Plan.parse(text)
    assert [w for w in words if w not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"edits": 3}',
        '{"edits": "off"}',
        '{"edits": [3]}',
        '{"edits": [{}]}',
        '{"edits": [{"kind": "off"}]}',
        '{"edits": [{"kind": "off", "expert": 3}]}',
        '{"edits": [{"kind": "off", "expert": "L0"}]}',
        '{"edits": [{"kind": 3, "expert": "L0E1"}]}',
        '{"edits": [{"kind": "of", "expert": "L0E1"}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "values": 3}]}',
        '{"edits": [{"kind": "scale", "expert": "L0E1", "value": "8"}]}',
        '{"edits": [{"kind": "scale", "expert": "L0E1", "value": true}]}',
        '{"edits": [{"kind": "scale", "expert": "L0E1", "value": null}]}',
        '{"edits": [{"kind": "scale", "expert": "L0E1", "value": NaN}]}',
        '{"edits": [{"kind": "replace", "expert": "L0E1", "value": [1, "x"]}]}',
        '{"edits": [{"kind": "replace", "expert": "L0E1", "value": {"a": 1}}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "positions": [[1]]}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "positions": [["a", "b"]]}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "positions": 3}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "span": ["a"]}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "span": 3}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1", "phase": "later"}]}',
        '{"edits": [{"kind": "off", "expert": "L0E1"}], "fingerprint": 7}',
    ],
)
def test_json_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        Plan.from_json(text)
    said = str(caught.value)
    python = ("Error", "object", "NoneType", "unpack", "subscriptable", "iterable", "int'", "str'", "list indices")
    assert [w for w in python if w in said.replace("JSON object", "").replace("is an object", "")] == []
    assert "\n" not in said


@pytest.mark.parametrize(
    "text", ["[" * 9000, '{"a":' * 100_000, "9" * 300, '{"edits": ' + "9" * 5000 + "}", '{"edits": [\ud800']
)
def test_no_text_is_too_odd_for_one_sentence(text: str) -> None:
    with pytest.raises(WorkbenchError):
        Plan.from_json(text)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"nowhere\.json"):
        Plan.from_json(tmp_path / "nowhere.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkbenchError, match=r"bytes\.json"):
        Plan.from_json(tmp_path / "bytes.json")


def test_plans_of_two_models_do_not_join() -> None:
    a = Plan.off([ExpertRef(0, 1, fingerprint="a" * 16)])
    b = Plan.off([ExpertRef(0, 2, fingerprint="b" * 16)])
    assert a.fingerprint == "a" * 16
    assert (a | Plan.off("L0E3")).fingerprint == "a" * 16
    assert (Plan.off("L0E3") | a).fingerprint == "a" * 16
    with pytest.raises(WorkbenchError, match="two models"):
        _ = a | b


@given(st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(1, 9)), min_size=1, max_size=4))
def test_positions_print_and_parse(starts: list[tuple[int, int | None]]) -> None:
    ranges = tuple((a, None if n is None else a + n) for a, n in starts)
    plan = Plan.off("L0E1", positions=ranges)
    assert Plan.parse(str(plan)).edits[0].scope.positions == ranges
    assert parse_positions(str(plan).split(" at ")[1]) == ranges


def test_an_edit_is_a_value() -> None:
    data: dict[str, Any] = json.loads(Plan.scale("L1E4", 8, phase="generated").to_json())
    assert data == {"edits": [{"kind": "scale", "expert": "L1E4", "value": 8.0, "phase": "generated"}]}
    assert len({Plan.off("L0E1"), Plan.off([(0, 1)])}) == 1


def test_a_long_text_that_is_no_plan_is_not_quoted_whole() -> None:
    with pytest.raises(WorkbenchError, match="is not an edit; write KIND") as caught:
        Plan.parse("off L0E1 | " * 3000)
    assert len(str(caught.value)) < 300
