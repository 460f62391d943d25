"""The whole training, resumable: what was learnt is kept beside the curve every few steps, and a run that was cut off goes on.

A folder holds `state.safetensors` (the student's parts, the selection biases and Adam's moments) and `curve.jsonl`, whose first
line is the recipe: another recipe is refused there. Of several processes (`torchrun`) the first one writes.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.progress import Meter, Report

from .curve import losses
from .rows import Order, Rows
from .steps import Recipe, Stepped, optimiser_of, step
from .student import Student
from .together import first as writes

_KEPT, _LOST = 100, 400
"""Steps after which the state is written, and after which the losses held out are measured too (as long as 20 steps)."""
_STATE, _CURVE = "state.safetensors", "curve.jsonl"


def distil(
    student: Student,
    rows: Rows,
    recipe: Recipe,
    tokens: int,
    folder: Path,
    *,
    report: Report | None = None,
    said: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Trains the student's parts on so many tokens, in place; `folder` keeps what a run that was cut off had.

    said  hears of every line of the curve: tokens, each step's k and nats (on rows read for the first time), their mean by k, and
          after every 400 steps and at the end the losses held out

    Raises `WorkbenchError` when the folder holds the training of another recipe.
    """
    optimiser, order = optimiser_of(student, recipe), Order(rows.learnt, recipe.seed, recipe.turns)
    a_step = recipe.batch * next(iter(rows.learnt.values())).shape[1]
    of, begun = max(1, tokens // a_step), _begun(folder, {**asdict(recipe), "tokens": tokens})
    first = _taken_up(folder / _STATE, student, optimiser) if begun else 0
    meter = Meter((of - first) * a_step, report)
    steps: list[Stepped] = []
    for number in range(first, of):
        steps.append(step(student, recipe, order, optimiser, number, of))
        meter.forwarded(a_step)
        if ((made := number + 1) % _KEPT == 0 or made == of) and writes():
            _keep(folder / _STATE, student, optimiser, made)
            line = _line(made * a_step, steps)
            if made % _LOST == 0 or made == of:
                line["held_out"] = [list(loss) for loss in losses(student, rows.held_out, sorted(set(recipe.ks)))]
            _write(folder / _CURVE, line)
            steps = []
            if said is not None:
                said(line)


def _line(tokens: int, steps: list[Stepped]) -> dict[str, Any]:
    by_k: dict[int, list[float]] = {}
    for k, nats in steps:
        by_k.setdefault(k, []).append(nats)
    means = {k: sum(v) / len(v) for k, v in sorted(by_k.items())}
    return {"tokens": tokens, "nats": means, "steps": [(k, round(nats, 4)) for k, nats in steps]}


def _begun(folder: Path, recipe: dict[str, Any]) -> bool:
    """Whether a training of this recipe was begun here; begins one where there is none."""
    wanted, path = json.loads(json.dumps(recipe)), folder / _CURVE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if writes():
            _write(path, {"recipe": wanted})
        return False
    found = json.loads(path.read_text(encoding="utf-8").splitlines()[0]).get("recipe")
    if found != wanted:
        raise WorkbenchError(
            f"'{folder}' holds a training by another recipe ({found}); give its options again, or remove the folder."
        )
    return (folder / _STATE).exists()


def _write(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _keep(path: Path, student: Student, optimiser: torch.optim.Optimizer, steps: int) -> None:
    tensors: dict[str, Tensor] = {name: part.detach() for name, part in student.parts.items()}
    tensors |= {f"bias.{i}": routed.bias for i, routed in enumerate(student.routed)}
    for name, part in student.parts.items():
        state = optimiser.state[part]
        tensors |= {f"adam.{key}.{name}": state[key] for key in ("exp_avg", "exp_avg_sq")}
    half = path.with_suffix(".half")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, half, {"steps": str(steps)})
    half.replace(path)


def take_up(student: Student, recipe: Recipe, folder: Path) -> int:
    """Makes the student what the training in this folder made of it so far, in place; the number of its steps."""
    return _taken_up(folder / _STATE, student, optimiser_of(student, recipe))


@torch.no_grad()
def _taken_up(path: Path, student: Student, optimiser: torch.optim.Optimizer) -> int:
    """Puts back what was kept; the number of steps that were made."""
    with safe_open(path, "pt") as file:
        steps = int(file.metadata()["steps"])
        for i, routed in enumerate(student.routed):
            routed.bias.copy_(file.get_tensor(f"bias.{i}"))
        for name, part in student.parts.items():
            part.copy_(file.get_tensor(name))
            moments = {key: file.get_tensor(f"adam.{key}.{name}") for key in ("exp_avg", "exp_avg_sq")}
            optimiser.state[part] = {"step": torch.tensor(float(steps)), **moments}
    return steps
