"""A server of `workbench serve` in a process of its own, and clients that ask it: whole answers, streams, hanging up."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import httpx
import psutil

from tests.serving.support.judging import Answer

_SMALL = (
    "--distributed-executor-backend",
    "uni",
    "--max-model-len",
    "256",
    "--max-num-seqs",
    "64",
    "--block-size",
    "32",
    "--kv-cache-memory-bytes",
    str(64 << 20),
)
# compiling the helpers of log-probabilities takes a C++ compiler longer than all that is tested here
_ENVIRONMENT = {"VLLM_LOGGING_LEVEL": "WARNING", "TORCHDYNAMO_DISABLE": "1"}
_STARTS = 500  # seconds: two processes import torch, one of them after the other


class Server(NamedTuple):
    """One that runs: where, what it prints, and which files its first process opens."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    opened: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=300, trust_env=False)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[Server]:
    """The bundled model, served until the block ends. more: options."""
    log, opened, port = folder / "server.log", folder / "opened.txt", _free_port()
    command = [sys.executable, "-m", "tests.serving.support.watched", str(opened)]
    command += ["serve", "demo", "--port", str(port), *_SMALL, *more]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | _ENVIRONMENT)
    server = Server(f"http://127.0.0.1:{port}", process, log, opened)
    try:
        _wait(server)
        yield server
    finally:
        engines = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            for engine in engines:  # of a server that had to be killed they would go on
                with suppress(psutil.NoSuchProcess):
                    engine.kill()


def _wait(server: Server) -> None:
    with server.client() as client:
        for _ in range(_STARTS):
            assert server.process.poll() is None, server.said()[-3000:]
            try:
                if client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                sleep(1)
    raise AssertionError(f"it does not start:\n{server.said()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def request(row: Sequence[int], plan: Any = None, *, tokens: int, **more: Any) -> dict[str, Any]:
    """A completion of token ids: greedy, with what each token led by."""
    asked = {"model": "demo", "prompt": list(row), "max_tokens": tokens, "temperature": 0, "logprobs": 2}
    return asked | {"return_token_ids": True} | ({} if plan is None else {"vllm_xargs": {"expert_plan": plan}}) | more


class Told(NamedTuple):
    """An answer, and what was said of its plan."""

    answer: Answer
    plan: Mapping[str, Any] | None


def whole(client: httpx.Client, asked: Mapping[str, Any]) -> Told:
    reply = client.post("/v1/completions", json=dict(asked))
    assert reply.status_code == 200, reply.text
    return Told(_answer([reply.json()["choices"][0]]), reply.json().get("expert_plan"))


def streamed(client: httpx.Client, asked: Mapping[str, Any]) -> Told:
    with client.stream("POST", "/v1/completions", json={**asked, "stream": True}) as reply:
        assert reply.status_code == 200
        events = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
        fingerprint = reply.headers.get("x-expert-plan")
    assert events[-1] == "[DONE]"
    said = [json.loads(event) for event in events[:-1]]
    plans = [event["expert_plan"] for event in said if "expert_plan" in event]
    assert len(plans) == (fingerprint is not None)
    assert [plan["fingerprint"] for plan in plans] == [fingerprint] * len(plans)
    return Told(_answer([event["choices"][0] for event in said]), plans[0] if plans else None)


def _answer(choices: Sequence[Mapping[str, Any]]) -> Answer:
    """As `judging.answers` has it: ids, log-probabilities, and by how much each was the likeliest."""
    found = Answer([], [], [])
    for choice in choices:
        told = choice["logprobs"] or {"token_logprobs": [], "top_logprobs": []}
        found.ids.extend(choice["token_ids"] or [])
        found.logprobs.extend(told["token_logprobs"])
        best = [sorted(by.values(), reverse=True) for by in told["top_logprobs"]]
        found.lead.extend(by[0] - by[1] if len(by) > 1 else 0.0 for by in best)
    return found


def soon(holds: Any, seconds: float = 60) -> bool:
    """Whether it comes to hold; a generous while, for the machine may have other work."""
    ends = monotonic() + seconds
    while not holds():
        if monotonic() > ends:
            return False
        sleep(0.05)
    return True
