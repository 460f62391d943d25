"""What vLLM calls in each of its processes (entry point `vllm.general_plugins`): nothing happens unless plans were asked for.

Asked for is in the environment, which engine and worker processes inherit. This file imports the standard library alone.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

VARIABLE, FRONT = "WORKBENCH_SERVING", "WORKBENCH_SERVING_FRONT"


class Settings(NamedTuple):
    """How much room plans get on the device, allocated before the engine counts its memory.

    rows     different sets of edits that may be in force at once, over all requests that run
    vectors  vectors of `replace`, the same way
    waiting  bytes that the rows of captured requests may have until they are taken, in host memory
    """

    rows: int = 64
    vectors: int = 64
    waiting: int = 256 << 20


def settings() -> Settings | None:
    """What this process was started with; None: stock vLLM."""
    said = os.environ.get(VARIABLE)
    return Settings(**json.loads(said)) if said else None


@contextmanager
def started_with(asked: Settings) -> Iterator[None]:
    """Processes that are started inside serve plans."""
    before = {name: os.environ.pop(name, None) for name in (VARIABLE, FRONT)}
    os.environ |= {VARIABLE: json.dumps(asked._asdict()), FRONT: str(os.getpid())}
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def register() -> None:
    """The entry point; may be called as often as one likes."""
    if settings() is None:
        return
    end_with_parent()
    from workbench.serving.worker import install

    install()


def end_with_parent() -> None:
    """An engine or a worker ends when the process that started it does, however that ended: nobody else would end it."""
    from multiprocessing import parent_process
    from threading import Thread

    parent = parent_process()
    if parent is None or os.environ.get(FRONT) in (None, str(os.getpid())):
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, name="workbench-parent", daemon=True).start()
