"""Two processes that share the rows of a step make the student that one makes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.workbench.factorization.test_distilling import RECIPE, made, rows
from workbench.errors import WorkbenchError
from workbench.factorization.distilling import distil

ROOT = Path(__file__).resolve().parents[3]


def together(folder, balance: float, processes: int = 2):
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*started, "-m", "tests.workbench.factorization.together", str(folder), str(balance)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("balance", [0.0, 0.01])
def test_two_processes_learn_what_one_learns(tmp_path, balance):
    ran = together(tmp_path / "two", balance)
    assert ran.returncode == 0, ran.stderr[-2000:]
    distil(made(), rows(), replace(RECIPE, balance=balance), 32 * 6, tmp_path / "one")
    two, one = (load_file(tmp_path / name / "state.safetensors") for name in ("two", "one"))
    start = made().parts
    apart, moved = (
        sum(float((x[n] - y[n]).detach().square().sum()) for n in start) for x, y in ((two, one), (one, start))
    )
    assert apart < 0.05**2 * moved  # of squares: no further apart than a twentieth of what was learnt
    biases = [(two[f"bias.{i}"], one[f"bias.{i}"]) for i in range(2)]
    # a token that stands between two experts may go to the other by rounding, and move two biases a step
    assert sum(float((x - y).abs().sum()) for x, y in biases) <= 0.2 * sum(float(y.abs().sum()) for _, y in biases)
    lines = [json.loads(line) for line in (tmp_path / "two" / "curve.jsonl").read_text("utf-8").splitlines()]
    other = json.loads((tmp_path / "one" / "curve.jsonl").read_text("utf-8").splitlines()[1])
    assert len(lines) == 2  # the first one writes, and nobody else
    assert [nats for _, nats in lines[1]["steps"]] == pytest.approx([nats for _, nats in other["steps"]], abs=1e-2)


@pytest.mark.slow
def test_rows_that_cannot_be_shared_alike_are_refused(tmp_path):
    ran = together(tmp_path, 0.0, processes=3)
    assert ran.returncode != 0
    assert f"A step has {RECIPE.batch} rows, which 3 processes cannot share alike" in ran.stderr
    assert WorkbenchError.__name__ in ran.stderr
