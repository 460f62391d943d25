"""`make bench`: every ratio and time the README states, beside its limit; exit code 1 when one is missed.

python -m tests.benchmarks [capture|steering|counts|peers|dashboard|answers|serving ...] [--pairs N] [--model FOLDER]
"""

import argparse
from collections.abc import Iterator

import torch

from tests.benchmarks import answers, bench_capture, bench_counts, dashboard, peers, serving, steering
from tests.benchmarks.models import demo, random_qwen3, token_ids
from tests.benchmarks.timing import Ratio
from workbench import load

PARTS = ("capture", "steering", "counts", "peers", "dashboard")


def rows(parts: list[str], pairs: int, folder: str | None) -> Iterator[Ratio]:
    if "answers" in parts:
        assert folder is not None, "answers are measured on a model of yours: --model FOLDER"
        yield from answers.answer_ratios(load(folder), pairs)
    if "serving" in parts:
        yield from serving.ratios(pairs, (folder,) if folder else ("demo", "smollm2-moe"))
    if "capture" in parts:
        yield from bench_capture.ratios(pairs)
    if "counts" in parts:
        yield from bench_counts.ratios(pairs)
    if not {"steering", "peers"} & set(parts):
        return
    a = random_qwen3()
    if "steering" in parts:
        yield from steering.steering_ratios(a, "(a)", pairs=pairs)
        yield from steering.steering_ratios(demo(), "(b)", batch=64, pairs=pairs)
    if "peers" in parts:
        yield from peers.peer_ratios(a, token_ids(a, 8, 256), "(a)", pairs=pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "answers", "serving", []], default=[])
    parser.add_argument(
        "--model", help="for answers: the folder of a language model with experts; for serving: demo or smollm2-moe"
    )
    parser.add_argument("--pairs", type=int, default=11)
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {options.pairs} interleaved pairs")
    missed = _ratios(parts, options.pairs, options.model) + (_times(options.pairs) if "dashboard" in parts else 0)
    return int(bool(missed))


def _ratios(parts: list[str], pairs: int, folder: str | None) -> int:
    """Prints the ratios; how many missed their limit."""
    if set(parts) == {"dashboard"}:
        return 0
    print(f"{'what':<68}{'over':<16}{'median':>8}{'quartiles':>16}{'limit':>7}")
    missed = 0
    for row in rows(parts, pairs, folder):
        limit = "" if row.limit is None else f"{row.limit:.2f}"
        quartiles = f"{row.low:.3f}-{row.high:.3f}"
        print(f"{row.what:<68}{row.against:<16}{row.median:>8.3f}{quartiles:>16}{limit:>7} {row.verdict}", flush=True)
        missed += row.verdict == "MISSED"
    return missed


def _times(rounds: int) -> int:
    """Prints the dashboard's times in seconds; how many missed their limit."""
    print(f"{'the dashboard in chromium':<68}{'':<16}{'median s':>8}{'quartiles':>16}{'limit':>7}")
    missed = 0
    for row in dashboard.times(rounds):
        quartiles = f"{row.low:.2f}-{row.high:.2f}"
        print(f"{row.what:<68}{'':<16}{row.median:>8.2f}{quartiles:>16}{row.limit:>7.2f} {row.verdict}", flush=True)
        missed += row.verdict == "MISSED"
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
