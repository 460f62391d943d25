"""`workbench capture`: prompts through a model into a store."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from workbench import Plan, WorkbenchError, parse_experts

from ..terminal import open_model, print_json, say, warn
from .options import (
    Device,
    Dtype,
    Engine,
    GpusPerWorker,
    Json,
    Model,
    PlanFile,
    Prompts,
    Ray,
    Retry,
    Workers,
    be_patient,
    spread_over,
)

if TYPE_CHECKING:
    from workbench.store import Store

_MOST_LAYERS = 10_000


def capture(
    model: Model,
    prompts: Prompts,
    store: Annotated[
        str, typer.Option(metavar="DIR", help="Folder to write, or s3://bucket/stores/x; a store begun there goes on.")
    ],
    keep: Annotated[
        str | None,
        typer.Option(
            help="Out of norms, residual, logits, outputs, router_input, inner (outputs:SHARE: of so many tokens; so the two), "
            "matrices, routers, directions, alignments, joined by commas; if not given, norms and residual as far as the engine "
            "shows them."
        ),
    ] = None,
    generate: Annotated[int, typer.Option(min=0, help="Generate up to so many tokens; 0: the prompts alone.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Responses per prompt, with a temperature above 0.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    responses: Annotated[bool, typer.Option("--responses", help="Run the responses given in the prompt file.")] = False,
    layers: Annotated[
        str | None,
        typer.Option(metavar="0,3-5", help="Limit all but norms and residual to these layers."),
    ] = None,
    experts: Annotated[
        str | None, typer.Option(metavar="L0E3,L1E*", help="Limit outputs and inner to these experts.")
    ] = None,
    plan: PlanFile = None,
    split: Annotated[str | None, typer.Option(help="Only the prompts of this split.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens that go through the model together.")] = 4096,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Whether the store holds the words.")] = True,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Whether a store begun there goes on.")] = True,
    single_writer: Annotated[
        bool,
        typer.Option("--single-writer", help="For object storage that replaces what it should refuse: one process."),
    ] = False,
    retry: Retry = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    engine: Engine = None,
    ray: Ray = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    json: Json = False,
) -> None:
    """Record what the experts do on prompts, into a store. Says how big it will be before it starts; resumes when stopped."""
    from workbench import read_prompts  # brings numpy, which --help does without
    from workbench.shards import said

    be_patient(retry)
    spread = spread_over(ray, workers, gpus_per_worker)
    asked = read_prompts(prompts).filter(split=split)
    words: dict[str, Any] = {
        "keep": None if keep is None else _words(keep),
        "generate": generate,
        "samples": samples,
        "temperature": temperature,
        "responses": True if responses else None,
        "layers": None if layers is None else numbers(layers),
        "batch_tokens": batch_tokens,
        "seed": seed,
        "plan": None if plan is None else Plan.from_json(plan),
        "resume": resume,
        "single_writer": single_writer,
        "text": text,
    }
    how = {"device": device, "dtype": dtype, "engine": engine}
    if spread is None:
        written = _here(model, how, asked, store, experts, words)
    else:
        written = _spread(spread, model, how, asked, store, {**words, "experts": experts})
    rows, n_bytes = written.manifest["rows"], sum(file.size for file in written.disk.list())
    if json:
        return print_json({"store": str(written.path), "rows": rows, "size_bytes": n_bytes})
    say(f"{written.path}: {', '.join(f'{n:,} {table}' for table, n in rows.items())}; {decimal(n_bytes)}")
    if len(written.nonfinite):
        warn(said(written.nonfinite))
    return None


def _here(model: str, how: Any, asked: Any, store: str, experts: str | None, words: Any) -> "Store":
    """By one process."""
    from workbench import capture

    loaded = open_model(model, **how)
    chosen = None if experts is None else parse_experts(experts, loaded.anatomy)
    return capture(loaded, asked, store, experts=chosen, **words)


def _spread(cluster: Any, model: str, how: Any, asked: Any, store: str, words: Any) -> "Store":
    """By replicas on a Ray cluster, each of which loads the model."""
    from workbench.replicas import Cluster, capture_on

    return capture_on(Cluster(**cluster), model, asked, store, how=how, **words)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> list[int]:
    """`0,3-5` as [0, 3, 4, 5]."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.strip().isdecimal() or not (last or first).strip().isdecimal():
            raise WorkbenchError(f"'{text}' names no layers; write them like 0,3-5.")
        if not -1 < int(last or first) - int(first) < _MOST_LAYERS:
            raise WorkbenchError(f"'{text}' names no layers of a model; write them like 0,3-5.")
        found |= {*range(int(first), int(last or first) + 1)}
    return sorted(found)
