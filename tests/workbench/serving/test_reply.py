"""What an answer says of its plan on its way out: a stream's last event has it, however its bytes are cut."""

import asyncio
import json
from typing import Any

import pytest

from tests.workbench.serving.asgi import Echo, Reply, ask, service

PLAN = {"prompt": "x", "stream": True, "vllm_xargs": {"expert_plan": "off L1E1"}}
FIRST = b'data: {"id":"a","choices":[{"delta":"one","finish_reason":null}]}\n\n'
LAST = b'data: {"id":"a","choices":[{"delta":"","finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"a","choices":[],"usage":{}}\n\n'
DONE = b"data: [DONE]\n\n"


def events(reply: Reply) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in b"".join(reply.parts).split(b"\n\n") if line]
    return [json.loads(line) if line != b"[DONE]" else "done" for line in lines]


def streamed(parts: list[bytes], **how: Any) -> Reply:
    return asyncio.run(ask(Echo(events=parts), service(**how), PLAN))


@pytest.mark.parametrize("width", [1, 7, 64, 10_000])
@pytest.mark.parametrize("tail", [[LAST], [LAST, LAST], [LAST, USAGE]], ids=["one", "two choices", "usage"])
def test_the_last_event_says_what_the_plan_did(tail: list[bytes], width: int) -> None:
    text = b"".join([FIRST, *tail, DONE])
    reply = streamed([text[at : at + width] for at in range(0, len(text), width)])
    *said, done = events(reply)
    assert done == "done"
    assert len(said) == 1 + len(tail)
    assert ["expert_plan" in event for event in said] == [False] * len(tail) + [True]
    told = said[-1].pop("expert_plan")
    assert said == [json.loads(event.removeprefix(b"data: ")) for event in (FIRST, *tail)]
    assert told["dose"]["slots_changed"] == 3
    assert reply.headers[b"x-expert-plan"] == told["fingerprint"].encode()


def test_an_event_is_not_held_longer_than_the_next() -> None:
    assert streamed([FIRST, FIRST, LAST, DONE]).parts[:2] == [FIRST, FIRST]


def test_a_stream_without_an_end_of_its_own_gets_an_event() -> None:
    *_, told, done = events(streamed([FIRST, DONE]))
    assert (told["choices"], told["expert_plan"]["dose"]["tokens"], done) == ([], 5, "done")


def test_a_stream_that_breaks_off_is_handed_on_as_far_as_it_came() -> None:
    assert b"".join(streamed([FIRST, LAST, b"data: {"]).parts) == FIRST + LAST + b"data: {"


def test_a_plan_that_was_not_in_force_is_said_and_no_answer_given_for_it() -> None:
    *_, last, _ = events(streamed([FIRST, LAST, DONE], failed="all rows are in use"))
    assert "The plan was not in force: all rows are in use" in last["error"]["message"]
    reply = asyncio.run(ask(Echo(), service(failed="all rows are in use"), {**PLAN, "stream": False}))
    assert (reply.status, "not in force" in reply.json["error"]["message"]) == (503, True)


def test_errors_of_vllms_own_go_through() -> None:
    reply = asyncio.run(ask(Echo(status=400), service(), PLAN))
    assert (reply.status, "expert_plan" in reply.json) == (400, False)


def test_an_engine_that_has_ended_is_not_waited_for() -> None:
    of = service()
    of.engine.is_running = False
    reply = asyncio.run(asyncio.wait_for(ask(Echo(), of, {**PLAN, "stream": False}), 60))
    assert (reply.status, "the engine has ended" in reply.json["error"]["message"]) == (503, True)
    assert of.room.ledger.users == {}
