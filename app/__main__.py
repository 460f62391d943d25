"""The entry point of the `workbench` script: Ctrl-C ends it with one word from the first moment, imports included."""

import os
import signal
import sys
from typing import Any, NoReturn


def main() -> None:
    """Runs the command line. Interrupted, it exits with 130, whatever library was just being imported."""
    was_interrupted = False

    def interrupt(*_: Any) -> NoReturn:
        nonlocal was_interrupted
        was_interrupted = True
        raise KeyboardInterrupt

    def swallowed(unraisable: Any) -> None:
        """The interrupt fell into a finaliser, where Python would print it and go on."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            _end()
        sys.__unraisablehook__(unraisable)

    sys.unraisablehook = swallowed
    signal.signal(signal.SIGINT, interrupt)
    try:
        from .cli import app

        app()
    except BaseException:
        if not was_interrupted:  # else: a library that is interrupted while it is imported may raise anything
            raise
        _end()


def _end() -> NoReturn:
    """Everything was unwound; what Python does after `sys.exit` may still change the code, when C was interrupted."""
    print("Stopped.", file=sys.stderr, flush=True)  # noqa: T201 - rich may not be imported yet
    sys.stdout.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
