"""What an engine keeps until it is taken never has more bytes than it may: requests wait, and nobody waits for ever. By hand."""

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.stores import anatomy
from workbench.serving.client import Calls, Room, kept_bytes
from workbench.serving.plugin import Settings
from workbench.serving.taken import Piece, packed

EACH, TOKENS = 100, 4


class Engine:
    """Forwards `TOKENS` tokens of every request in its first step, 100 bytes each, and ends it in the second."""

    def __init__(self) -> None:
        self.steps, self.kept, self.most = dict[str, int](), list[str](), 0

    def add_request(self, name: str, prompt: Any, how: Any) -> str:
        self.steps[name] = 0
        return name

    def step(self) -> list[Any]:
        assert self.steps, "a step of an engine that has nothing to do would never end"
        self.kept += [name for name, n in self.steps.items() if n == 0]
        self.most = max(self.most, EACH * TOKENS * len(self.kept))
        self.steps = {name: n + 1 for name, n in self.steps.items()}
        ended = [name for name, n in self.steps.items() if n == 2]
        self.steps = {name: n for name, n in self.steps.items() if n < 2}
        return [SimpleNamespace(request_id=name, finished=True) for name in ended]

    def collective_rpc(self, what: str, args: Any) -> list[Any]:
        (names,) = args
        taken, self.kept = [n for n in self.kept if n in names], [n for n in self.kept if n not in names]
        return [packed([Piece(name, np.arange(TOKENS), {}) for name in taken])]

    def abort_request(self, names: Sequence[str], *, internal: bool) -> None:
        self.steps = {name: n for name, n in self.steps.items() if name not in names}


@pytest.fixture(autouse=True)
def _vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of vllm what a request is written in."""
    words, how = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vars(words).update(SamplingParams=SimpleNamespace, TokensPrompt=SimpleNamespace)
    vars(how).update(RequestOutputKind=SimpleNamespace(DELTA=1))
    for module in (words, how):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def calls(waiting: int) -> Calls:
    return Calls(Engine(), Room(Settings(waiting=waiting)))


def turn(of: Calls, left: list[str]) -> tuple[int, list[str]]:
    """One step of a caller's: tokens that it took, and its requests that go on."""
    said, pieces = of.step(left), of.taken(left)
    return sum(len(p.positions) for some in pieces.values() for p in some), [
        name for name in left if name not in {output.request_id for output in said}
    ]


def requests(of: Calls, n: int) -> Any:
    return of.requests([[3] * TOKENS] * n, [{}] * n, [{}] * n, [EACH * TOKENS] * n)


@pytest.mark.parametrize("together", [1, 3, 12])
def test_requests_wait_until_what_is_kept_of_others_was_taken(together: int) -> None:
    of, tokens = calls(EACH * TOKENS * together), 0
    with requests(of, 12) as left:
        while left:
            taken, left = turn(of, left)
            tokens += taken
    assert tokens == 12 * TOKENS
    assert of.engine.most == EACH * TOKENS * together
    assert (of.room.size, of.engine.kept, of.engine.steps) == (0, [], {})


def test_one_that_needs_more_than_there_is_has_it_alone() -> None:
    of = calls(1)
    with requests(of, 3) as left:
        while left:
            _, left = turn(of, left)
    assert (of.engine.most, of.room.size) == (EACH * TOKENS, 0)


def test_a_caller_who_pauses_keeps_nobody_waiting() -> None:
    """He has heard nothing of his request, and never takes what was kept of it."""
    of = calls(EACH * TOKENS)
    with requests(of, 1) as paused:
        turn(of, paused)
        with requests(of, 2) as left:
            for _ in range(20):
                _, left = turn(of, left) if left else (0, left)
        assert left == []
        assert turn(of, paused)[1] == []
    assert of.room.size == 0


def test_a_caller_who_leaves_gives_its_place_up() -> None:
    of = calls(EACH * TOKENS)
    with requests(of, 2) as left:
        turn(of, left)
    assert (of.room.size, of.engine.kept, of.engine.steps) == (0, [], {})


def test_the_bytes_of_a_token() -> None:
    shape = anatomy(n_layers=3, n_experts=5, top_k=2)
    layers = len(shape.moe_layers)
    assert kept_bytes(shape) == 24 + 8 * 2 * layers
    assert kept_bytes(shape, shape.moe_layers[:1]) == kept_bytes(shape) + 4 * 5
