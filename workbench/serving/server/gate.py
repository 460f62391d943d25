"""Stands in front of vLLM's routes, behind its keys: only those are open that plans hold on, and a plan is read before vLLM is.

A body is handed on as it was read here, so that nothing in it is understood in two ways.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from uuid import uuid4

from workbench.errors import WorkbenchError
from workbench.routing import CompiledPlan
from workbench.serving.client import Place
from workbench.serving.online import PATH as EXPERTS
from workbench.serving.requests import NAME, asking
from workbench.serving.server.reply import Answer, Models, respond
from workbench.serving.server.service import Service
from workbench.serving.server.wording import refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KEY, CAPTURE = "expert_plan", "expert_capture"
GENERATING = ("/v1/chat/completions", "/v1/completions")
_OPEN = {
    "GET": ("/health", "/load", "/metrics", "/metrics/", "/ping", "/version", "/v1/models", EXPERTS),
    "POST": ("/tokenize", "/detokenize", *GENERATING),
}
_MOST_BYTES = 64 << 20  # of a body


class Sent(NamedTuple):
    """A request whose plan was read: its body for vLLM, its plan (None: it goes by none), and a name where it is followed.

    size  bytes that it waits for, where what is captured of it has to find room
    """

    body: bytes
    name: str = ""
    plan: CompiledPlan | None = None
    size: int = 0


class Gate:
    """ASGI middleware around vLLM's application."""

    def __init__(self, app: Any, service: Service) -> None:
        self.app, self.service = app, service
        service.is_gated = True

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path not in _OPEN.get(scope["method"], ()):
            return await _closed(scope, path, send)
        if path == EXPERTS:
            return await respond(send, 200, self.service.telling)
        if path in GENERATING:
            return await self._generate(scope, receive, send)
        return await self.app(scope, receive, Models(send, self.service) if path == "/v1/models" else send)

    async def _generate(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            sent = self._read(await _body(receive))
        except WorkbenchError as error:
            return await respond(send, 400, refusal(error))
        rest = _Rest(sent.body, receive)
        handed = scope | {"headers": _with_length(scope["headers"], len(sent.body))}
        if not sent.name:
            return await self.app(handed, rest, send)
        place = await self._entered(sent, rest)
        if place is None:
            return None
        answer = send if sent.plan is None else Answer(send, self.service, sent.plan.plan, sent.name)
        try:
            return await self.app(handed, rest, answer)
        finally:
            # shielded: whoever hangs up ends this task, and the row has to come back all the same
            await asyncio.shield(self.service.leave(sent.name, place))
            rest.end()

    async def _entered(self, sent: Sent, rest: "_Rest") -> Place | None:
        """Its place, when there is room; None: the client hung up before."""
        entering = asyncio.ensure_future(self.service.enter(sent.plan, sent.size))
        try:
            await asyncio.wait([entering, rest.gone()], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            entering.add_done_callback(lambda done: done.cancelled() or self.service.release(done.result()))
            raise
        finally:
            entering.cancel()
        return None if not entering.done() else entering.result()

    def _read(self, body: bytes) -> Sent:
        said = _parsed(body)
        given = said.pop("vllm_xargs", None)
        extra = {} if given is None else given
        if not isinstance(extra, dict):
            raise WorkbenchError("vllm_xargs is an object of names and values; send a plan as its 'expert_plan'.")
        if wrong := next(
            (key for key in (*extra, *said) if _is_meant(key) and not (key in (KEY, CAPTURE) and key in extra)), None
        ):
            raise WorkbenchError(f"'{wrong:.40}' says nothing here; send a plan as vllm_xargs={{'{KEY}': 'off L2E8'}}.")
        follow = self._followed(said, extra)
        text, plan = extra.pop(KEY, None), None
        if text is not None or self.service.everywhere:
            plan = self.service.plan_of(text)
            if said.get("use_beam_search"):
                raise WorkbenchError(
                    "Beams are requests of vLLM's own, which carry no plan; leave use_beam_search out."
                )
        name = uuid4().hex if follow or plan is not None else ""
        extra |= asking(plan, name=name, follow=follow) if name else {}
        said |= {"vllm_xargs": extra} if given is not None or extra else {}
        size = self.service.live.size(said) if follow and self.service.live is not None else 0
        return Sent(json.dumps(said).encode(), name, plan, size)

    def _followed(self, said: Any, extra: dict[str, Any]) -> str:
        """What is captured of a request (`Asked.follow`), which may say that nothing is."""
        wanted, live = extra.pop(CAPTURE, True), self.service.live
        if not isinstance(wanted, bool):
            raise WorkbenchError(
                f"'{CAPTURE}' is true or false; false keeps this request out of what the server captures."
            )
        return live.follows([said, extra]) if wanted and live is not None else ""


def _is_meant(key: str) -> bool:
    """Whether a name is one of ours, or was meant as such: a plan that is not read would be no plan at all."""
    return key == NAME or key.casefold().startswith("expert")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body, parse_constant=_no_number)
    except WorkbenchError:
        raise
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"The request's body is no JSON ({type(error).__name__}); send an object.") from error
    if not isinstance(said, dict):
        raise WorkbenchError("The request's body is no JSON object; send one with a model and a prompt or messages.")
    return said


def _no_number(text: str) -> Any:
    raise WorkbenchError(f"The request's body holds {text}, which is no JSON; send finite numbers.")


async def _body(receive: Receive) -> bytes:
    parts, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise WorkbenchError("The request ended before its body did.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MOST_BYTES:
            raise WorkbenchError(f"The request's body has more than {_MOST_BYTES >> 20} MB; send less.")
        if not message.get("more_body"):
            return b"".join(parts)


class _Rest:
    """What an application receives: the body, and then that the client is gone, when it is."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.receive = receive
        self._body: bytes | None = body
        self._gone: asyncio.Task[Message] | None = None

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await asyncio.shield(self.gone())

    def gone(self) -> asyncio.Task[Message]:
        """Ends when the client hangs up."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self.receive())  # pyright: ignore[reportArgumentType]
        return self._gone

    def end(self) -> None:
        """Nobody waits for it any more."""
        if self._gone is not None:
            self._gone.cancel()


def _with_length(headers: Any, n: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"transfer-encoding")]
    return [*kept, (b"content-length", str(n).encode())]


async def _closed(scope: Any, path: str, send: Send) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008})
    sentence = f"{scope['method']} {path:.80} is not served here; plans hold on {' and '.join(GENERATING)}."
    return await respond(send, 404, refusal(sentence, 404, "NotFoundError"))
