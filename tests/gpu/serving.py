"""On a CUDA device with vLLM 0.32 beside the workbench: plans and captures in the engine, against the native model. Not run yet.

python -m tests.gpu.serving [--model FOLDER]        at most eight minutes; exit code 1 where something does not hold

For each of vLLM's two runners: what its start-up check says, whether slots, weights and greedy answers under plans are the native
engine's, and what a plan and a capture cost. With graphs plans have to be refused, by name.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

PLANS = ("off L1E1; off L2E2", "scale L1E3=2", "mute L2E1 in generated", "force L1E5", "bias L2E3=-1.5")
ROWS = [[20 + (7 * i + 3 * n) % 300 for i in range(n)] for n in (9, 33, 64, 120)]
TOKENS, NEAR, PAIRS = 12, 1e-3, 11


def tiny() -> str:
    """A checkpoint of a real class that CUDA kernels take: heads of 64, widths of 128."""
    from tempfile import mkdtemp

    from workbench.loading import tiny_model

    folder, width = mkdtemp(prefix="workbench-gpu-"), {"hidden_size": 256, "head_dim": 64, "moe_intermediate_size": 128}
    tiny_model("qwen3_moe", **width).save_pretrained(folder)
    return folder


def check(what: str, holds: bool, shown: Any = "") -> bool:
    print(f"{'ok  ' if holds else 'FAIL'} {what} {shown}", flush=True)
    return holds


def slots(model: Any, plan: Any) -> dict[int, Any]:
    """By layer [tokens, k] experts in order and their weights, of all rows, by row and position."""
    import torch

    from workbench.backends import Batch, Keep, backend_of, compiled_for

    found = dict[int, list[tuple[Any, Any, Any, Any]]]()
    for portion in backend_of(model).run(Batch(ROWS), compiled_for(model, plan), keep=Keep()):
        for layer, record in portion.record.layers.items():
            index, order = record.index.cpu().long().sort(-1)
            rows = torch.from_numpy(portion.where.rows)
            told = zip(portion.where.sequence, portion.where.position, index[rows], record.weight.cpu().gather(-1, order)[rows],
                       strict=True)  # fmt: skip
            found.setdefault(layer, []).extend(told)
    return {layer: sorted(some, key=lambda one: (one[0], one[1])) for layer, some in found.items()}


def same(here: Any, there: Any, plan: Any) -> bool:
    """Whether 99 % of tokens in the first MoE layer, whose inputs are alike, have the same experts and weights within 1e-3."""
    import torch

    ours, theirs = slots(there, plan), slots(here, plan)
    layer = min(ours)
    equal = [torch.equal(a[2], b[2]) and bool((a[3] - b[3]).abs().max() < NEAR)
             for a, b in zip(ours[layer], theirs[layer], strict=True)]  # fmt: skip
    share = sum(equal) / len(equal)
    return check(f"'{plan or 'no plan'}': slots of layer {layer} are the native ones", share >= 0.99, f"{share:.3f}")


def cost(work: Callable[[], object], base: Callable[[], object]) -> str:
    def once(call: Callable[[], object]) -> float:
        began = perf_counter()
        call()
        return perf_counter() - began

    work(), base()
    return f"{statistics.median(once(work) / once(base) for _ in range(PAIRS)):.3f}"


def runner(model: str) -> bool:
    """All of it with the runner that the environment says."""
    from workbench import Plan, load
    from workbench.backends import Batch, Keep, backend_of, compiled_for
    from workbench.generation import decoding_of
    from workbench.loading import tiny_tokenizer

    how: dict[str, Any] = {"max_model_len": 512, "gpu_memory_utilization": 0.5}
    here, there = (
        load(model, tiny_tokenizer(), device="cuda", check=False),
        load(model, tiny_tokenizer(), engine="vllm", **how),
    )
    can = backend_of(there).can
    if not check("the start-up check lets plans through", bool(can.edits), can.why.get("edits", "")):
        return False
    held = [same(here, there, plan) for plan in (Plan(), *map(Plan.parse, PLANS))]
    engine, decoding = backend_of(there), decoding_of(there, TOKENS)

    def work(plan: Plan, keep: Any = None) -> Callable[[], object]:
        return lambda: list(engine.run(Batch(ROWS * 8), compiled_for(there, plan), decoding, keep))

    check("a plan costs", True, cost(work(Plan.parse(PLANS[0])), work(Plan())))
    check("a capture costs", True, cost(work(Plan(), Keep()), work(Plan())))
    return all(held)


def graphs(model: str) -> bool:
    """With CUDA graphs nothing is bound, so plans have to be refused with that reason."""
    from workbench import load
    from workbench.backends import backend_of
    from workbench.loading import tiny_tokenizer

    there = load(
        model, tiny_tokenizer(), engine="vllm", enforce_eager=False, max_model_len=512, gpu_memory_utilization=0.3
    )
    can = backend_of(there).can
    return check("with graphs plans are refused, and said why", not can.edits and "graphs" in can.why["edits"], can.why)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")
    parser.add_argument("--part", choices=("runner", "graphs"))
    asked = parser.parse_args()
    if asked.part:
        return 0 if {"runner": runner, "graphs": graphs}[asked.part](asked.model) else 1
    model, failed = asked.model or tiny(), 0
    for part, version in (("runner", "0"), ("runner", "1"), ("graphs", "0")):
        print(f"-- {part}, VLLM_USE_V2_MODEL_RUNNER={version}", flush=True)
        command = [sys.executable, "-m", "tests.gpu.serving", "--model", model, "--part", part]
        said = {**os.environ, "VLLM_USE_V2_MODEL_RUNNER": version, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        failed += subprocess.run(command, env=said, timeout=200).returncode != 0
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
