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
            print("Stopped.", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(130)
        sys.__unraisablehook__(unraisable)

    sys.unraisablehook = swallowed
    signal.signal(signal.SIGINT, interrupt)
    try:
        from .cli import app

        app()
    except BaseException:
        if not was_interrupted:  # else: a library that is interrupted while it is imported may raise anything
            raise
        print("Stopped.", file=sys.stderr)  # noqa: T201 - rich may not be imported yet
        sys.exit(130)


if __name__ == "__main__":
    main()
