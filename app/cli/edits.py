"""The edits as options of a command, and how their text and a plan's file become one plan."""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from workbench import Plan, WorkbenchError

from .options import PlanFile

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy

EDITS = {
    "off": ("L0E15", "The router answers as if these experts did not exist."),
    "drop": ("L0E15", "Selected slots get weight 0, the others keep the sum; no refill."),
    "mute": ("L0E15", "Selection and weights stay, the output contributes nothing."),
    "force": ("L2E3", "Always selected, weighted like the token's best."),
    "scale": ("L1E4=8", "Where selected, the routing weight is multiplied."),
    "bias": ("L1E4=-2", "Added to the router logit before scoring."),
}
"""Each edit that has an option: an example of its value, and what happens."""


class Asked(NamedTuple):
    """What a command was asked to change, before there is a model: the plan of a file, and edits as a plan's text."""

    plan: Plan
    edits: tuple[str, ...]

    def on(self, anatomy: "Anatomy") -> Plan:
        """All of it as one plan. Raises `WorkbenchError` for what this model cannot do."""
        plan = self.plan
        for edit in self.edits:
            plan |= Plan.parse(edit, anatomy)
        return plan.for_model(anatomy).check(anatomy)


Reader = Callable[[], Asked]
"""Reads what was asked when a command comes to it. Raises `WorkbenchError` when nothing was."""


def editing(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for every edit, and --plan, in the place of its argument `edits: Reader`."""

    @wraps(command)
    def run(**given: Any) -> None:
        file, edits = given.pop("plan"), {kind: given.pop(kind) for kind in EDITS}
        command(**given, edits=partial(asked, file, **edits))

    own = inspect.signature(command)
    shown = [option for p in own.parameters.values() for option in (_options() if p.name == "edits" else [p])]
    run.__signature__ = own.replace(parameters=shown)  # pyright: ignore[reportAttributeAccessIssue]  # what typer reads
    return run


def _options() -> list[inspect.Parameter]:
    kinds = {
        kind: Annotated[list[str] | None, typer.Option(metavar=example, help=what)]
        for kind, (example, what) in EDITS.items()
    }
    where = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(name, where, default=None, annotation=kind)
        for name, kind in (*kinds.items(), ("plan", PlanFile))
    ]


def asked(file: Path | None, **edits: list[str] | None) -> Asked:
    """The file of --plan and the options that name edits; each option's value is what follows the edit in a plan's text.

    Raises `WorkbenchError` when nothing was asked for.
    """
    plan = Plan() if file is None else Plan.from_json(file)
    texts = tuple(f"{kind} {value}" for kind, values in edits.items() for value in values or ())
    if not plan and not texts:
        raise WorkbenchError(
            "No edit was named, so nothing would change; name one, such as --off L0E15, or a file with --plan."
        )
    return Asked(plan, texts)
