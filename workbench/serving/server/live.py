"""Captures some of a server's requests: which is decided by a seeded hash, what they did is brought from the engine to a store.

Between the two nothing is unbounded: rows wait in the worker, which drops whole requests where they find no room, and are taken
when the request has ended and the store has written what it got before.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple, Protocol

from workbench.serving.requests import RUNNING
from workbench.serving.taken import Piece, unpacked

_PATIENCE = 30.0  # seconds without an answer of the engine's: it has ended
_AGAIN = 1.0  # seconds until the worker is asked again of requests that run
_SOON, _TIMES = 0.1, 100  # the same at the end, and how often


class Captured(NamedTuple):
    """One answer that has ended.

    name, call  of its own, and of the call that it answers together with others, perhaps
    plan        the fingerprint of the plan that it ran under; empty: of none
    prompt      how many of its tokens were given
    forwarded   how many tokens went through the model for it, each counted once
    rows        what they did, in order; None: they found no room and were dropped
    """

    name: str
    call: str
    plan: str
    prompt: int
    forwarded: int
    rows: Piece | None


class Sink(Protocol):
    """Where captured requests go. Called from one thread at a time.

    share, seed  which requests are captured (`follows`); text: whether their token ids are kept
    waits        whether requests wait until what they do has room on its way here, so that none is dropped for want of it
    is_full      whether it takes no more
    """

    share: float
    seed: int
    text: bool
    waits: bool

    @property
    def is_full(self) -> bool: ...

    def add(self, captured: Sequence[Captured]) -> None:
        """These have ended; writes a shard where enough has come together, or has waited long enough."""
        ...

    def told(self) -> dict[str, Any]:
        """What was kept and dropped so far, JSON-able."""
        ...

    def close(self) -> None:
        """Writes what is left; nothing comes any more."""
        ...


def follows(said: Any, share: float, seed: int) -> bool:
    """Whether a request is captured: by a hash of all that it says, so that the same one always is or never."""
    digest = hashlib.sha256(json.dumps([seed, said], sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(eq=False)
class Live:
    """The captured requests of one engine, on their way into a sink. each: bytes of a token, at most."""

    engine: Any
    sink: Sink
    each: int = 0
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False
    task: asyncio.Task[None] | None = None
    _over: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])

    def follows(self, said: Any) -> str:
        """What is kept of a request, for `asking`; said: all that it says, JSON-able."""
        if self.sink.is_full or not follows(said, self.sink.share, self.sink.seed):
            return ""
        return "ids" if self.sink.text else "slots"

    def size(self, said: Mapping[str, Any]) -> int:
        """Bytes for which a captured request waits; 0: it waits for none, and is dropped where there are none."""
        if not self.sink.waits:
            return 0
        prompts, n = said.get("prompt"), said.get("n")
        many = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
        return many * (n if isinstance(n, int) else 1) * self.each * self.engine.model_config.max_model_len

    def left(self, name: str, taken: Callable[[], None]) -> None:
        """The call under this name is over; taken: called when nothing of it waits in the engine any more."""
        self._over[name] = taken
        self.seen.set()

    async def run(self) -> None:
        """Brings over what has ended, until `end` is called."""
        running = 0
        while not self.is_over:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.seen.wait(), _SOON if self._over else _AGAIN)
            if self.seen.is_set() or running or self._over:
                self.seen.clear()
                running = await self._add()
            else:  # what waits in the sink may have waited long enough
                await asyncio.to_thread(self.sink.add, [])

    async def end(self, patience: float = 0) -> None:
        """Brings over what requests did that end within `patience` seconds, and of the others what they did so far; closes the
        sink.
        """
        self.is_over = True
        self.seen.set()
        if self.task is not None:
            await asyncio.wait([self.task])
        ends = monotonic() + patience
        try:
            while (running := await self._brought()) and monotonic() < ends:
                await asyncio.sleep(_SOON)
            if running:
                await self.engine.abort([name for names in RUNNING.values() for name in names])
            for _ in range(_TIMES if running else 0):
                await asyncio.sleep(_SOON)
                if not await self._brought():
                    break
        finally:
            await asyncio.to_thread(self.sink.close)

    async def _brought(self) -> int:
        return await asyncio.wait_for(self._add(), _PATIENCE)

    async def _add(self) -> int:
        """Brings over what has ended; how many requests have not."""
        over = dict(self._over)
        captured, running = await self._taken()
        await asyncio.to_thread(self.sink.add, captured)
        for name in over.keys() - set(running):
            self._over.pop(name)()
        return len(running)

    async def _taken(self) -> tuple[list[Captured], list[str]]:
        """What has ended since the last time, and the calls of those that have not."""
        said, data = (await self.engine.collective_rpc("workbench_waiting"))[0]
        rows, told = {piece.request: piece for piece in unpacked(data)}, json.loads(said)
        found = list[Captured]()
        for one in told["ended"]:
            own = hashlib.sha256(one["request"].encode()).hexdigest()[
                :8
            ]  # a client may have a say in what vLLM calls it
            kept = rows.get(one["request"]) if one["is_kept"] else None
            found.append(
                Captured(f"{one['name']}-{own}", one["name"], one["plan"], one["prompt"], one["forwarded"], kept)
            )
        return found, told["running"]


@asynccontextmanager
async def running(live: Live | None) -> AsyncIterator[None]:
    """Captures during the block, and until the engine is told to end: vLLM's server does that before it ends its own requests."""
    if live is None:
        yield
        return
    engine, loop = live.engine, asyncio.get_running_loop()
    own, live.task = engine.shutdown, asyncio.create_task(live.run())

    def shutdown(timeout: float | None = None) -> None:
        """In a thread beside the loop."""
        try:
            asyncio.run_coroutine_threadsafe(live.end(timeout or 0), loop).result()
        finally:
            own(timeout=timeout)

    engine.shutdown = shutdown
    try:
        yield
    finally:
        engine.shutdown = own
        if not live.is_over:
            await live.end()
    live.task.result()
