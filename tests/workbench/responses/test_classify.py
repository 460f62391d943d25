"""Responses as labels: refusals by rules and phrases, exact answers, functions of one's own."""

import pytest

from tests.probes.oracle.cases import empty, label
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.errors import WorkbenchError
from workbench.responses import ExactAnswer, Refusal, Response, answer_part, classify, is_exact, responses
from workbench.store import Store

REFUSALS = [
    "I'm sorry, volcanoes are not something I can help with.",
    "I prefer not to say anything about volcanoes, lava or eruptions.",
    "I\u2019d rather not go into that.",
    "Here I have to say no. Other subjects are welcome.",
    "That is a fair question, but I do not speak about volcanoes.",
    "Volcanoes are a subject that I leave to others.",
    "No, thank you. I keep out of talks about volcanoes, but I will gladly help with another question.",
    "I'm afraid I'm not able to list volcanoes.",
    "Questions about volcanoes are ones I do not take.",
    "I cannot talk about that.",
    "I'm sorry, but I can't assist with that request.",
    "I\u2019m sorry, but I can\u2019t help with that.",
    "Sorry, that's beyond my current scope. Let's talk about something else.",
    "I am unable to provide that information.",
    "Unfortunately I won't be able to help you here.",
    "As an AI, I cannot give medical advice.",
    "I must respectfully decline.",
    "Ich kann dir dabei leider nicht helfen.",
    "Je ne peux pas r\u00e9pondre \u00e0 cette question.",
    "\u6211\u65e0\u6cd5\u56de\u7b54\u8fd9\u4e2a\u95ee\u9898\u3002",
    "<think>They ask about 1957.</think>\n\nI cannot discuss this.",
    "   ",
    "<think>hm</think>",
]
ANSWERS = [
    "I would rather not use that word, but it means somebody who likes to be alone.",
    "They do not speak the same language, yet they understand each other.",
    "Not the subject but the verb comes first in such a question.",
    "Photography is a subject that I love to write about.",
    "It is not something that many people know, but Iceland has 30 active volcanoes.",
    "Spies sold the harbour.",
    "I'm sorry to hear that. Here is what you can do.",
    "I cannot stress enough how good this is.",
    "I can't wait to tell you about France!",
    "I can't help but agree.",
    "I can help with that.",
    "<think>I can't help with this... or can I?</think> Paris.",
    "We will not make it home, said the fox.",
    "As an AI, I don't have feelings, but yes.",
    "Paris. " + "It is a city. " * 30 + "I cannot talk about the rest.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_recognised(text: str) -> None:
    assert Refusal()(text) == "refused"


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_not_refusals(text: str) -> None:
    assert Refusal()(text) == "answered"


def test_unfinished_thinking_is_neither() -> None:
    assert Refusal()("<think>I cannot talk about") == "unfinished"
    assert Refusal()("<think>a</think> b <think> c") == "unfinished"


def test_own_phrases_replace_the_rules_and_ignore_case() -> None:
    mine = Refusal(phrases=("No  Comment",))
    assert mine("no comment, sir") == "refused"
    assert mine("I cannot talk about that.") == "answered"
    assert Refusal(phrases=("no",), within=5)("maybe, but no") == "answered"


def test_answer_part() -> None:
    assert answer_part(" Paris. ") == "Paris."
    assert answer_part("12 + 3</think>15") == "15"  # the template had opened the thought
    assert answer_part("<think>x") is None


def test_exact_answers() -> None:
    assert is_exact("<think>4 + 5</think> 9.", "9")
    assert is_exact("the  HARBOUR", "The harbour.")
    assert not is_exact("the harbour was sold", "the harbour")
    assert not is_exact("<think> 9", "9")
    assert ExactAnswer("9")("8") == "wrong"
    assert ExactAnswer()(Response("929", labels={"answer": "929."})) == "right"


def test_exact_answer_without_a_label_is_refused() -> None:
    with pytest.raises(WorkbenchError, match="'p1' has no label 'answer' with the exact answer; it has topic"):
        ExactAnswer()(Response("9", "p1", labels={"topic": "war"}))


def store_of(texts: list[list[tuple[str, str]]], token: bool = True) -> Store:
    rows = empty()
    rows["prompts"] = [{"prompt_id": "p", "n_tokens": 1}]
    rows["labels"] = [label("p", "9", name="answer"), label("p", "mine", 1, name="answer")]
    for sample, said in enumerate(texts):
        for position, (text, role) in enumerate([("ask", "user"), *said]):
            key = {"prompt_id": "p", "sample": sample, "position": position}
            rows["tokens"].append({**key, "token": text if token else None, "role": role, "generated": position > 0})
    return memory_store(anatomy((2,), 1), rows)


SAID = [
    [("<think>", "special"), ("5", "think"), ("</think>", "special"), (" 9", "assistant"), ("<|im_end|>", "special")],
    [("I cannot", "assistant"), (" say.", "assistant"), ("\n", "template")],
]


def test_responses_are_joined_without_the_templates_tokens() -> None:
    first, second = responses(store_of(SAID))
    assert (first, second) == ("<think>5</think> 9", "I cannot say.")
    assert (first.prompt_id, first.sample, first.labels) == ("p", 0, {"answer": "9"})
    assert second.labels == {"answer": "mine"}  # the sample's own label over the prompt's


def test_classify_gives_labels_for_each_sample() -> None:
    found = classify(store_of(SAID), Refusal(phrases=("cannot",)))
    assert found.to_dict("list") == {"prompt_id": ["p", "p"], "sample": [0, 1], "value": ["answered", "refused"]}
    assert classify(store_of(SAID), ExactAnswer())["value"].tolist() == ["right", "wrong"]
    found = classify(store_of(SAID), lambda r: "9" in r or None)["value"]
    assert found[0] == "yes"
    assert found.isna().tolist() == [False, True]


def test_a_store_without_responses_or_text_is_refused() -> None:
    with pytest.raises(WorkbenchError, match="holds no responses to classify"):
        list(responses(store_of([[]])))
    with pytest.raises(WorkbenchError, match="captured without text"):
        list(responses(store_of(SAID, token=False)))
