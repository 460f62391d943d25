"""Rows of captured requests between the engine and the store: whole requests or none, every token counted once. By hand."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.workbench.serving.asgi import Echo, ask, service
from workbench.serving.server.live import Captured, Live, follows, running
from workbench.serving.taken import Piece, Waiting, packed, unpacked, within


def piece(request: str, first: int, n: int, layer: int = 1) -> Piece:
    at = np.arange(first, first + n)
    return Piece(request, at, {f"index {layer}": np.stack([at, at + 100], 1).astype(np.int32)})


SIZE = 8 + 8  # of a token: its position, two experts


def add(waiting: Waiting, request: str, first: int, n: int) -> None:
    made = piece(request, first, n)
    waiting.add(request, made.positions, {"name": request.upper()}, lambda: made)


def test_a_request_is_taken_whole_when_it_has_ended_and_in_order() -> None:
    waiting = Waiting(1000)
    for request, first, n in (("a", 0, 3), ("b", 0, 2), ("a", 3, 1)):
        add(waiting, request, first, n)
    waiting.end("a")
    said, pieces = waiting.take()
    assert said == [{"name": "A", "request": "a", "forwarded": 4, "is_kept": True}]
    assert [(p.request, p.positions.tolist()) for p in pieces] == [("a", [0, 1, 2, 3])]
    assert pieces[0].arrays["index 1"].tolist() == [[0, 100], [1, 101], [2, 102], [3, 103]]
    assert (list(waiting.requests), waiting.size) == (["b"], 2 * SIZE)
    assert waiting.take() == ([], [])


def test_what_is_forwarded_again_after_preemption_is_kept_and_counted_once() -> None:
    waiting = Waiting(1000)
    for first, n in ((0, 3), (0, 2), (2, 3)):
        add(waiting, "a", first, n)
    waiting.end("a")
    (said,), (rows,) = waiting.take()
    assert (said["forwarded"], rows.positions.tolist()) == (5, [0, 1, 2, 3, 4])
    assert waiting.size == 0


def test_what_finds_no_room_is_dropped_with_all_of_its_request_and_counted() -> None:
    waiting = Waiting(4 * SIZE)
    for request, first, n in (("a", 0, 3), ("b", 0, 1), ("a", 3, 1), ("b", 1, 3), ("a", 4, 1)):
        add(waiting, request, first, n)
    assert waiting.size == 4 * SIZE
    for request in "ab":
        waiting.end(request)
    said, pieces = waiting.take()
    assert [(one["request"], one["forwarded"], one["is_kept"]) for one in said] == [("a", 5, False), ("b", 4, True)]
    assert [(p.request, len(p.positions)) for p in pieces] == [("b", 4)]
    assert waiting.size == 0


def test_a_request_whose_beginning_was_not_seen_is_no_capture() -> None:
    waiting = Waiting(1000)
    add(waiting, "a", 16, 4)
    waiting.end("a")
    assert waiting.take() == ([{"name": "A", "request": "a", "forwarded": 4, "is_kept": False}], [])


def test_rows_do_not_hold_the_whole_forward_in_memory() -> None:
    waiting, forward = Waiting(1000), np.zeros((1000, 2), np.int32)
    waiting.add("a", np.arange(2), {}, lambda: Piece("a", np.arange(2), {"index 1": forward[:2]}))
    (kept,) = waiting.requests["a"].pieces or []
    assert not np.shares_memory(kept.arrays["index 1"], forward)


def test_rows_within_a_piece() -> None:
    assert within(piece("a", 4, 3), np.array([True, False, True])).positions.tolist() == [4, 6]


def test_a_share_of_requests_is_drawn_by_what_they_say() -> None:
    said = [{"prompt": f"{n}"} for n in range(4000)]
    for share in (0.0, 0.01, 0.3, 1.0):
        drawn = [follows(one, share, 0) for one in said]
        assert drawn == [follows(dict(reversed(one.items())), share, 0) for one in said]
        assert abs(np.mean(drawn) - share) <= 4 * np.sqrt(share * (1 - share) / len(said))
    assert [follows(one, 0.3, 0) for one in said] != [follows(one, 0.3, 1) for one in said]
    assert all(follows(one, 0.3, 5) for one in said if follows(one, 0.1, 5))


# ---- on the way


class Sink:
    """Keeps what it is given."""

    def __init__(self, share: float = 1.0, *, text: bool = False, is_full: bool = False, waits: bool = False) -> None:
        self.share, self.seed, self.text, self.is_full, self.waits = share, 0, text, is_full, waits
        self.given, self.is_closed = list[Captured](), False

    def add(self, captured: Any) -> None:
        assert not self.is_closed
        self.given += captured

    def told(self) -> dict[str, Any]:
        return {"requests": len(self.given)}

    def close(self) -> None:
        self.is_closed = True


def asked_of(body: dict[str, Any], sink: Sink | None) -> dict[str, Any]:
    """What the engine is asked of a request."""
    of = service()
    of.live = None if sink is None else Live(of.engine, sink)
    app = Echo()
    reply = asyncio.run(ask(app, of, body))
    assert reply.status == 200, reply.json
    return json.loads((app.seen[0].get("vllm_xargs") or {}).get("expert_request", "{}"))


def test_what_is_captured_of_a_request() -> None:
    body = {"prompt": "x", "vllm_xargs": {"expert_capture": True}}
    assert asked_of({"prompt": "x"}, Sink())["follow"] == "slots"
    assert asked_of(body, Sink(text=True))["follow"] == "ids"
    for sink in (None, Sink(0.0), Sink(is_full=True)):
        assert "follow" not in asked_of(body, sink)
    assert "follow" not in asked_of({"prompt": "x", "vllm_xargs": {"expert_capture": False}}, Sink())


def test_a_wish_that_cannot_be_read_is_refused() -> None:
    for sent in (
        {"vllm_xargs": {"expert_capture": "no"}},
        {"vllm_xargs": {"expert_capture": 0}},
        {"expert_capture": False},
    ):
        reply = asyncio.run(ask(Echo(), service(), {"prompt": "x", **sent}))
        assert (reply.status, "expert_" in reply.json["error"]["message"]) == (400, True)


def test_a_captured_request_without_a_plan_is_answered_as_it_is() -> None:
    of = service()
    of.live = Live(of.engine, Sink())
    reply = asyncio.run(ask(Echo(), of, {"prompt": "x"}))
    assert "expert_plan" not in reply.json
    assert [what for what, _ in of.engine.asked] == ["abort", "dose"]
    (told,) = [m["expert_plan"] for m in asyncio.run(ask(Echo(), of, {}, method="GET", path="/v1/models")).json["data"]]
    assert told["capture"] == {"requests": 0}


@pytest.mark.parametrize("told", [False, True], ids=["ended", "told to end"])
def test_everything_that_ended_is_brought_over_and_the_sink_is_closed(told: bool) -> None:
    """Two answers of one call, the second of which ends with the server; a client's own name for them is not kept."""
    first = {"name": "call", "plan": "", "prompt": 2, "forwarded": 3, "is_kept": True, "request": "0_mine"}
    second = {**first, "request": "1_mine", "is_kept": False, "forwarded": 9}
    turns = [([first], [piece("0_mine", 0, 3)], ["call"]), ([], [], ["call"]), ([second], [], [])]

    async def rpc(what: str) -> list[Any]:
        assert what == "workbench_waiting"
        ended, rows, left = turns.pop(0) if turns else ([], [], [])
        return [[json.dumps({"ended": ended, "running": left}), packed(rows)]]

    async def abort(names: list[str]) -> None:
        return None

    async def all_of_it() -> Sink:
        sink = Sink()
        live = Live(SimpleNamespace(collective_rpc=rpc, abort=abort, shutdown=shutdown), sink)
        async with running(live):
            live.left("call", lambda: None)
            await asyncio.sleep(0.05)
            if told:  # as vLLM's server does when it is told to end
                await asyncio.get_running_loop().run_in_executor(None, live.engine.shutdown, 0.0)
                assert sink.is_closed
        assert live.engine.shutdown is shutdown
        return sink

    def shutdown(timeout: float | None = None) -> None:
        ended.append(timeout)

    ended = list[float | None]()
    sink = asyncio.run(all_of_it())
    assert (sink.is_closed, ended) == (True, [0.0] if told else [])
    assert [(one.call, one.prompt, one.forwarded, one.rows is None) for one in sink.given] == [
        ("call", 2, 3, False),
        ("call", 2, 9, True),
    ]
    names = {one.name for one in sink.given}
    assert len(names) == 2
    assert not any("mine" in name for name in names)


class Worker:
    """What the requests of a gate do in an engine: each forwards 5 tokens and ends; its rows lie in a `Waiting` until taken."""

    is_running = True

    def __init__(self, most: int) -> None:
        self.waiting, self.most = Waiting(most), 0
        self.model_config = SimpleNamespace(max_model_len=5)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        name = json.loads(json.loads((await receive())["body"])["vllm_xargs"]["expert_request"])["name"]
        made = piece(name, 0, 5)
        self.waiting.add(name, made.positions, {"name": name, "prompt": 2, "plan": ""}, lambda: made)
        self.most = max(self.most, self.waiting.size)
        await asyncio.sleep(0.01)
        self.waiting.end(name)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def collective_rpc(self, what: str, args: Any = ()) -> list[Any]:
        if what == "workbench_doses":
            return [json.dumps([{}])]
        said, pieces = self.waiting.take()
        running = [one.about["name"] for one in self.waiting.requests.values()]
        return [[json.dumps({"ended": said, "running": running}), packed(pieces)]]

    async def abort(self, names: list[str]) -> None:
        return None

    def shutdown(self, timeout: float | None = None) -> None:
        return None


def kept_of_twelve(most: int, *, waits: bool) -> tuple[Worker, list[Captured], int]:
    """Twelve clients at once, of which all are captured; what was, and the bytes that are reserved at the end."""

    async def all_of_it() -> tuple[Worker, list[Captured], int]:
        worker, sink = Worker(most), Sink(waits=waits)
        of = service(waiting=most)
        of.engine = worker
        of.live = Live(worker, sink, each=SIZE)
        async with running(of.live):
            replies = await asyncio.gather(*(ask(worker.app, of, {"prompt": f"{n}"}) for n in range(12)))
            assert {reply.status for reply in replies} == {200}
        return worker, sink.given, of.room.size

    return asyncio.run(all_of_it())


@pytest.mark.parametrize("waits", [True, False], ids=["wait", "drop"])
def test_where_the_buffer_is_full_requests_wait_or_are_dropped_as_asked(waits: bool) -> None:
    room = 2 * 5 * SIZE
    worker, found, reserved = kept_of_twelve(room, waits=waits)
    kept = [one for one in found if one.rows is not None]
    assert worker.most == room
    assert (len(found), sum(one.forwarded for one in found), reserved) == (12, 12 * 5, 0)
    assert len(kept) == (12 if waits else 2)
    for one in kept:
        assert one.rows is not None
        assert one.rows.positions.tolist() == [0, 1, 2, 3, 4]


def test_a_request_that_is_larger_than_the_buffer_is_dropped_and_keeps_nobody_waiting() -> None:
    _, found, reserved = kept_of_twelve(3 * SIZE, waits=True)
    assert [one.rows for one in found] == [None] * 12
    assert reserved == 0


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ({"prompt": "a text"}, 5),
        ({"prompt": [3, 4, 5]}, 5),
        ({"prompt": [[3, 4], [5]], "n": 3}, 30),
        ({"prompt": ["a", "b"], "n": None}, 10),
        ({"messages": []}, 5),
    ],
)
def test_a_call_waits_for_room_for_the_most_that_it_may_do(said: dict[str, Any], tokens: int) -> None:
    assert Live(Worker(0), Sink(waits=True), each=SIZE).size(said) == tokens * SIZE
    assert Live(Worker(0), Sink(), each=SIZE).size(said) == 0


def test_rows_survive_the_way_between_processes() -> None:
    (back,) = unpacked(packed([piece("a", 3, 2)]))
    assert (back.request, back.positions.tolist(), back.arrays["index 1"].tolist()) == (
        "a",
        [3, 4],
        [[3, 103], [4, 104]],
    )


def test_room_is_kept_until_the_rows_were_taken() -> None:
    """A client that has left, of whose request the worker is told later."""
    worker, taken = Worker(100 * SIZE), list[str]()
    made = piece("a", 0, 5)

    async def all_of_it() -> None:
        live = Live(worker, Sink(waits=True))
        worker.waiting.add("a", made.positions, {"name": "a", "prompt": 2, "plan": ""}, lambda: made)
        async with running(live):
            live.left("a", lambda: taken.append("a"))
            await asyncio.sleep(0.3)
            assert taken == []
            worker.waiting.end("a")

    asyncio.run(all_of_it())
    assert taken == ["a"]
