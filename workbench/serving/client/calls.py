"""Requests in one vLLM engine that several callers use at once: each takes a step when nobody took it for him."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from workbench.serving.client.room import Place, Room
from workbench.serving.scopes import stretches
from workbench.serving.steps import Asked
from workbench.serving.taken import Piece, unpacked


@dataclass
class Call:
    """One request. It waits until there is room for its plan and for what is kept of it, at most `size` bytes; `inner` is the
    name that vLLM gives it then.
    """

    row: Sequence[int]
    extra: Mapping[str, Any]
    how: Mapping[str, Any]
    size: int = 0
    said: list[Any] = field(default_factory=list[Any])
    inner: str | None = None
    place: Place = field(default_factory=Place)
    has_ended: bool = False

    def __post_init__(self) -> None:
        asked = Asked.of(self.extra, len(self.row))
        self.helds = [stretch.held for stretch in stretches(asked.plan.edits, asked.prompt)]

    @property
    def is_running(self) -> bool:
        """Whether the engine has it."""
        return self.inner is not None and not self.has_ended


@dataclass(eq=False)
class Calls:
    """vLLM's `LLMEngine` and the requests that are in it, or wait, by the names that we gave them."""

    engine: Any
    room: Room
    lock: threading.RLock = field(default_factory=threading.RLock)
    _calls: dict[str, Call] = field(default_factory=dict[str, Call])
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def requests(
        self,
        rows: Sequence[Sequence[int]],
        asked: Sequence[Mapping[str, Any]],
        how: Sequence[Mapping[str, Any]],
        sizes: Sequence[int],
    ) -> Iterator[list[str]]:
        """Requests for these rows of token ids, as their names; whatever is left of them is gone afterwards.

        asked  the `extra_args` of each; how: its sampling parameters; sizes: bytes at most of what is kept of it

        Raises `WorkbenchError` for a plan that has no room even alone.
        """
        calls = [Call(*parts) for parts in zip(rows, asked, how, sizes, strict=True)]
        for call in calls:
            self.room.check(call.helds)
        with self.lock:
            named = {f"workbench-{next(self._numbers)}": call for call in calls}
            self._calls |= named
        try:
            yield list(named)
        finally:
            with self.lock:
                self._drop(named)

    def step(self, wanted: Sequence[str]) -> list[Any]:
        """What the engine says of these requests, after one step unless somebody else's step said something."""
        with self.lock:
            if not any(self._calls[name].said for name in wanted):
                self._admit()
                for output in self.engine.step():
                    self._hear(output)
            found = [output for name in wanted for output in self._calls[name].said]
            for name in wanted:
                self._calls[name].said = []
        return found

    def taken(self, names: Sequence[str]) -> dict[str, list[Piece]]:
        """What was kept of these requests since it was taken last."""
        with self.lock:
            ended = [call for call in (self._calls[name] for name in names) if call.has_ended]
            named = {inner: name for name in names if (inner := self._calls[name].inner) is not None}
            pieces = unpacked(self.worker("workbench_take", [*named]))
            for call in ended:
                self._free(call)
        found: dict[str, list[Piece]] = {name: [] for name in names}
        for piece in pieces:
            found[named[piece.request]].append(piece)
        return found

    def worker(self, what: str, *args: Any) -> Any:
        """What the first worker answers; the others have the same."""
        return self.engine.collective_rpc(what, args=args)[0]

    def _admit(self) -> None:
        """The requests that wait begin, in their order, as long as there is room."""
        for name, call in self._calls.items():
            if call.inner is not None:
                continue
            is_alone = not any(one.is_running for one in self._calls.values())
            found = self.room.enter(call.helds, call.size, is_alone=is_alone)
            if found is None:
                return
            call.place, call.inner = found, self._begin(name, call)

    def _begin(self, name: str, call: Call) -> str:
        from vllm import SamplingParams, TokensPrompt  # pyright: ignore[reportMissingImports]
        from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]

        how = SamplingParams(**call.how, extra_args=dict(call.extra) or None, output_kind=RequestOutputKind.DELTA)
        return self.engine.add_request(name, TokensPrompt(prompt_token_ids=list(call.row)), how)

    def _hear(self, output: Any) -> None:
        call = self._calls.get(output.request_id)
        if call is None:
            return
        call.said.append(output)
        if output.finished:
            self._leave(call)

    def _leave(self, call: Call) -> None:
        self.room.leave(call.place)
        call.place, call.has_ended = call.place._replace(rows=()), True

    def _free(self, call: Call) -> None:
        self.room.taken(call.place)
        call.place = Place()

    def _drop(self, named: Mapping[str, Call]) -> None:
        inner = [call.inner for call in named.values() if call.inner is not None]
        self.engine.abort_request(inner, internal=True)
        self.worker("workbench_take", inner)
        for name, call in named.items():
            self._leave(call)
            self._free(call)
            del self._calls[name]
