"""In a dashboard of the browser tests a story about a fox takes its time, however fast the machine: there is something to stop.

Python imports this file by its name when it starts with this folder on its path.
"""

import time
from collections.abc import Iterator
from typing import Any

import workbench.answering as answering

QUESTION, SECONDS = "about a fox", 0.03
"""Whose tokens come so many seconds apart."""
_stream = answering.stream


def stream(model: Any, asked: Any, *more: Any, **options: Any) -> Iterator[Any]:
    """As the product's."""
    tokens = _stream(model, asked, *more, **options)
    try:
        for token in tokens:
            if QUESTION in str(asked.prompts):
                time.sleep(SECONDS)
            yield token
    finally:
        tokens.close()


answering.stream = stream  # pyright: ignore[reportAttributeAccessIssue]
