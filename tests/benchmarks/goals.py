"""The eleven goals for speed and size, each measured here and now, with its spread; what is missed is said, never left out.

python -m tests.benchmarks goals [--only 2,3] [--pairs N] [--processes N] [--model smollm2-moe] writes runs/goals.json as well;
growth draws docs/growth.svg.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tests.benchmarks import answers, bench_capture, bench_counts, parts, steering
from tests.benchmarks.models import demo, random_qwen3
from tests.benchmarks.timing import Ratio, both_clocks, seconds, spread
from workbench import capture, compare, load, open_store
from workbench.model import MoEModel

LOGITS, SIZES = frozenset({"logits"}), frozenset({"logits", "norms"})
KEEPS = (("logits", LOGITS), ("logits and sizes", SIZES))
A, B = (8, 256, 4), (64, 64, 16)
"""Sequences, tokens and batches of the capture of each model."""
CONTROLS = 30


def goals(pairs: int, model: str) -> dict[str, Callable[[], Iterator[Ratio]]]:
    """What measures each goal; it is met where every line is. `model` answers in the comparison."""
    a, b = cache(random_qwen3), cache(demo)
    return {
        "1 (a) whole": lambda: whole(a(), A, (1.03, 1.03), pairs),
        "2 (b) recording alone": lambda: recording(b(), (1.02, 1.06), pairs),
        "3 (b) whole": lambda: whole(b(), B, (1.25, 1.30), pairs),
        "4 (b) planning": lambda: planning(b(), 0.01, pairs),
        "5 encoding slots": lambda: iter([parts.encoding_ratio(pairs)]),
        "6 two lanes": lambda: iter([parts.lanes_ratio(pairs)]),
        "7 (b) steered generation": lambda: steering.steering_ratios(b(), "(b)", batch=64, pairs=max(pairs, 41)),
        "8 counts": lambda: bench_counts.ratios(pairs),
        "9 growth of counts": lambda: bench_counts.growth_of_counts(3),
        "10 bytes a slot": lambda: bytes_a_slot(b(), 5.5),
        "11 compare, 30 controls": lambda: comparing(load(model), 1.1),
    }


def whole(model: MoEModel, shape: tuple[int, int, int], limits: tuple[float, float], pairs: int) -> Iterator[Ratio]:
    sequences, length, batches = shape
    prompts = bench_capture.prompts_of(model, sequences * batches, length)
    base = bench_capture.bare(model, prompts, sequences * length)
    for (name, keep), limit in zip(KEEPS, limits, strict=True):
        with TemporaryDirectory() as folder:
            work = partial(bench_capture.captured, model, prompts, sequences * length, keep, Path(folder) / "store")
            yield parts.ratio(f"capture of routing, {name}", work, "bare forward", base, pairs=pairs, limit=limit)


def recording(model: MoEModel, limits: tuple[float, float], pairs: int) -> Iterator[Ratio]:
    for (name, keep), limit in zip(KEEPS, limits, strict=True):
        made = parts.Parts(model, *B, keep)
        yield parts.ratio(f"recording of {name}", made.recording, "bare forward", made.bare, pairs=pairs, limit=limit)


def planning(model: MoEModel, limit: float, pairs: int) -> Iterator[Ratio]:
    made = parts.Parts(model, *B, LOGITS)
    yield parts.ratio("planning and tokenising", made.planning, "bare forward", made.bare, pairs=pairs, limit=limit)


def bytes_a_slot(model: MoEModel, limit: float) -> Iterator[Ratio]:
    with TemporaryDirectory() as folder:
        info = capture(model, "refusal", Path(folder) / "store", keep={"norms"}, progress=False).info()
    yield spread("bytes a slot with sizes, bundled prompts", "", [info["size_bytes"] / info["rows"]["slots"]], limit)


def comparing(model: MoEModel, limit: float) -> Iterator[Ratio]:
    arms, plan = 2 + CONTROLS, answers.muted(model)
    best = min((partial(answers.generate, model, n) for n in answers.BATCHES), key=answers.processor_seconds)
    found = {"metrics": ["length"], "controls": {"count": CONTROLS}, "max_new_tokens": answers.TOKENS}
    work = partial(compare, model, answers.questions(), plan, **found, progress=False)
    what = f"compare, {CONTROLS} controls, {model.anatomy.model}"
    yield both_clocks(what, work, f"{arms} generates", answers.repeated(best, arms), 3, limit)[0]


# ---- growth

SHAPES = {
    "tokens": (8_192, 16_384, 32_768, 65_536),
    "layers": (2, 4, 8, 16),
    "experts": (16, 32, 64, 128),
    "top-k": (2, 4, 8, 16),
}
USUAL = {"tokens": 16_384, "layers": 8, "experts": 64, "top-k": 8}
GROWTH = Path(__file__).parents[2] / "docs" / "growth.svg"


def growth(pairs: int) -> dict[str, list[tuple[int, float, float]]]:
    """By what grows: its size, and the median seconds of a capture (sizes and logits, forward included) and of its counts."""
    return {what: [(n, *_grown({**USUAL, what: n}, pairs)) for n in sizes] for what, sizes in SHAPES.items()}


def _grown(shape: dict[str, int], pairs: int) -> tuple[float, float]:
    model = random_qwen3(shape["layers"], shape["experts"], shape["top-k"], hidden=64, width=32)
    prompts = bench_capture.prompts_of(model, shape["tokens"] // 64, 64)
    with TemporaryDirectory() as folder:
        work = partial(bench_capture.captured, model, prompts, 4_096, SIZES, Path(folder) / "store")
        work()
        captures = [seconds(work) for _ in range(pairs)]
        store = open_store(Path(folder) / "store")
        store.counts()
        counts = [seconds(store.counts) for _ in range(5 * pairs)]
    return median(captures), median(counts)


def slope(rows: list[tuple[int, float, float]], column: int) -> float:
    """The power of its size with which a time grows: 1 is linear."""
    sizes, times = [row[0] for row in rows], [row[column] for row in rows]
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def draw_growth(found: dict[str, list[tuple[int, float, float]]], into: Path = GROWTH) -> None:
    """Four log-log charts with the slope of each line."""
    width, height, colours = 260, 200, ("#2a6f97", "#c8553d")
    parts_of = list[str]()
    for at, (what, rows) in enumerate(found.items()):
        x0, times = at * width, [t for row in rows for t in row[1:]]
        low, high = np.log(min(times)), np.log(max(times))
        for column, (name, colour) in enumerate(zip(("capture", "counts"), colours, strict=True), 1):
            x = [x0 + 30 + 170 * i / (len(rows) - 1) for i in range(len(rows))]
            y = [30 + 120 * (1 - (np.log(row[column]) - low) / (high - low)) for row in rows]
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            parts_of.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            ends = f"{rows[0][column]:.3g} to {rows[-1][column]:.3g} s"
            label = f"{name}: {ends}, slope {slope(rows, column):.2f}"
            parts_of.append(
                f'<text x="{x0 + 10}" y="{165 + 14 * column}" font-size="11" fill="{colour}">{label}</text>'
            )
        title = f"{what}: {rows[0][0]:,} to {rows[-1][0]:,}"
        parts_of.append(f'<text x="{x0 + 10}" y="18" font-size="12" fill="#222">{title}</text>')
    size = f'width="{width * len(found)}" height="{height}"'
    body = "\n".join(['<rect width="100%" height="100%" fill="#fff"/>', *parts_of])
    into.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" {size}>\n{body}\n</svg>\n', "utf-8"
    )


def print_growth(pairs: int) -> int:
    """Measures, prints and draws; how many slopes are above 1.1."""
    found = growth(pairs)
    steep = 0
    for what, rows in found.items():
        for column, name in enumerate(("capture", "counts"), 1):
            said = ", ".join(f"{row[0]:,}: {row[column]:.3g} s" for row in rows)
            steep += slope(rows, column) > 1.1
            print(f"{what:<8}{name:<9}slope {slope(rows, column):.2f}   {said}")
    draw_growth(found)
    return steep


def pooled(goal: str, pairs: int, model: str, processes: int) -> Iterator[Ratio]:
    """The pairs of several processes together: each draws anew how its heap lies, by which a forward is fast or slow."""
    number, runs = goal.split()[0], list[list[dict[str, Any]]]()
    for _ in range(processes):
        with TemporaryDirectory() as folder:
            into = Path(folder) / "goals.json"
            asked = ["--only", number, "--pairs", str(pairs), "--model", model, "--into", str(into)]
            command = [sys.executable, "-m", "tests.benchmarks", "goals", *asked]
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # 1: a goal missed
            runs.append(json.loads(into.read_text("utf-8")))
    for rows in zip(*runs, strict=True):
        print(f"{goal:<26}{rows[0]['what']}: medians", ", ".join(f"{row['median']:.3f}" for row in rows))
        values = [value for row in rows for value in row["values"]]
        yield spread(rows[0]["what"], rows[0]["against"], values, rows[0]["limit"])


def table(
    pairs: int, model: str, only: Collection[int] = (), into: Path = Path("runs/goals.json"), processes: int = 1
) -> int:
    """Prints every goal, or `only` some by number, and writes the same as JSON; how many were missed."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {processes} x {pairs} pairs")
    print(f"{'goal':<26}{'what':<62}{'over':<16}{'median':>8}{'quartiles':>16}{'limit':>7}")
    said, missed = list[dict[str, object]](), 0
    asked = {name: rows for name, rows in goals(pairs, model).items() if not only or int(name.split()[0]) in only}
    for goal, rows in asked.items():
        verdicts = list[str]()
        for row in rows() if processes == 1 else pooled(goal, pairs, model, processes):
            quartiles = f"{row.low:.3f}-{row.high:.3f}"
            line = f"{goal:<26}{row.what:<62}{row.against:<16}{row.median:>8.3f}{quartiles:>16}{row.limit:>7.3f}"
            print(line, row.verdict, flush=True)
            verdicts.append(row.verdict)
            said.append({"goal": goal, **row._asdict(), "verdict": row.verdict})
        missed += "MISSED" in verdicts
    into.parent.mkdir(exist_ok=True)
    into.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(f"{missed} of {len(asked)} goals missed; {into}")
    return missed
