"""What vLLM calls in each of its processes (entry point `vllm.general_plugins`): nothing happens unless plans were asked for.

Asked for is in the environment, which engine and worker processes inherit. This file imports the standard library alone.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

VARIABLE = "WORKBENCH_SERVING"


class Settings(NamedTuple):
    """How much room plans get on the device, allocated before the engine counts its memory.

    rows     different sets of edits that may be in force at once, over all requests that run
    vectors  vectors of `replace`, the same way
    waiting  bytes that the rows of captured requests may have until they are taken, in host memory
    """

    rows: int = 64
    vectors: int = 64
    waiting: int = 0


def settings() -> Settings | None:
    """What this process was started with; None: stock vLLM."""
    said = os.environ.get(VARIABLE)
    return Settings(**json.loads(said)) if said else None


@contextmanager
def started_with(asked: Settings) -> Iterator[None]:
    """Processes that are started inside serve plans."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = json.dumps(asked._asdict())
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def register() -> None:
    """The entry point; may be called as often as one likes."""
    if settings() is None:
        return
    from workbench.serving.worker import install

    install()
