"""Work in forked processes, its forwards counted, that is killed where a test wants it."""

import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.model import MoEModel


def forked(work: Callable[[], Any]) -> int:
    """Runs `work` in a child; returns its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child says it and ends
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def ended_well(pid: int) -> bool:
    """Waits for a child; whether it came to its end without an error."""
    return os.waitpid(pid, 0)[1] == 0


def count_forwards(model: MoEModel, file: Path) -> None:
    """Appends one byte to the file before each forward of the model."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    model.hf.register_forward_pre_hook(lambda *_: os.write(handle, b".") and None)


def wait_for_death(marker: Path) -> None:
    """In the child: says that the place is reached, and waits to be killed there."""
    marker.touch()
    time.sleep(600)


def kill_when(pid: int, reached: Callable[[], bool], pause: Callable[[], float], what: str) -> None:
    """Kills a child, `pause` seconds after `reached` came true; a child that ended before is an error that names `what`."""
    while not reached():
        time.sleep(0.001)
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise RuntimeError(f"{what} ended before it was killed")
    time.sleep(pause())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
