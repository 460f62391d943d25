"""The judge against a small endpoint of our own on this machine."""

import pytest

from workbench import WorkbenchError
from workbench.responses import Response, judge


def test_yes_no_and_neither(endpoint):
    address, asked = endpoint
    metric = judge(address, "guard", "Refused? {response} | {topic} {nothing}", key="k", name="refuses")
    assert metric(Response("I cannot.", labels={"topic": "war"})) == 1
    assert metric(Response("{topic} {response}", labels={"topic": "war"})) == 0
    assert metric(Response("hmm")) is None
    assert metric(Response("I cannot.", labels={"topic": "war"})) == 1
    assert metric.__name__ == "refuses"
    path, body, authorisation = asked[0]
    assert (path, authorisation, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer k", "guard", 0)
    assert body["messages"][0]["content"] == "Refused? I cannot. | war {nothing}"
    assert (
        asked[1][1]["messages"][0]["content"] == "Refused? {topic} {response} | war {nothing}"
    )  # no template in a response
    assert len(asked) == 3  # the same question is asked once


@pytest.mark.parametrize(("text", "said"), [("boom", "answered 500"), ("junk", "OpenAI-compatible")])
def test_a_failing_judge_is_one_sentence(endpoint, text, said):
    with pytest.raises(WorkbenchError, match=said):
        judge(endpoint[0], "guard")(Response(text))


def test_a_judge_that_is_not_there_is_one_sentence():
    with pytest.raises(WorkbenchError, match="cannot be reached"):
        judge("http://127.0.0.1:9/v1", "guard", seconds=2)(Response("x"))
    with pytest.raises(WorkbenchError, match="http"):
        judge("file:///etc/passwd", "guard")
