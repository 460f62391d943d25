"""Compiled code runs as written while hooks of ours are installed: torch does not guard compiled graphs against hooks.

Without this a model behind `torch.compile` would be silently unsteered (seen with torch 2.13: a plan that moves the logits by
6 moved a compiled model's by 0). The compiler's stance is process-wide, so it is counted: the first hook sets it, the last
gives back what was set before. Compiled models of other threads run as written for that time, which changes no number of theirs
beyond rounding.
"""

import sys
import threading
from contextlib import AbstractContextManager
from typing import Any

_LOCK = threading.Lock()
_STATE: dict[str, Any] = {"users": 0, "stance": None}


def enter() -> None:
    """One more place is watched."""
    with _LOCK:
        _STATE["users"] += 1
        if _STATE["users"] == 1 and "torch._dynamo" in sys.modules:
            import torch

            stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
            stance.__enter__()
            _STATE["stance"] = stance


def leave() -> None:
    """One fewer; the last one gives the compiler its stance back."""
    with _LOCK:
        _STATE["users"] -= 1
        if _STATE["users"] == 0 and _STATE["stance"] is not None:
            _STATE["stance"].__exit__(None, None, None)
            _STATE["stance"] = None
