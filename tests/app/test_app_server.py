"""`workbench app --server URL`: the Steer page against a stub that speaks the protocol of `workbench serve`."""

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from workbench_app.cli import demo as cli_demo

from tests.app.cli.printed import Recorder, run, sentence
from tests.support.engines import ANSWER, REFUSAL
from tests.workbench.serving.plan_server import PlanServer, plan_server
from workbench import Plan

PAGE = Path(__file__).parents[2] / "app" / "page.py"
QUESTION = "what happened in 1957?"


def page_on(server: PlanServer, project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page as the command starts it."""
    started = Recorder(0)
    with monkeypatch.context() as there:
        there.setattr(cli_demo, "serve", started)
        assert run("app", "--server", server.url, "--no-browser").exit_code == 0
    words = started.given[0]
    chosen = [word for word in words[words.index("--") + 1 :] if not word.startswith("--project")]
    monkeypatch.setattr("sys.argv", [str(PAGE), *chosen, f"--project={project}"])
    return AppTest.from_file(str(PAGE), default_timeout=120)


def asked(page: Any, question: str) -> Any:
    """The exchange, when it is there."""
    page.chat_input[0].set_value(question).run()
    ends = time.monotonic() + 60
    while any(one.is_active for one in page.session_state["asked"]):
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert not page.run().exception
    return page.session_state["asked"][-1]


def shown(page: Any) -> str:
    return "\n".join(text.value for text in [*page.text, *page.sidebar.text])


def test_base_and_steered_stream_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind its first token each answer waits at the server for the other one to begin."""
    with plan_server(together=2, everywhere=Plan.off("L1E1")) as server:
        page = page_on(server, tmp_path, monkeypatch)
        page.query_params["plan"] = "off L1E3"
        assert not page.run().exception
        answer = asked(page, QUESTION)
        assert (answer.error, answer.text("base"), answer.text("steered")) == ("", REFUSAL, ANSWER)
        assert answer.dose.counts().tokens_changed > 0
        assert "The server's own plan, in every answer: off L1E1" in shown(page)
    assert [("vllm_xargs" in body) for body in server.asked] == [False, True]


def test_the_plan_to_copy_is_a_request_that_the_server_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plan_server() as server:
        page = page_on(server, tmp_path, monkeypatch)
        page.query_params["plan"] = "off L1E3"
        assert not page.run().exception
        script, line, _ = (code.value for code in page.code)
    compile(script, "script", "exec")
    assert f"base_url='{server.url}/v1'" in script
    words = shlex.split(line)
    body = json.loads(words[-1])
    assert words[2] == f"{server.url}/v1/chat/completions"
    assert body["model"] == "served"
    assert Plan.from_json(body["vllm_xargs"]["expert_plan"]).edits == Plan.off("L1E3").edits
    assert repr(body["vllm_xargs"]["expert_plan"]) in script


def test_what_the_server_refuses_is_said_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plan_server(everywhere=Plan.force("L1E3")) as server:
        page = page_on(server, tmp_path, monkeypatch)
        page.query_params["plan"] = "off L1E3"
        page.run()
        answer = asked(page, QUESTION)
    assert "said: off L1E3 and force of the same expert contradict each other" in answer.error
    server_is_gone = asked(page, QUESTION)
    assert "does not answer as `workbench serve` does" in server_is_gone.error


def test_the_command_asks_the_server_before_a_page_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_demo, "serve", Recorder(0))
    with plan_server() as server:
        for words in (("--model", "demo"), ("--engine", "native")):
            assert "leave --model and --engine away" in sentence(run("app", "--server", server.url, *words))
        assert "The server has table." in run("app", "--server", server.url, "--no-browser").stderr
    assert "does not answer" in sentence(run("app", "--server", server.url))
