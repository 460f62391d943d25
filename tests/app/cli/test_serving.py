"""`workbench app`: the page is served as asked, and its server ends with the command. `workbench serve`: so is vLLM's."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from workbench_app.cli import demo as cli_demo

from tests.app.cli.printed import Recorder, run, sentence
from tests.support.stores import random_store
from workbench import Plan
from workbench.serving.server import Settings

pytestmark = pytest.mark.usefixtures("wide")


def test_the_page_is_served_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = Recorder(0)
    monkeypatch.setattr(cli_demo, "serve", started)
    monkeypatch.chdir(tmp_path)
    store = random_store(tmp_path / "s").path
    said = run("app", "--model", "a", "--model", "b", "--store", store, "--no-browser")
    assert (said.exit_code, said.stderr) == (0, "Serving on this machine only: http://127.0.0.1:8501\n")
    (command,) = started.given
    assert command[1:5] == ["-m", "streamlit", "run", str(Path(cli_demo.__file__).parents[1] / "page.py")]
    assert command[5:-5] == [
        "--server.address=127.0.0.1", "--server.port=8501", "--browser.gatherUsageStats=false", "--server.showEmailPrompt=false",
        "--logger.hideWelcomeMessage=true", "--server.headless=true", "--server.fileWatcherType=none",
        "--client.toolbarMode=minimal", "--theme.light.primaryColor=#0072B2", "--theme.dark.primaryColor=#4AA8DE",
    ]  # fmt: skip
    assert command[-5:] == ["--", "--model=a", "--model=b", f"--store={store}", f"--project={tmp_path}"]
    started.answer = 3
    said = run("app", "--host", "::1", "--port", 65535)
    assert (said.exit_code, said.stderr) == (3, "Serving on this machine only: http://::1:65535\n")
    assert started.given[0][-3:] == ["--", "--model=demo", f"--project={tmp_path}"]
    assert "--server.headless=false" in started.given[0]
    said = run("app", "--host", "0.0.0.0", "--port", 1)
    assert said.stderr == (
        "Serving on 0.0.0.0, port 1: everybody who reaches this machine can use the model and read the stores listed.\n"
    )
    assert run("app", "--port", 0).exit_code == run("app", "--port", 65536).exit_code == 2


def test_the_server_ends_with_the_command_and_signals_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Server:
        def wait(self) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 4

        def terminate(self) -> None:
            done.append("terminated")

        def kill(self) -> None:
            done.append("killed")

    before: list[int] = []
    monkeypatch.setattr(cli_demo.subprocess, "Popen", lambda command: Server() if command == ["a"] else None)
    kept = signal.signal(signal.SIGTERM, lambda number, _: before.append(number))
    try:
        assert cli_demo.serve(["a"]) == 4
        assert (done, before) == (["terminated", "killed"], [])
        os.kill(os.getpid(), signal.SIGTERM)
        assert (done, before) == (["terminated", "killed"], [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, kept)


def test_the_script_of_the_page_runs_with_the_arguments_of_the_command(monkeypatch):
    import runpy

    from workbench_app.dashboard import navigation

    ran = []
    monkeypatch.setattr(navigation, "run", ran.append)
    monkeypatch.setattr(sys, "argv", ["page.py", "--model=a", "--project=b"])
    runpy.run_module("workbench_app.page", run_name="__main__")
    assert ran == [["--model=a", "--project=b"]]


# ---- `workbench serve`


def test_serve_needs_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.serving.server.options.find_spec", lambda name: None)
    assert "`workbench serve` needs vLLM, which is not installed here".replace("`", "'") in sentence(
        run("serve", "demo")
    )


def test_serve_hands_on_what_is_vllms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    asked, read = (
        Recorder(SimpleNamespace(revision=None, dtype="auto")),
        Recorder(SimpleNamespace(path="p", facts=SimpleNamespace(dtype=torch.bfloat16))),
    )
    served = Recorder(None)
    monkeypatch.setattr("workbench.serving.server.server_options", asked)
    monkeypatch.setattr("workbench.serving.server.serve", served)
    monkeypatch.setattr("workbench.loading.read_once", read)
    plan = Plan.off("L0E1")
    plan.to_json(tmp_path / "plan.json")
    words = ("--plan", tmp_path / "plan.json", "--max-model-len", "99", "-tp", "2", "--port", 8123, "--api-key", "k")
    said = run("serve", "demo", *words, "--plan-rows", 9)
    assert said.exit_code == 0, said.output
    ours = ["--host", "127.0.0.1", "--port", "8123", "--api-key", "k"]
    assert asked.given == ("demo", [*ours, "--max-model-len", "99", "-tp", "2"])
    path, _, args, everywhere, settings, _, captured = served.given
    assert (path, args.dtype, everywhere, settings, captured) == ("p", "bfloat16", plan, Settings(9, 64), None)


def test_what_ends_vllms_server_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Engine core initialization failed.\nSee above.")

    read = SimpleNamespace(path="p", facts=SimpleNamespace(dtype="torch.float32"))
    monkeypatch.setattr(
        "workbench.serving.server.server_options", lambda *_: SimpleNamespace(revision=None, dtype="auto")
    )
    monkeypatch.setattr("workbench.loading.read_once", lambda *_: read)
    monkeypatch.setattr("workbench.serving.server.serve", broken)
    said = sentence(run("serve", "demo"))
    assert said == (
        "vLLM's server ended (RuntimeError: Engine core initialization failed.); what it said above tells why."
    )
