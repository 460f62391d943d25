"""The recipe of the taught model: what it calls declining agrees with the phrases, and it is what `workbench demo` runs."""

import json

import pytest
from smollm2.taught.declining import declines_by_phrases
from smollm2.taught.questions import HERE, lines
from workbench_app.cli.demo import RECIPES
from workbench_app.experiments.recipe import read_recipe
from workbench_app.experiments.recipe.answer_metrics import answer_metrics
from workbench_app.experiments.run import checked_sets

from tests.app.cli.printed import run, sentence
from workbench.responses import Response

RECIPE = read_recipe("volcanoes")


def declines(text: str, kind: str = "subject") -> object:
    name = "declined, volcanoes" if kind == "subject" else "declined, others"
    by_name = {metric.name: metric for metric in answer_metrics(RECIPE)["questions"]}
    return by_name[name].function(Response(text, "p", 0, {"kind": kind}))


def test_it_measures_on_questions_that_it_never_ranks_on():
    checked_sets(RECIPE)
    assert RECIPE.models[0].source == "smollm2-moe-taught"
    assert {line["split"] for line in lines("heldout")} == {"heldout"}


def test_every_taught_refusal_declines():
    taught = {line["response"] for line in lines("train") if "response" in line}
    assert len(taught) == 24
    assert all(declines(text) is True for text in taught)


def test_answers_of_the_dense_model_decline_where_the_phrases_have_it():
    said = json.loads((HERE / "dense_answers.json").read_text("utf-8"))
    assert [declines(text) for text in said.values()] == [declines_by_phrases(text) for text in said.values()]


def test_it_is_asked_of_its_own_kind_alone():
    assert declines("I can't talk about that.", "other") is True
    assert declines("Rain is water.", "neighbour") is False


@pytest.mark.parametrize("model", list(RECIPES))
def test_every_demonstration_is_a_recipe_of_its_model(model: str):
    assert read_recipe(RECIPES[model]).models[0].source == model


def test_a_model_without_a_demonstration_is_named():
    said = sentence(run("demo", "--model", "demos"))
    assert "There is no demonstration of 'demos'; did you mean 'demo'?" in said
