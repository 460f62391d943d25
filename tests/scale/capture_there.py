"""Run as a script: one of several processes that capture the same prompts to an address, with hurried claims.

python -m tests.scale.capture_there ADDRESS
"""

import sys
from pathlib import Path
from typing import Any

from workbench import Store, capture
from workbench.capturing import claims
from workbench.loading import load

PROMPTS = [{"id": f"p{i}", "text": " ".join(["one", "two", "three"][: 1 + i % 3])} for i in range(60)]


def captured(into: str | Path, **how: Any) -> Store:
    """One prompt a batch, one batch a shard."""
    return capture(load("tiny/olmoe"), PROMPTS, into, batch_tokens=1, shard_tokens=1, progress=False, **how)


if __name__ == "__main__":
    claims.BEAT, claims.STALE = 0.5, 4.0
    captured(sys.argv[1])
