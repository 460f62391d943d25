"""Whatever a store was captured of, its board has values that differ, and the first button makes a plan of them."""

from collections import Counter

import pytest
from workbench_app.dashboard.steer.quick_picks import first_few
from workbench_app.dashboard.widgets import expert_board

from tests.app.pages import opened, texts
from tests.support import families
from workbench import Plan, capture
from workbench.backends import store_served

QUESTIONS = ("add two numbers", "count the users", "tell me about a fox", "why are leaves green")


def of_labels(model, path):
    kinds = zip(QUESTIONS, ("code", "code", "prose", "prose"), strict=True)
    rows = [{"text": text, "labels": {"kind": kind}} for text, kind in kinds]
    return capture(model, rows, path, generate=4, progress=False)


def without_responses(model, path):
    return capture(model, [{"text": text} for text in QUESTIONS], path, progress=False)


def served(model, path):
    """Ids of experts alone, as an engine gives them."""
    layers = model.anatomy.moe_layers
    k = model.anatomy.layer(layers[0]).top_k
    routed = [[[(token + layer + slot) % 5 for slot in range(k)] for layer in range(len(layers))] for token in range(4)]
    answer = {"id": "a", "prompt_ids": [3, 4, 5], "response_ids": [4, 1], "routed_experts": routed}
    return store_served(model.anatomy, [answer], path)


def of_one_prompt(model, path):
    return capture(model, [{"text": QUESTIONS[0]}], path, generate=4, progress=False)


def under_a_plan(model, path):
    rows = [{"text": text} for text in QUESTIONS]
    return capture(model, rows, path, generate=4, plan=Plan.mute(["L0E1"]), progress=False)


@pytest.fixture
def boards(monkeypatch):
    """What boards of the page were drawn with."""
    drawn = []
    monkeypatch.setattr(expert_board, "render", lambda key, data, **_: drawn.append(data))
    return drawn


@pytest.mark.parametrize(
    ("make", "by"),
    [
        (of_labels, "fTRI"),
        (without_responses, "load"),
        (served, "load"),
        (of_one_prompt, "load"),
        (under_a_plan, "load"),
    ],
)
def test_a_board_has_values_and_its_first_button_works(make, by, tmp_path, boards):
    make(families.get("olmoe"), tmp_path / "stores" / "mine")
    page = opened("steer", tmp_path, "tiny/olmoe", store="stores/mine")
    assert not page.error
    values = {v for row in boards[-1]["values"] for v in row if v is not None}
    assert len(values) > 1
    assert page.button(key="pick-top").label == f"Top 2 by {by}"
    page.button(key="pick-top").click().run()
    assert not page.error
    best = Counter({f"L{layer}E{e}": v for layer, row in zip(boards[-1]["layers"], boards[-1]["values"], strict=True)
                    for e, v in enumerate(row) if v is not None})  # fmt: skip
    plan = page.session_state["plan"]
    assert len(plan.experts) == 2
    assert sorted(best[str(ref)] for ref in plan.experts) == sorted(v for _, v in best.most_common(2))
    assert f"Plan: {plan}" in texts(page)


@pytest.mark.parametrize(("experts", "few"), [(1, 2), (128, 2), (299, 2), (300, 3), (840, 8), (1024, 10), (14_848, 10)])
def test_a_quick_pick_begins_with_one_expert_of_a_hundred(experts, few):
    assert first_few(experts) == few


def test_every_measure_of_a_store_colours_the_board_or_says_why_not(tmp_path, boards):
    of_labels(families.get("olmoe"), tmp_path / "stores" / "mine")
    page = opened("steer", tmp_path, "tiny/olmoe", store="stores/mine")
    names = list(page.selectbox(key="colour").options)
    assert {"load", "largest output", "fTRI: kind=prose against the others"} < set(names)
    for name in names:
        page.selectbox(key="colour").set_value(name).run()
        assert boards[-1]["title"] == f"Every expert, coloured by {name}"
        assert page.caption or any(v is not None for row in boards[-1]["values"] for v in row)
