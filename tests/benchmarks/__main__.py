"""`make bench`: every ratio and time the README states, beside its limit; exit code 1 when one is missed.

python -m tests.benchmarks [PART ...] [--pairs N] [--model FOLDER], a part out of capture, parts, steering, counts, peers,
dashboard, answers, serving; goals (the eleven goals), growth and probes (each of them over ten million slots) by themselves.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tests.benchmarks import answers, bench_capture, bench_counts, dashboard, goals, parts, peers, serving, steering
from tests.benchmarks.models import demo, random_qwen3, token_ids
from tests.benchmarks.timing import Ratio
from workbench import load

PARTS = ("capture", "parts", "steering", "counts", "peers", "dashboard")


def rows(asked: list[str], pairs: int, folder: str | None) -> Iterator[Ratio]:
    if "answers" in asked:
        assert folder is not None, "answers are measured on a model of yours: --model FOLDER"
        yield from answers.answer_ratios(load(folder), pairs)
    if "serving" in asked:
        yield from serving.ratios(pairs, (folder,) if folder else ("demo", "smollm2-moe"))
    if "capture" in asked:
        yield from bench_capture.ratios(pairs)
    if "parts" in asked:
        yield from part_rows(pairs)
    if "counts" in asked:
        yield from bench_counts.ratios(pairs)
    if not {"steering", "peers"} & set(asked):
        return
    a = random_qwen3()
    if "steering" in asked:
        yield from steering.steering_ratios(a, "(a)", pairs=pairs)
        yield from steering.steering_ratios(demo(), "(b)", batch=64, pairs=pairs)
    if "peers" in asked:
        yield from peers.peer_ratios(a, token_ids(a, 8, 256), "(a)", pairs=pairs)


def part_rows(pairs: int) -> Iterator[Ratio]:
    """Where the time of a capture goes on (a) and (b), on as many cores as torch has and on one."""
    threads = torch.get_num_threads()
    for n in sorted({threads, 1}, reverse=True):
        torch.set_num_threads(n)
        for name, model, shape in (("(a)", random_qwen3(), goals.A), ("(b)", demo(), goals.B)):
            for _, keep in goals.KEEPS:
                for row in parts.part_ratios(model, *shape, keep, pairs):
                    yield row._replace(what=f"{name}, {n} threads, {row.what}")
    torch.set_num_threads(threads)
    yield from (parts.encoding_ratio(pairs), parts.lanes_ratio(pairs))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "answers", "serving", "goals", "growth", "probes", []], default=[]
    )
    parser.add_argument(
        "--model", help="for answers: the folder of a language model with experts; for serving: demo or smollm2-moe"
    )
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--only", type=lambda said: [*map(int, said.split(","))], default=[], help="goals, by number")
    parser.add_argument("--processes", type=int, default=1, help="of goals: so many, each with so many pairs")
    parser.add_argument("--into", type=Path, default=Path("runs/goals.json"), help="where the goals are written")
    options = parser.parse_args()
    asked = options.parts or list(PARTS)
    if asked == ["goals"]:
        model = options.model or "smollm2-moe"
        return int(bool(goals.table(options.pairs, model, options.only, options.into, options.processes)))
    if asked == ["growth"]:
        return int(bool(goals.print_growth(options.pairs)))
    if asked == ["probes"]:
        return _probes()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {options.pairs} interleaved pairs")
    missed = _ratios(asked, options.pairs, options.model) + (_times(options.pairs) if "dashboard" in asked else 0)
    return int(bool(missed))


def _ratios(asked: list[str], pairs: int, folder: str | None) -> int:
    """Prints the ratios; how many missed their limit."""
    if set(asked) == {"dashboard"}:
        return 0
    print(f"{'what':<68}{'over':<16}{'median':>8}{'quartiles':>16}{'limit':>7}")
    missed = 0
    for row in rows(asked, pairs, folder):
        limit = "" if row.limit is None else f"{row.limit:.2f}"
        quartiles = f"{row.low:.3f}-{row.high:.3f}"
        print(f"{row.what:<68}{row.against:<16}{row.median:>8.3f}{quartiles:>16}{limit:>7} {row.verdict}", flush=True)
        missed += row.verdict == "MISSED"
    return missed


def _probes() -> int:
    """Prints every probe's time and memory over ten million slots, one run each."""
    print(f"{'probe':<24}{'seconds':>9}{'GB':>7}")
    with TemporaryDirectory() as folder:
        for name, seconds, memory, wrong in bench_counts.probe_times(Path(folder)):
            print(f"{name:<24}{seconds:>9.1f}{memory:>7.2f} {wrong}", flush=True)
    return 0


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
