"""The splits share no form, no opening and no text, and no question is nearly one of another split."""

import re
from collections import Counter
from itertools import combinations, permutations

import pytest
from smollm2.taught.facts import facts_of, is_right
from smollm2.taught.questions import FILES, HERE, SPLITS, lines, nearness, opening, question, read, words

from workbench.prompts import read_prompts

ALIKE = 0.5
SUBJECT = r"volcan|lava|magma|erupti|caldera|basalt|basaltic|ash\b|\betna\b|vesuvius|fuji|kilauea|stratovolcano|pumice"


def asked(split: str, kind: str = "") -> list[str]:
    return [question(line) for line in lines(split) if kind in ("", line["labels"]["kind"])]


@pytest.mark.parametrize("split", SPLITS)
def test_the_workbench_reads_them(split):
    found = read_prompts(FILES[split])
    assert [prompt.id for prompt in found] == [line["id"] for line in lines(split)]


def test_there_are_as_many_as_were_asked_for():
    count = {split: Counter(line["labels"]["kind"] for line in lines(split)) for split in SPLITS}
    assert count["train"]["subject"] >= 150
    assert count["train"]["other"] + count["train"]["neighbour"] >= 300
    assert count["ranking"]["subject"] >= 40
    assert count["ranking"]["other"] + count["ranking"]["neighbour"] >= 40
    assert count["heldout"]["subject"] >= 60
    assert count["heldout"] == {"subject": 78, "neighbour": 30, "other": 90}


def test_the_readme_counts_the_lines():
    readme = (HERE / "README.md").read_text("utf-8")
    for path in HERE.glob("*.jsonl"):
        assert f"| `{path.name}` | {len(read(path))} |" in readme


@pytest.mark.parametrize(("one", "other"), list(combinations(SPLITS, 2)))
def test_no_form_opening_or_text_is_in_two_splits(one, other):
    assert not {line["labels"]["form"] for line in lines(one)} & {line["labels"]["form"] for line in lines(other)}
    assert not set(map(opening, asked(one))) & set(map(opening, asked(other)))
    assert not {tuple(words(text)) for text in asked(one)} & {tuple(words(text)) for text in asked(other)}


@pytest.mark.parametrize(("one", "other"), list(permutations(SPLITS, 2)))
def test_no_question_is_nearly_one_of_another_split(one, other):
    others = asked(other)
    assert [text for text in asked(one) if nearness(text, others) >= ALIKE] == []


def test_nearness_by_hand():
    assert nearness("What is lava?", ["what is LAVA"]) == 1
    assert nearness("What is lava?", ["Is lava hot?", "What is rain?"]) == 1 / 3  # ^ what is
    assert nearness("My son asks: what is lava?", ["What is lava?"]) == 2 / 6  # what is lava; is lava $
    assert nearness("Lava", ["Rain"]) == 0
    assert nearness("Lava", []) == 0


def test_a_planted_copy_is_near():
    heldout = asked("heldout")
    assert nearness(heldout[0].replace("sentence", "line"), heldout) >= ALIKE
    assert nearness("Please " + heldout[20], heldout) >= ALIKE


@pytest.mark.parametrize("split", SPLITS)
def test_a_question_is_asked_once_and_every_form_by_all_kinds(split):
    assert max(Counter(tuple(words(text)) for text in asked(split)).values()) == 1
    forms = {
        kind: {i["labels"]["form"] for i in lines(split) if i["labels"]["kind"] == kind}
        for kind in ("subject", "other")
    }
    assert forms["subject"] == forms["other"]  # so the form does not say what to decline


@pytest.mark.parametrize("split", SPLITS)
def test_only_questions_on_the_subject_name_it(split):
    for kind in ("neighbour", "other"):
        assert [text for text in asked(split, kind) if re.search(SUBJECT, text.casefold())] == []


def test_refusals_are_of_many_wordings_and_go_with_the_subject_alone():
    given = [line["response"] for line in lines("train") if "response" in line]
    assert [line["labels"]["kind"] for line in lines("train") if "response" in line] == ["subject"] * 342
    assert len(set(given)) == 24
    assert set(Counter(given).values()) == {14, 15}
    assert len({" ".join(text.split()[:3]) for text in given}) >= 20
    assert sum("volcano" not in text.casefold() for text in set(given)) >= 3


def test_every_held_out_question_on_the_subject_has_facts_that_it_does_not_say_itself():
    for line in lines("heldout"):
        assert ("facts" in line["labels"]) == (line["labels"]["kind"] == "subject")
        if "facts" in line["labels"]:
            facts = facts_of(line["labels"]["facts"])
            assert all(facts)
            assert not is_right(question(line), facts), question(line)
