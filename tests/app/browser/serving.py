"""`workbench app` as a person starts it: a process of its own, on a free port of this machine, in an empty folder."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
START_SECONDS = 600


@contextmanager
def served(folder: Path, *arguments: str, model: str = "demo") -> Iterator[str]:
    """The address of a dashboard of its own, healthy, until the block ends. Its log is FOLDER/server.log."""
    with _running(
        folder, ["-m", "workbench_app", "app", "--no-browser", f"--model={model}", *arguments], "--port"
    ) as address:
        yield address


@contextmanager
def outlined(folder: Path, shape: str) -> Iterator[str]:
    """The address of the page Steer of a model that exists in outline alone, `shape` LAYERSxEXPERTS, after an answer."""
    options = ["--server.headless=true", "--server.address=127.0.0.1", "--browser.gatherUsageStats=false"]
    script = str(Path(__file__).with_name("outlined_model.py"))
    with _running(folder, ["-m", "streamlit", "run", *options, script, "--", shape], "--server.port", at=4) as address:
        yield address


@contextmanager
def _running(folder: Path, words: list[str], port_option: str, at: int | None = None) -> Iterator[str]:
    """Python with these words and a free port among them (at the end, or at a place), until the block ends."""
    port = free_port()
    command = [sys.executable, *words]
    command.insert(len(command) if at is None else at, f"{port_option}={port}")
    paths = [str(Path(__file__).with_name("slowly")), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = folder / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_healthy(address, server, log)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def free_port() -> int:
    """A port of this machine that nobody listens on; in the range FIRST-LAST of WORKBENCH_PORTS where that is set."""
    first, _, last = os.environ.get("WORKBENCH_PORTS", "0-0").partition("-")
    for port in range(int(first), int(last) + 1):
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return taken.getsockname()[1]
    raise OSError(f"No port between {first} and {last} is free.")


def _wait_until_healthy(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"The dashboard did not start:\n{log.read_text()[-2000:]}")
