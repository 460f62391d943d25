"""Run as a program: what the bundled model does in an engine that vLLM puts into a process of its own, as JSON."""

import json
import os
import sys
from typing import Any

from tests.serving.support.models import ENGINE
from workbench import Plan, load
from workbench.backends import Batch, Keep, backend_of, compiled_for
from workbench.generation import Made, decoding_of
from workbench.model import MoEModel

PLANS = ("nothing", "off L2E8; off L2E20", "force L0E3 in generated; scale L1E4=8; bias L3E1=-2 at 3-")
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


if __name__ == "__main__":
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    served = load("demo", engine="vllm", **ENGINE)
    said = what_it_does(served)
    sys.stdout.write(f"\n{json.dumps(said)}\n")
