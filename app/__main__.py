"""The entry point of the `workbench` script: Ctrl-C ends it with one word from the first moment, imports included."""

import os
import signal
import sys
from traceback import walk_stack
from types import FrameType
from typing import Any, NoReturn


def main() -> None:
    """Runs the command line. Interrupted, it exits with 130, whatever library was just being imported."""
    was_interrupted = False

    def interrupt(_: int, frame: FrameType | None) -> NoReturn:
        nonlocal was_interrupted
        if is_importing(frame):
            end()
        was_interrupted = True
        raise KeyboardInterrupt

    def swallowed(unraisable: Any) -> None:
        """The interrupt fell into a finaliser, where Python would print it and go on."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            end()
        sys.__unraisablehook__(unraisable)

    sys.unraisablehook = swallowed
    signal.signal(signal.SIGINT, interrupt)
    try:
        from .cli import app

        app()
    except BaseException:
        if not was_interrupted:  # else: a library that is interrupted while it is imported may raise anything
            raise
        end()


def is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: an exception in a C library's own set-up aborts the process (torch does)."""
    machinery = {"importlib._bootstrap", "_frozen_importlib"}  # the second is its name before `import importlib`
    return any(at.f_globals.get("__name__") in machinery for at, _ in walk_stack(frame))


def end() -> NoReturn:
    """Everything was unwound, or nothing has begun. After `sys.exit` Python may change the code, when C was interrupted."""
    print("Stopped.", file=sys.stderr, flush=True)  # noqa: T201 - rich may not be imported yet
    sys.stdout.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
