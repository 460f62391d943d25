"""Run as a program: what the bundled model does in an engine that vLLM puts into a process of its own, as JSON.

Then it captures into the folder that is named first, and kills itself in the middle; where two processes share each layer, which
the number behind it says, it captures all of it, as the model is and, beside that, under a plan.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.serving.support.models import ENGINE
from workbench import Plan, Store, capture, load
from workbench.backends import Batch, Keep, backend_of, compiled_for
from workbench.generation import Made, decoding_of
from workbench.model import MoEModel
from workbench.prompts import read_prompts

PLANS = ("nothing", "off L2E8; off L2E20", "force L0E3 in generated; scale L1E4=8; bias L3E1=-2 at 3-")
PLANNED = "planned"
"""Beside the folder: the store of the second plan."""
ROWS = [[20, 33, 47, 90, 211, 17], [400, 23, 50], [100, *range(60, 90)]]


def what_it_does(model: MoEModel) -> dict[str, Any]:
    """Answers, and the experts by layer and token, of every row under every plan."""
    engine: Any = backend_of(model)
    plans = [compiled_for(model, Plan.parse(text)) for text in PLANS for _ in ROWS]
    found = list(engine.run_each(Batch(ROWS * len(PLANS)), plans, decoding_of(model, 6), Keep()))
    made: list[Made] = [p.made for p in found if p.made is not None]
    slots = [
        (layer, int(s), int(p), sorted(record.index[row].tolist()))
        for portion in found
        for layer, record in portion.record.layers.items()
        for row, (s, p) in enumerate(zip(portion.where.sequence, portion.where.position, strict=True))
    ]
    answers = [
        [i for m in made for r, i in zip(m.row, m.id.tolist(), strict=True) if r == row] for row in range(len(plans))
    ]
    return {"answers": answers, "slots": [list(slot) for slot in sorted(slots)]}


def captured(model: MoEModel, into: Path, progress: Any = False, plan: Plan | None = None) -> Store:
    """The capture that is killed: two prompts a batch, a shard for each."""
    asked, keep = read_prompts("refusal_heldout").filter(split="heldout")[:12], {"logits"}
    how: Any = {"keep": keep, "generate": 4, "batch_tokens": 60, "shard_tokens": 60}
    return capture(model, asked, into, progress=progress, plan=plan, **how)


def shards_in(store: Path) -> int:
    """How many are published."""
    return len(list((store / "shards").glob("*.json")))


def main() -> None:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    into, n_processes = Path(sys.argv[1]), int(sys.argv[2])
    how: Any = {"distributed_executor_backend": "uni"} if n_processes == 1 else {"tensor_parallel_size": n_processes}
    served = load("demo", engine="vllm", **ENGINE, **how)
    said = what_it_does(served) | {"engines": [child.pid for child in psutil.Process().children(recursive=True)]}
    sys.stdout.write(f"\n{json.dumps(said)}\n")
    sys.stdout.flush()
    if n_processes > 1:
        captured(served, into)
        captured(served, into.with_name(PLANNED), plan=Plan.parse(PLANS[1]))
        return
    captured(served, into, lambda _: os.kill(os.getpid(), signal.SIGKILL) if shards_in(into) >= 2 else None)


if __name__ == "__main__":
    main()
