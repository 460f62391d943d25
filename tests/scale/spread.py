"""Run as a script: the driver of a capture by replicas, of the prompts of `capture_there`.

python -m tests.scale.spread PLACE WORKERS
"""

import sys

from tests.scale.capture_there import PROMPTS
from workbench.replicas import Cluster, capture_on

if __name__ == "__main__":
    place, workers = sys.argv[1:]
    capture_on(
        Cluster(workers=int(workers)), "tiny/olmoe", PROMPTS, place, batch_tokens=1, shard_tokens=1, progress=False
    )
