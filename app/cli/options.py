"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.errors import WorkbenchError
from workbench.storage import RETRY

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="demo, a named checkpoint, tiny/FAMILY (random weights), a folder, or a Hugging Face id."
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto is CUDA when there is one.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16; auto is the checkpoint's own.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What runs the model: native, nnsight, ndif, vllm, or a class of yours as module:Class."
    ),
]
Distributions = Annotated[
    bool, typer.Option(help="Whether divergence and perplexity are read; not every engine tells them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Prompts = Annotated[
    str, typer.Argument(metavar="PROMPTS", help="JSONL, CSV or Parquet, or a bundled name such as refusal.")
]
StorePath = Annotated[
    str, typer.Argument(metavar="STORE", help="A store, as written by capture: its folder, or s3://bucket/stores/x.")
]
Retry = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="SECONDS", help="How long an outage of object storage is waited out: 120, or WORKBENCH_RETRY."
    ),
]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="A plan as JSON.")]
MaxTokens = Annotated[int, typer.Option("--tokens", min=1, help="At most so many tokens per answer.")]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Spread it over a Ray cluster: HOST:PORT, or local for this machine."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="With --ray: so many processes; 2 if not given.")]
GpusPerWorker = Annotated[float | None, typer.Option(min=0, help="With --ray: GPUs of each process.")]


def spread_over(address: str | None, workers: int | None, gpus: float | None) -> dict[str, Any] | None:
    """The cluster that was asked for, or None: options that would change nothing are refused."""
    given = {name: value for name, value in (("workers", workers), ("gpus", gpus)) if value is not None}
    if address is None and given:
        raise WorkbenchError("--workers and --gpus-per-worker belong to --ray ADDRESS; give it, or leave them away.")
    return None if address is None else {"address": address, **given}


def be_patient(retry: float | None) -> None:
    """From now on outages are waited out so long, in processes that this one starts as well."""
    if retry is not None:
        os.environ[RETRY] = str(retry)
