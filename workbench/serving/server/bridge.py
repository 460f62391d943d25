"""VLLM's asynchronous engine, called from a thread as `Calls` calls its `LLMEngine`: the start-up check runs on either."""

import asyncio
import queue
from collections.abc import Coroutine, Sequence
from typing import Any

from workbench.errors import WorkbenchError

_PATIENCE = 600  # seconds without a word from an engine that has a request: it hangs


class Bridge:
    """The engine in the loop that runs it. No method may be called in that loop's own thread."""

    def __init__(self, engine: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.engine, self.loop = engine, loop
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def add_request(self, name: str, prompt: Any, params: Any) -> str:
        """A request begins; the name that the workers know it by."""
        collector = self._wait(self.engine.add_request(name, prompt, params))
        heard = asyncio.run_coroutine_threadsafe(self._hear(collector), self.loop)
        heard.add_done_callback(lambda done: self._said.put(done.exception()) if done.exception() else None)
        return collector.request_id

    def step(self) -> list[Any]:
        """What is said next, when it is."""
        try:
            said = self._said.get(timeout=_PATIENCE)
        except queue.Empty as error:
            raise WorkbenchError("vLLM does not answer its trial request; start it again.") from error
        if isinstance(said, BaseException):
            raise said
        return [said]

    def abort_request(self, names: Sequence[str], *, internal: bool) -> None:
        """These requests end."""
        self._wait(self.engine.abort(list(names), internal=internal))

    def collective_rpc(self, what: str, *, args: tuple[Any, ...] = ()) -> list[Any]:
        """What each worker answers."""
        return self._wait(self.engine.collective_rpc(what, args=args))

    async def _hear(self, collector: Any) -> None:
        while True:
            said = collector.get_nowait() or await collector.get()
            self._said.put(said)
            if said.finished:
                return

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()
