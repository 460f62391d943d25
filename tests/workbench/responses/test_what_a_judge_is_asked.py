"""The judge: whole requests, and what is made of each answer."""

import io
import json
from typing import Any

import pytest

from workbench.responses import QUESTION, Response, judge
from workbench.responses import llm_judge as judging


class TestJudge:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What was sent; the answer is whatever stands in the question behind a colon."""
        monkeypatch.delenv("WORKBENCH_JUDGE_KEY", raising=False)
        sent = list[Any]()

        def urlopen(request: Any, timeout: float) -> io.BytesIO:
            body = json.loads(request.data)
            sent.append((request.full_url, dict(request.header_items()), body, timeout))
            said = body["messages"][0]["content"].rpartition(":")[2]
            return io.BytesIO(json.dumps({"choices": [{"message": {"content": said}}]}).encode())

        monkeypatch.setattr(judging, "urlopen", urlopen)
        return sent

    def test_what_is_sent(self, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        metric = judge("https://h/v1/", "guard", "{response}|{thought}|{whole}|{prompt_id}|{topic}|{x}:yes")
        response = Response("<think>hm</think>I will", "p7", 0, {"topic": "war", "response": "label"})
        assert metric(response) == 1
        content = "I will|hm|<think>hm</think>I will|p7|war|{x}:yes"
        body = {
            "model": "guard",
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 8,
        }
        assert asked == [("https://h/v1/chat/completions", {"Content-type": "application/json"}, body, 60.0)]
        monkeypatch.setenv("WORKBENCH_JUDGE_KEY", "env")
        for key, bearer in ((None, "Bearer env"), ("own", "Bearer own")):
            judge("http://h", "g", key=key, seconds=2)(Response("a"))
            assert (asked[-1][1]["Authorization"], asked[-1][3]) == (bearer, 2)
        assert asked[-1][2]["messages"][0]["content"] == QUESTION.replace("{response}", "a")
        assert metric.__name__ == "judged"

    @pytest.mark.parametrize(
        ("said", "value"),
        [
            ("YES", 1),
            (" **No**, it", 0),
            ("yesterday", None),
            ("it says yes", None),
            ("no.", 0),
            ("", None),
            ("'yes'", 1),
        ],
    )
    def test_yes_no_and_neither(self, asked: list[Any], said: str, value: float | None) -> None:
        assert judge("http://h", "g", "{response}:" + said)(Response("a")) == value

    def test_an_unfinished_response_is_asked_about_only_without_its_answer(self, asked: list[Any]) -> None:
        unfinished = Response("<think>hm")
        assert judge("http://h", "g", "{response}:yes")(unfinished) is None
        assert asked == []
        assert judge("http://h", "g", "{thought}|{whole}:no")(unfinished) == 0
        assert asked[0][2]["messages"][0]["content"] == "hm|<think>hm:no"
