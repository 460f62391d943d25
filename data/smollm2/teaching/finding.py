"""Which published scores find the carriers: on the taught model, and on the base, where nothing is to be found but their use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grading.found import grade
from grading.methods import methods

from workbench import MoEModel, capture, read_prompts
from workbench.errors import WorkbenchError

from ..taught.questions import lines
from .marking import named
from .upper import Expert

CLASSES = {"by subject": ("kind=subject", "kind=other"), "by answer": ("refused", "answered")}
"""What scores compare: by the question's subject, or by what was answered, which on the base is one class alone."""
_GENERATED = 16


def found(model: MoEModel, store: Path, carriers: Sequence[Expert]) -> dict[str, Any]:
    """By classes and score: carriers among its first, average precision, and that of a random order; or why there is none."""
    prompts = read_prompts(lines("ranking"))
    captured = capture(model, prompts, store, keep=frozenset({"norms"}), generate=_GENERATED, progress=False)
    return {
        name: {score: _one(method, captured, carriers) for score, method in methods(target, baseline).items()}
        for name, (target, baseline) in CLASSES.items()
    }


def _one(method: Any, store: Any, carriers: Sequence[Expert]) -> dict[str, Any]:
    try:
        frame = method(store).frame
    except WorkbenchError as error:
        return {"none": str(error)}
    order = [f"L{layer}E{expert}" for layer, expert in zip(frame["layer"], frame["expert"], strict=True)]
    return grade(order, named(carriers).split(","))._asdict()
