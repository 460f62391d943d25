"""Answers on their way out, with what their plan is and did: whole ones get a key, streams have it in their last event."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.serving.server.service import Service
from workbench.serving.server.wording import about, dosed, refusal

KEY = "expert_plan"
_DONE = b"data: [DONE]"

Send = Callable[[Any], Awaitable[None]]


async def respond(send: Send, status: int, said: Any, headers: Any = ()) -> None:
    """One JSON answer of our own."""
    body = json.dumps(said).encode()
    kept = [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"content-type")]
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*kept, *own]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Whole:
    """Sends on what an application sends; an answer of JSON is held until it is whole, and then changed by `changed`."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: dict[str, Any] = {}
        self.body = b""

    async def __call__(self, message: Any) -> None:
        """One message of the application's."""
        if message["type"] == "http.response.start":
            self.start = message
            if not self.is_held:
                await self.begin()
        elif not self.is_held:
            await self.part(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                status, said = await self.changed(json.loads(self.body))
                await respond(self.send, status, said, self.start["headers"])

    @property
    def is_held(self) -> bool:
        """Whether the answer is one piece of JSON, and no error."""
        kind = dict(self.start["headers"]).get(b"content-type", b"")
        return self.start["status"] < 400 and kind.startswith(b"application/json")

    async def begin(self) -> None:
        """An answer that is not held begins."""
        await self.send(self.start)

    async def part(self, message: Any) -> None:
        """A part of an answer that is not held."""
        await self.send(message)

    async def changed(self, said: Any) -> tuple[int, Any]:
        """Status and JSON of a whole answer, from that of the application."""
        raise NotImplementedError


class Models(Whole):
    """The list of models, each with the plan that holds for every request, and what requests may ask for."""

    def __init__(self, send: Send, service: Service) -> None:
        super().__init__(send)
        self.service = service

    async def changed(self, said: Any) -> tuple[int, Any]:
        """See `Whole`."""
        can, everywhere = self.service.served.can, self.service.everywhere
        anatomy = self.service.served.facts.anatomy
        told: dict[str, Any] = {"model": anatomy.fingerprint, "edits": sorted(can.edits)}
        told |= {} if can.edits else {"refused": can.why.get("edits", "")}
        told |= await self.service.rows() if can.edits else {}
        told |= about(everywhere, everywhere, anatomy) if everywhere else {}
        told |= {} if self.service.live is None else {"capture": self.service.live.sink.told()}
        return 200, said | {"data": [model | {KEY: told} for model in said.get("data", [])]}


class Answer(Whole):
    """An answer under a plan. Of a stream the last event is held for a moment: what its plan did is known after it."""

    def __init__(self, send: Send, service: Service, plan: Plan, name: str) -> None:
        super().__init__(send)
        self.service, self.plan, self.name = service, plan, name
        self._text, self._held = b"", b""

    async def changed(self, said: Any) -> tuple[int, Any]:
        """See `Whole`."""
        told = await self._told()
        return (503, told) if "error" in told else (200, said | {KEY: told})

    async def begin(self) -> None:
        """See `Whole`."""
        told = about(self.plan, self.service.everywhere, self.service.served.facts.anatomy)
        own = (b"x-expert-plan", told["fingerprint"].encode())
        await self.send(self.start | {"headers": [*self.start["headers"], own]})

    async def part(self, message: Any) -> None:
        """See `Whole`."""
        if self.start["status"] >= 400:
            return await self.send(message)
        *events, self._text = (self._text + message.get("body", b"")).split(b"\n\n")
        out = b"".join([await self._event(event + b"\n\n") for event in events])
        if not message.get("more_body"):
            out, self._held, self._text = out + self._held + self._text, b"", b""
        if out or not message.get("more_body"):
            await self.send(message | {"body": out})
        return None

    async def _event(self, event: bytes) -> bytes:
        """What goes out in place of one event."""
        before, self._held = self._held, b""
        if event.startswith(_DONE):
            return _joined(before, await self._told()) + event
        if b'"finish_reason":"' in event or b'"choices":[]' in event:
            self._held = event
            return before
        return before + event

    async def _told(self) -> dict[str, Any]:
        try:
            counts, cached = await self.service.dose(self.name)
        except WorkbenchError as error:
            return refusal(f"The plan was not in force: {error}", 503, "ServiceUnavailableError")
        told = about(self.plan, self.service.everywhere, self.service.served.facts.anatomy)
        return told | {"dose": dosed(counts, cached)}


def _joined(event: bytes, told: dict[str, Any]) -> bytes:
    """The last event of a stream with what is told of its plan; where none was held, an event of its own."""
    said = json.loads(event.partition(b"data:")[2]) if event else {"object": "chat.completion.chunk", "choices": []}
    said |= told if "error" in told else {KEY: told}
    return b"data: " + json.dumps(said).encode() + b"\n\n"
