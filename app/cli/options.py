"""Options that several commands share, and how the text of options becomes a model and a plan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from workbench import Plan, WorkbenchError

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="demo, tiny/FAMILY (random weights), a folder, or a Hugging Face id.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto is CUDA when there is one.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16; auto is the checkpoint's own.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What runs the model: native, nnsight, ndif, or a class of yours as module:Class."
    ),
]
Distributions = Annotated[
    bool, typer.Option(help="Whether divergence and perplexity are read; not every engine tells them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Prompts = Annotated[
    str, typer.Argument(metavar="PROMPTS", help="JSONL, CSV or Parquet, or a bundled name such as refusal.")
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a store, as written by capture.")]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="A plan as JSON.")]
MaxTokens = Annotated[int, typer.Option("--tokens", min=1, help="At most so many tokens per answer.")]


def _edit(example: str, what: str) -> typer.models.OptionInfo:
    return typer.Option(metavar=example, help=what)


Off = Annotated[list[str] | None, _edit("L0E15", "The router answers as if these experts did not exist.")]
Drop = Annotated[list[str] | None, _edit("L0E15", "Selected slots get weight 0, the others keep the sum; no refill.")]
Mute = Annotated[list[str] | None, _edit("L0E15", "Selection and weights stay, the output contributes nothing.")]
Force = Annotated[list[str] | None, _edit("L2E3", "Always selected, weighted like the token's best.")]
Scale = Annotated[list[str] | None, _edit("L1E4=8", "Where selected, the routing weight is multiplied.")]
Bias = Annotated[list[str] | None, _edit("L1E4=-2", "Added to the router logit before scoring.")]


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
