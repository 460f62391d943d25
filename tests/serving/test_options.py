"""The command line of vLLM's server as `workbench serve` takes it: what is not safe is refused before anything starts.

And what `--when-full` says of captured requests for which there is no room: they wait, or they are dropped and counted.
"""

from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serving.support.http import Server, request, serving, whole
from workbench import load, open_store
from workbench.errors import WorkbenchError
from workbench.serving.client.room import kept_bytes
from workbench.serving.server import server_options

LOCAL = ("--host", "127.0.0.1")


def given(*words: str) -> Namespace:
    return server_options("demo", words)


def test_what_is_not_said_is_eager_and_known_by_the_models_name() -> None:
    args = given(*LOCAL, "--max-model-len", "99")
    assert (args.enforce_eager, args.async_scheduling, args.served_model_name) == (True, False, ["demo"])
    assert (args.max_model_len, args.host, args.trust_remote_code) == (99, "127.0.0.1", False)
    assert given(*LOCAL, "--served-model-name", "other").served_model_name == ["other"]
    assert given("--host", "0.0.0.0", "--api-key", "k").api_key == ["k"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0 lets everybody in"),
        (("--host", "::"), "add --api-key KEY"),
        ((), "every address"),
        (("--trust-remote-code",), "--trust-remote-code runs what a checkpoint's author wrote"),
        (("--headless",), "--headless is refused"),
        (("--tokens-only",), "--tokens-only is refused"),
        (("--grpc",), "--grpc is refused"),
        (("--api-server-count", "2"), "room for plans is counted in one process"),
        (("--max-modle-len", "9"), "vLLM's server does not take this"),
        (("--port", "many"), "vLLM's server does not take this"),
        (("another",), "'another' belongs to no option"),
    ],
)
def test_refused(words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    safe = () if not words or words[0] == "--host" else LOCAL
    with pytest.raises(WorkbenchError) as caught:
        given(*safe, *words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_of_the_environment_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "k")
    assert given("--host", "0.0.0.0").host == "0.0.0.0"


# ---- --when-full

CLIENTS, PROMPT, TOKENS, LONGEST = 12, 150, 60, 256  # tokens; the longest is the server's --max-model-len
FORWARDED = PROMPT + TOKENS - 1


def asked(client: int) -> dict[str, Any]:
    row = [20 + client, *(20 + (7 * i + client) % 280 for i in range(PROMPT - 1))]
    return request(row, tokens=TOKENS, ignore_eos=True)


def captured(folder: Path, when_full: str) -> Server:
    """A server that was asked by all clients at once, and has ended; its buffer holds the longest answer once, not twice."""
    buffer = int(1.5 * LONGEST * kept_bytes(load("demo", check=False).anatomy))
    options = [
        "--capture",
        str(folder / "live"),
        "--share",
        "1",
        "--capture-buffer",
        str(buffer),
        "--when-full",
        when_full,
    ]
    with serving(folder, *options) as server:
        with server.client() as client, ThreadPoolExecutor(CLIENTS) as clients:
            told = list(clients.map(lambda n: whole(client, asked(n)), range(CLIENTS)))
        assert [len(one.answer.ids) for one in told] == [TOKENS] * CLIENTS
    assert "Captured" in server.said()
    return server


def test_every_request_is_kept_whole(tmp_path: Path) -> None:
    captured(tmp_path, "wait")
    store = open_store(tmp_path / "live")
    assert store.check() == []
    assert store.dropped == {}
    assert store.tokens.groupby("prompt_id", observed=True).size().tolist() == [FORWARDED] * CLIENTS
    slots = sum(store.anatomy.layer(n).top_k for n in store.anatomy.moe_layers)
    assert store.counts().n.sum() == CLIENTS * FORWARDED * slots


def test_without_waiting_some_are_dropped(tmp_path: Path) -> None:
    captured(tmp_path, "drop")
    with pytest.raises(WorkbenchError, match="found no room while they were captured"):
        open_store(tmp_path / "live").counts()
    store = open_store(tmp_path / "live", incomplete=True)
    assert 0 < len(store.dropped) < CLIENTS
    assert len(store.dropped) + store.n_prompts == CLIENTS
