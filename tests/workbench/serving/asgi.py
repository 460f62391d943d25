"""A gate in front of an application of the tests' own: requests go in as ASGI messages, and what goes out is read."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.support.stores import anatomy
from workbench import Plan
from workbench.serving.client.check import FULL
from workbench.serving.client.room import Room
from workbench.serving.doses import COUNTED
from workbench.serving.plugin import Settings
from workbench.serving.requests import RUNNING
from workbench.serving.server.gate import Gate
from workbench.serving.server.service import Service

SHAPE = anatomy(n_experts=8)
App = Callable[..., Awaitable[None]]


@dataclass
class Engine:
    """What a service asks of vLLM's engine, and what it asked in turn."""

    failed: str = ""
    is_running: bool = True
    asked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    async def abort(self, names: Sequence[str]) -> None:
        self.asked.append(("abort", list(names)))

    async def collective_rpc(self, what: str, args: tuple[Any, ...] = ()) -> list[Any]:
        await asyncio.sleep(0 if self.is_running else 1e9)
        if what == "workbench_in_use":
            return [0]
        (names,) = args
        self.asked.append(("dose", len(names)))
        counts: dict[str, Any] = dict(zip(COUNTED, (5, 2, 3, 0, 4), strict=True))
        return [json.dumps([counts | ({"failed": self.failed} if self.failed else {}) for _ in names])]


def service(
    everywhere: Plan | str = "", rows: int = 64, can: Any = FULL, failed: str = "", waiting: int = 1 << 20
) -> Service:
    plan = Plan.parse(everywhere) if isinstance(everywhere, str) else everywhere
    calls = SimpleNamespace(room=Room(Settings(rows=rows, waiting=waiting)))
    served: Any = SimpleNamespace(facts=SimpleNamespace(anatomy=SHAPE, tokenizer=None), can=can, calls=calls)
    return Service(Engine(failed), served, plan)


class Reply(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    parts: list[bytes]

    @property
    def json(self) -> Any:
        return json.loads(b"".join(self.parts))


async def ask(
    app: App, of: Service, body: Any, *, path: str = "/v1/completions", method: str = "POST", gone: bool = False
) -> Reply:
    """One request. gone: the client hangs up as soon as its body is sent."""
    scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-length", b"1"), (b"x-own", b"a")]}
    sent, out = [False], list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        if not sent[0]:
            sent[0] = True
            return {"type": "http.request", "body": body if isinstance(body, bytes) else json.dumps(body).encode()}
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        out.append(message)

    await Gate(app, of)(scope, receive, send)
    if not out:
        return Reply(0, {}, [])
    return Reply(out[0]["status"], dict(out[0]["headers"]), [m["body"] for m in out[1:] if m["body"]])


@dataclass
class Echo:
    """Answers with what it was sent, whole, or in events where the request says stream."""

    events: Sequence[bytes] = ()
    seen: list[Any] = field(default_factory=list[Any])
    status: int = 200

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        said = json.loads(message["body"]) if message["body"] else {}
        self.seen.append(said)
        assert [v for k, v in scope["headers"] if k == b"content-length"] in (
            [str(len(message["body"])).encode()],
            [b"1"],
        )
        running(said)
        kind = b"text/event-stream; charset=utf-8" if self.events else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", b"7"), (b"x-kept", b"b")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for part in self.events or [json.dumps({"data": [{"id": "m"}], "echo": said}).encode()]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def running(said: Any) -> None:
    """As vLLM's funnel does for a request that has a name."""
    asked = json.loads((said.get("vllm_xargs") or {}).get("expert_request", "{}"))
    if asked.get("name"):
        RUNNING.setdefault(asked["name"], []).append(f"cmpl-{asked['name']}")
