"""`workbench steer` and `workbench compare`: one prompt, or many, with and without a plan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import WorkbenchError
from workbench.storage import check_writable

from ..terminal import open_model, print_json, print_pair, print_table, say, warn, working
from .edits import Reader, editing
from .options import (
    Device,
    Distributions,
    Dtype,
    Engine,
    Json,
    MaxTokens,
    Model,
    Prompts,
)

if TYPE_CHECKING:
    from workbench import Comparison, MoEModel, Plan
    from workbench.prompts import Prompt


@editing
def steer(
    model: Model,
    prompt: Annotated[str, typer.Option(help="What the user says; goes through the chat template.")],
    edits: Reader,
    system: Annotated[str, typer.Option(help="A system message before the prompt.")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="Tokenise the prompt as it is, without a chat template.")] = False,
    tokens: MaxTokens = 64,
    device: Device = "auto",
    dtype: Dtype = "auto",
    engine: Engine = None,
    json: Json = False,
) -> None:
    """Answer one prompt with and without a plan, side by side, with the dose. Exit code 1: the plan changed nothing."""
    said = _prompt(prompt, system, raw)
    asked = edits()
    loaded = open_model(model, device, dtype, engine)
    if said.is_chat and not getattr(loaded.tokenizer, "chat_template", None):
        raise WorkbenchError(
            f"The tokenizer of '{model}' has no chat template, so nobody can be asked; add --raw, and the model goes on with "
            f"the prompt as it is."
        )
    chosen = asked.on(loaded.anatomy)
    with working("Answering twice"):
        answers = _answer_twice(loaded, said, chosen, tokens)
    _show_answers(answers, chosen, json)
    if not answers["dose"].tokens_changed:
        raise typer.Exit(1)


def _prompt(text: str, system: str, raw: bool) -> "Prompt":
    from workbench.prompts import Prompt

    if not text.strip():
        raise WorkbenchError("The prompt is empty; write what the user says after --prompt.")
    if raw and system:
        raise WorkbenchError(
            "--raw tokenises the prompt as it is, so --system has no place in it; leave one of them out."
        )
    if raw:
        return Prompt("prompt", text=text)
    said = [{"role": "system", "content": system}] if system else []
    return Prompt("prompt", messages=(*said, {"role": "user", "content": text}))


def _answer_twice(model: "MoEModel", prompt: "Prompt", plan: "Plan", tokens: int) -> dict[str, Any]:
    from workbench import PromptSet
    from workbench import compare as run
    from workbench.responses import length

    one = PromptSet((prompt,))
    how: dict[str, Any] = {"metrics": {"length": length}, "controls": 0, "distributions": False, "progress": False}
    found = run(model, one, plan, max_new_tokens=tokens, **how)
    said = found.responses.iloc[0]
    return {"base": str(said["base"]), "steered": str(said["steered"]), "dose": found.dose}


def _show_answers(answers: dict[str, Any], plan: "Plan", json: bool) -> None:
    if json:
        about = {"plan": [e.to_dict() for e in plan.edits], "fingerprint": plan.fingerprint}
        return print_json({**answers, "dose": answers["dose"]._asdict(), **about})
    say(f"Plan: {plan}")
    print_pair(("base", answers["base"]), ("steered", answers["steered"]))
    say(f"Dose: {answers['dose']}.")
    if answers["base"] == answers["steered"]:
        say("Both answers read the same.")
    return None


@editing
def compare(
    model: Model,
    prompts: Prompts,
    edits: Reader,
    metric: Annotated[
        list[str] | None, typer.Option(help="refused (default), exact, revealed, thinks, length; several times.")
    ] = None,
    controls: Annotated[int, typer.Option(min=0, help="Random draws of as many experts, each way of matching.")] = 3,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="A store of this model: adds usage-matched draws, resolves replace by mean."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the prompts of this split.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random draws and the bootstrap.")] = 0,
    tokens: MaxTokens = 48,
    distributions: Distributions = True,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also the plan's experts alone, in pairs and at random: loss, sink decay.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write everything as JSON here.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    engine: Engine = None,
    json: Json = False,
) -> None:
    """Answer many prompts with and without a plan: metrics, intervals, KL, dose, random experts. Exit code 1: nothing changed."""
    from workbench import compare as run
    from workbench import open_store
    from workbench.responses import metrics_from

    if out is not None:
        check_writable(out)
    from workbench import read_prompts

    said = read_prompts(prompts).filter(split=split)
    measured = metrics_from(metric or ["refused"])
    asked = edits()
    kept = None if store is None else open_store(store)
    loaded = open_model(model, device, dtype, engine)
    found = run(
        loaded,
        said,
        asked.on(loaded.anatomy),
        metrics={m.name: m.function for m in measured},
        controls=controls,
        store=kept,
        seed=seed,
        max_new_tokens=tokens,
        distributions=distributions,
        parts=parts,
    )
    print_json(found.to_dict()) if json else _show_comparison(found)
    if out is not None:  # last: a disk that filled up meanwhile costs the file, not the result
        found.to_json(out)
    if not found.dose.tokens_changed:
        raise typer.Exit(1)


def _show_comparison(found: "Comparison") -> None:
    say(f"{found.plan} on {found.model}, {len(found.responses)} prompts")
    say(f"Dose: {found.dose}.")
    rows = [_metric_row(row) for row in found.metrics.itertuples()]
    columns = ["metric", "base", "steered", "difference", "95 % interval", "prompts"]
    print_table(columns, rows, right=columns[1:])
    if len(found.controls):
        columns = ["metric", "random experts", "difference, every draw"]
        print_table(columns, _control_rows(found), "As many random experts, the same edit")
    say(f"{found.changed:.0%} of answers read differently.")
    if len(found.divergence):
        kl = found.divergence[["kl_nats", "kl_first_nats"]].mean()
        say(
            f"Mean KL to the base: {kl['kl_nats']:.4f} nats over its answer, {kl['kl_first_nats']:.4f} at the first token."
        )
    if found.perplexity:
        say(f"Perplexity of given text: {found.perplexity['base']:.3f} -> {found.perplexity['steered']:.3f}.")
    if len(found.parts):
        columns = ["arm", "loss (nats a token)", "change", "sink decay", "plan"]
        print_table(columns, [_part_row(row) for row in found.parts.itertuples()], right=columns[1:4])
    for text in found.notes:
        warn(text)


def _part_row(row: Any) -> list[str]:
    lost = f"{row.decay:.0%}" if row.decay == row.decay else "-"
    return [row.arm, f"{row.loss:.3f}", f"{row.change:+.3f}", lost, row.plan]


def _metric_row(row: Any) -> list[str]:
    interval = f"{row.low:+.3f} to {row.high:+.3f}" if row.low == row.low else "one cluster" if row.n else "-"
    return [row.metric, f"{row.base:.3f}", f"{row.steered:.3f}", f"{row.difference:+.3f}", interval, str(row.n)]


def _control_rows(found: "Comparison") -> list[list[str]]:
    grouped = found.controls.groupby(["metric", "match"], sort=False)["difference"]
    return [[str(m), str(how), ", ".join(f"{d:+.3f}" for d in drawn)] for (m, how), drawn in grouped]  # pyright: ignore[reportGeneralTypeIssues]
