"""The judge: whole requests, and what is made of each answer."""

import json
from typing import Any

import httpx
import pytest

from workbench.errors import WorkbenchError
from workbench.responses import QUESTION, Response, judge


def spoken(said: str) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": said}}]})


class TestJudge:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What was sent; the answer is whatever stands in the question behind a colon."""
        monkeypatch.delenv("WORKBENCH_JUDGE_KEY", raising=False)
        sent = list[Any]()

        def answered(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            headers = {n: request.headers[n] for n in ("Content-Type", "Authorization") if n in request.headers}
            sent.append((str(request.url), headers, body, request.extensions["timeout"]["read"]))
            return spoken(body["messages"][0]["content"].rpartition(":")[2])

        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answered)
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
        assert asked == [("https://h/v1/chat/completions", {"Content-Type": "application/json"}, body, 60.0)]
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


class TestTriedAgain:
    @pytest.mark.parametrize(
        ("happens", "value", "paused"),
        [
            ([503], 1, [0.5]),
            ([429, 504], 1, [0.5, 1.0]),
            ([httpx.ConnectError("refused"), httpx.ReadError("reset")], 1, [0.5, 1.0]),
            ([502] * 3, "answered 502 Bad Gateway", [0.5, 1.0]),
            ([httpx.ConnectError("refused")] * 3, "cannot be reached (refused)", [0.5, 1.0]),
            ([401], "answered 401 Unauthorized", []),
            ([500], "answered 500 Internal Server Error", []),
            ([302], "answered 302 Found", []),
            ([httpx.ReadTimeout("timed out")], "cannot be reached (timed out)", []),
        ],
    )
    def test_what_may_be_otherwise_in_a_moment_is_tried_three_times(
        self, monkeypatch: pytest.MonkeyPatch, happens: list[Any], value: float | str, paused: list[float]
    ) -> None:
        coming, slept = [*happens], list[float]()

        def answered(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
            if not coming:
                return spoken("yes")
            if isinstance(came := coming.pop(0), Exception):
                raise came
            return httpx.Response(came, headers={"Location": "http://elsewhere/"})

        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answered)
        monkeypatch.setattr("time.sleep", slept.append)
        asking = judge("http://h", "g")
        if isinstance(value, str):
            with pytest.raises(WorkbenchError) as failed:
                asking(Response("a"))
            assert value in str(failed.value)
        else:
            assert asking(Response("a")) == value
        assert (slept, coming) == (paused, [])

    @pytest.mark.parametrize("address", ["h/v1", "file:///etc/passwd", "http://", "http://[::1"])
    def test_an_address_without_a_host_is_one_sentence(self, address: str) -> None:
        with pytest.raises(WorkbenchError, match="name a host"):
            judge(address, "g")
