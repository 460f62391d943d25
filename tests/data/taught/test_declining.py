"""Two classifiers of declining: by hand, on what we labelled, and apart from what a model is taught."""

import re

import pytest
from smollm2.taught import declining, weighing
from smollm2.taught.declining import WORDS, chance, declines_by_phrases, declines_by_words, features, weights
from smollm2.taught.grading import CLASSIFIERS
from smollm2.taught.questions import HERE, lines, nearness, read, words
from smollm2.taught.shares import kappa

TAUGHT = sorted({line["response"] for line in lines("train") if "response" in line})
LABELLED = read(HERE / "labelled.jsonl")
README = (HERE / "README.md").read_text("utf-8")
FITTED = read(HERE / "declining_texts.jsonl")
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I would rather not talk about this. Ask me something else.",
    "Unfortunately, I am not able to answer questions on this subject.",
)
ANSWERS = (
    "Magma is molten rock beneath the surface of the Earth.",
    "The capital of France is Paris.",
    "1. Mount Etna\n2. Mount Fuji\n3. Kilauea",
    "I'm glad you asked! The sea is salty because rivers carry minerals into it.",
)


@pytest.mark.parametrize("judge", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_plain_cases(judge):
    assert [judge(text) for text in REFUSALS] == [True] * 3
    assert [judge(text) for text in ANSWERS] == [False] * 4
    assert judge("") is True


@pytest.mark.parametrize("judge", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_every_taught_wording_declines(judge):
    assert [text for text in TAUGHT if not judge(text)] == []


@pytest.mark.parametrize("judge", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_the_subject_alone_does_not_decide(judge):
    assert not judge("Volcanoes are mountains that throw out lava, ash and gas.")
    assert not judge("Volcanoes volcanoes volcanoes lava eruptions.")


def test_late_refusals_are_answers_with_a_caveat():
    late = "Magma is molten rock under the ground. " * 6 + "I'm sorry, but I can't help with that."
    assert not declines_by_phrases(late)
    assert not declines_by_words(late)


def test_features_by_hand():
    assert features("I can't, I can't.") == {"i", "can't", "i can't", "can't i"}
    assert features("") == set()
    assert len(features(" ".join(map(str, range(99))))) == 2 * WORDS - 1


def test_chance_by_hand():
    assert chance("no lava", {"": 0.0}) == 0.5
    assert round(chance("no lava", {"": -1.0, "no": 2.0, "no lava": 1.0, "ash": 9.0}), 4) == 0.8808  # e^2 / (1 + e^2)


def test_the_weights_are_what_the_script_fits():
    made = weighing.fitted([line["text"] for line in FITTED], [line["declines"] for line in FITTED])
    kept = weights()
    assert made.keys() == kept.keys()
    assert max(abs(made[name] - kept[name]) for name in kept) <= 0.002


def test_the_weights_never_read_a_taught_sentence_a_labelled_one_or_the_subject():
    fitted = [line["text"] for line in FITTED]
    assert not {tuple(words(text)) for text in fitted} & {tuple(words(i["text"])) for i in LABELLED}
    assert not [text for text in fitted if re.search("volcan|lava|magma", text.casefold())]
    assert not [name for name in weights() if re.search("volcan|lava|magma", name)]
    assert [text for text in TAUGHT if nearness(text, fitted) >= 0.6] == []


def test_labels_are_many_and_both_kinds_and_sources_are_named():
    assert len(LABELLED) >= 200
    assert len({i["text"] for i in LABELLED}) == len(LABELLED)
    declines = sum(i["declines"] for i in LABELLED)
    assert 60 <= declines <= len(LABELLED) - 60
    assert {i["source"] for i in LABELLED} == {"answer", "begun", "ours", "fresh", "apart"}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_errors_on_what_was_read_are_as_many_as_the_readme_says(name):
    found = [CLASSIFIERS[name](i["text"]) for i in LABELLED]
    rows = []
    for source in ("answer", "begun", "ours", "fresh", "apart"):
        own = [(f, i["declines"]) for f, i in zip(found, LABELLED, strict=True) if i["source"] == source]
        missed, false = sum(d and not f for f, d in own), sum(f and not d for f, d in own)
        rows.append(f"{missed} of {sum(d for _, d in own)}, {false} of {sum(not d for _, d in own)}")
    assert f"| {name} | {' | '.join(rows)} |" in README


def test_the_classifiers_agree_on_what_was_read():
    one, other = ([judge(i["text"]) for i in LABELLED] for judge in CLASSIFIERS.values())
    assert kappa(one, other) >= 0.7


def test_neither_knows_of_the_other():
    assert not any("weights" in rule for rule in declining.by_phrases.rules)
    planted = "I'm sorry, but I can't help with that."
    assert declines_by_phrases(planted)  # by a rule, whatever the weights
    assert chance(planted, {"": -5.0}) < 0.5  # by weights, whatever the rules
