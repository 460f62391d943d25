"""The command line of vLLM's server as `workbench serve` takes it: what is not safe is refused before anything starts."""

from argparse import Namespace

import pytest

from workbench.errors import WorkbenchError
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
