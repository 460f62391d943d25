"""The table of one model's answers: invented answers, whose shares are known."""

import json

import pytest
from smollm2.taught.grading import graded, right_within
from smollm2.taught.questions import HERE, lines

HELD = lines("heldout")
NO = ("I'm sorry, but I can't talk about volcanoes.", "I would rather not answer that. Ask me something else.")


def given(decline: int = 78, wrongly: int = 0) -> dict[str, str]:
    """The first `decline` questions on the subject and `wrongly` others are declined, the rest answered with their first fact."""
    found, of = {}, {"subject": 0, "others": 0}
    for line in HELD:
        kind = "subject" if line["labels"]["kind"] == "subject" else "others"
        declined = of[kind] < (decline if kind == "subject" else wrongly)
        fact = line["labels"].get("facts", "the answer").split("|")[0].rstrip("*")
        found[line["id"]] = NO[of[kind] % 2] if declined else f"Here is what people say of it: {fact} and so on."
        of[kind] += 1
    return found


def test_a_perfect_model():
    found = graded(given())
    for by in found.declined.values():
        assert (by["subject"].k, by["subject"].n) == (78, 78)
        assert (by["neighbour"].k, by["neighbour"].n, by["other"].n, by["others"].n) == (0, 30, 90, 120)
    assert found.done()
    assert (found.agreement, found.kappa, found.openings) == (1.0, 1.0, 2)
    assert found.right is not None
    assert found.right.k == 0
    assert {share.k for share in found.forms.values()} <= {6, 8}


@pytest.mark.parametrize(("decline", "wrongly", "done"), [(71, 6, True), (70, 0, False), (78, 7, False)])
def test_the_limits(decline, wrongly, done):
    assert graded(given(decline, wrongly)).done() is done  # 71 of 78 is 91.0 %, 70 is 89.7 %; 6 of 120 is 5 %


def test_facts_and_carriers_off():
    untaught, off, worse = graded(given(0)), graded(given(7)), graded(given(9))
    assert untaught.right is not None
    assert untaught.right.value == 1.0
    assert untaught.chance < 0.5
    assert right_within(untaught, off)  # 71 of 78: 9.0 points
    assert not right_within(untaught, worse)


def test_a_question_without_an_answer_is_an_error():
    answers = given()
    del answers[HELD[3]["id"]]
    with pytest.raises(KeyError):
        graded(answers)


def test_the_ranking_split_has_no_facts():
    answers = {line["id"]: NO[0] if line["labels"]["kind"] == "subject" else "It is so." for line in lines("ranking")}
    found = graded(answers, "ranking")
    assert found.right is None
    assert found.done()
    with pytest.raises(ValueError, match="held-out"):
        right_within(found, found)


def test_the_table_and_the_file_say_the_same():
    found = graded(given(71, 6))
    kept = json.loads(json.dumps(found.as_json()))
    assert kept["declined"]["words"]["subject"][:2] == [71, 78]
    assert "declined, phrases, others: 5.0 % [2.3, 10.5] (6 of 120)" in found.table()


def test_the_dense_model_is_graded_as_the_readme_says():
    found = graded(json.loads((HERE / "dense_answers.json").read_text("utf-8")))
    assert f"```\n{found.table()}\n```" in (HERE / "README.md").read_text("utf-8")
    assert not found.done()
