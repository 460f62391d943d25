"""Requests in one vLLM engine that several callers use at once: each takes a step when nobody took it for him."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from workbench.serving.taken import Piece, unpacked


@dataclass(eq=False)
class Calls:
    """vLLM's `LLMEngine` and the requests that are in it, by the names that we gave them and by those that it gives them."""

    engine: Any
    lock: threading.RLock = field(default_factory=threading.RLock)
    _said: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    _inner: dict[str, str] = field(default_factory=dict[str, str])
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def requests(
        self, rows: Sequence[Sequence[int]], asked: Sequence[Mapping[str, Any]], how: Sequence[Mapping[str, Any]]
    ) -> Iterator[list[str]]:
        """Requests for these rows of token ids, as their names; whatever is left of them is gone afterwards.

        asked  the `extra_args` of each; how: its sampling parameters
        """
        names = list[str]()
        try:
            with self.lock:
                for row, extra, given in zip(rows, asked, how, strict=True):
                    names.append(f"workbench-{next(self._numbers)}")
                    self._said[names[-1]] = []
                    self._inner[names[-1]] = self._begin(names[-1], row, extra, given)
            yield names
        finally:
            with self.lock:
                inner = [self._inner.pop(name) for name in names if name in self._inner]
                self.engine.abort_request(inner, internal=True)
                self.worker("workbench_take", inner)
                for name in names:
                    self._said.pop(name, None)

    def _begin(self, name: str, row: Sequence[int], extra: Mapping[str, Any], given: Mapping[str, Any]) -> str:
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        how = SamplingParams(**given, extra_args=dict(extra) or None, output_kind=RequestOutputKind.DELTA)
        return self.engine.add_request(name, TokensPrompt(prompt_token_ids=list(row)), how)

    def step(self, wanted: Sequence[str]) -> list[Any]:
        """What the engine says of these requests, after one step unless somebody else's step said something."""
        with self.lock:
            if not any(self._said[name] for name in wanted):
                for output in self.engine.step():
                    if output.request_id in self._said:
                        self._said[output.request_id].append(output)
            found = [output for name in wanted for output in self._said[name]]
            self._said |= {name: [] for name in wanted}
        return found

    def taken(self, names: Sequence[str]) -> dict[str, list[Piece]]:
        """What was kept of these requests since it was taken last."""
        with self.lock:
            names_of = {self._inner[name]: name for name in names}
            pieces = unpacked(self.worker("workbench_take", [*names_of]))
        found: dict[str, list[Piece]] = {name: [] for name in names}
        for piece in pieces:
            found[names_of[piece.request]].append(piece)
        return found

    def worker(self, what: str, *args: Any) -> Any:
        """What the first worker answers; the others have the same."""
        return self.engine.collective_rpc(what, args=args)[0]
