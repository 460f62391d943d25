"""`capture`: prompts through a model into a store. Begins one, or goes on with one that was begun."""

import os
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.anatomy import ExpertRef
from workbench.backends import backend_of, compiled_for
from workbench.capturing.claims import prove
from workbench.capturing.options import BATCH_TOKENS, USUAL, Options, Responses, several, usual
from workbench.capturing.plan_json import check_same, plan_json
from workbench.capturing.process import Process
from workbench.capturing.request import Request, make_request
from workbench.capturing.rewritten import check_rewritten
from workbench.capturing.sizes import check_disk
from workbench.engine_words import check_words
from workbench.errors import WorkbenchError
from workbench.generation import SHARD_TOKENS
from workbench.hooks import as_it_is, unlike_said
from workbench.model import MoEModel
from workbench.paths import Address, Place, given_place
from workbench.plan import Plan
from workbench.progress import Meter, ProgressLines, Report
from workbench.prompts import PromptSet, planned_at, read_prompts
from workbench.routing import Dose
from workbench.store import Store, begun_plan, open_store


def capture(
    model: MoEModel,
    prompts: PromptSet | str | Path | Iterable[Any],
    into: str | Path | Address,
    *,
    keep: Collection[str] | None = None,
    generate: int = 0,
    samples: int = 1,
    temperature: float = 0.0,
    responses: Responses = None,
    layers: Iterable[int] | None = None,
    experts: Iterable[ExpertRef | str] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    seed: int = 0,
    plan: Plan | None = None,
    resume: bool = True,
    text: bool = True,
    shard_tokens: int = SHARD_TOKENS,
    shard: tuple[int, int] | None = None,
    single_writer: bool = False,
    progress: bool | Report = True,
    **before: Any,
) -> Store:
    """Runs the prompts through the model and writes what its experts did as a store (see `workbench.shards.schema`).

    keep         out of norms (size of each expert output), residual, logits, outputs, router_input (what each router reads),
                 inner (neurons of the selected routed experts, act(gate x) * up x, computed once more from their weights);
                 outputs:0.1, router_input:0.1, inner:0.1: of a tenth of the tokens, drawn by `seed`. Slots are always kept.
                 Of the model's weights, read once: matrices (sums over each expert's), routers (their rows, experts x hidden
                 numbers a layer), directions (the words that experts and neurons read and write: neurons x vocabulary x
                 hidden products), alignments (how alike the weights of any two experts of a layer are). None: norms and
                 residual; what of the two the model's engine does not show is in `Store.lacks`, with its reason
    generate     at most so many tokens each; 0: the prompts alone. The last token of a response is never forwarded, so it
                 is in `tokens` but has no routing
    samples      responses per prompt, with a `temperature` above 0; temperature 0 is greedy. Each (prompt, sample) has a
                 seed of its own, made from `seed` and the prompt's id: batches and neighbours do not matter. The checkpoint's
                 generation config holds (penalties, n-grams, least lengths, suppressed and forced tokens), as in `compare`
                 and in transformers' `generate`, but not its sampling defaults: no top-p, no top-k
    responses    given responses instead: {prompt id: text or list of texts}, or True for those in the prompt file
    layers       limit all but norms and residual to these layers; experts: limit outputs and inner to these experts
    batch_tokens tokens that go through the model together, padding and generation included (padding is never stored)
    plan         steer while capturing: the store says so everywhere
    resume       go on with a store that was begun with the same request (a complete one is returned as it is), with the date
                 that its chat template was told then; False refuses any store that is there
    text         False keeps the words out of the store: no prompt text, no token ids, no token strings, and no label whose
                 value holds white space (an answer, say). Other labels, cluster keys, roles and positions stay
    shard_tokens what a killed capture may have to do again
    shard        (rank, world): where among the shards this process begins; taken from RANK and WORLD_SIZE if not given.
                 Any number of processes may capture the same request into one folder, started together or later: each
                 takes shards that nobody holds, takes over those of a process that died, and whoever completes the set
                 writes the manifest. All of them return the complete store
    single_writer nobody else captures into the same address: for object storage that cannot refuse to replace an object
    progress     False for silence, or a function that receives `Progress` values

    Writing needs no more memory than two batches and the rows gathered for a row group. A store is complete when its
    manifest exists; until then `open_store` refuses it, and the same call goes on where it stopped, repeating at most one
    shard. Raises `WorkbenchError` on bad input and for what the model's engine cannot do, before anything is written, and on a
    full disk, after which the same call goes on.
    """
    check_words("capture", before)
    options = Options(
        keep=USUAL if keep is None else keep,
        generate=generate,
        samples=samples,
        temperature=temperature,
        layers=several("layers", layers),
        experts=several("experts", experts),
        batch_tokens=batch_tokens,
        shard_tokens=shard_tokens,
        seed=seed,
        text=text,
        responses=responses,
    )
    if keep is None:
        options = replace(options, keep=usual(backend_of(model).can.keep))
    how: dict[str, Any] = {"plan": plan, "resume": resume, "shard": shard, "single_writer": single_writer}
    return capture_with(model, prompts, into, options, **how, progress=progress)


def capture_with(
    model: MoEModel,
    prompts: PromptSet | str | Path | Iterable[Any],
    into: str | Path | Address,
    options: Options,
    *,
    plan: Plan | None = None,
    resume: bool = True,
    shard: tuple[int, int] | None = None,
    single_writer: bool = False,
    progress: bool | Report = True,
) -> Store:
    """`capture` with the options of the store as one value; the rest decides how it runs, and is explained there."""
    model = as_it_is(model)  # what is recorded is the model of now, whatever it was when it was loaded
    path, compiled, dose = given_place(into), compiled_for(model, plan), Dose(is_counting=False)
    make = partial(make_request, model, read_prompts(prompts), options, plan=compiled.plan)
    with storage.disk_errors(path):
        if isinstance(path, Address) and not single_writer and storage.disk_of(path).size("manifest.json") is None:
            prove(path)
        request, is_left = _begin(path, make, resume=resume)
        if is_left:
            meter = Meter(0, ProgressLines() if progress is True else progress or None)
            process = Process(path, request, backend_of(model), compiled, dose, meter, single_writer)
            process.run(*(shard or _rank()))
    if said := unlike_said(compiled, model.anatomy, dose):
        warnings.warn(f"{said}.", stacklevel=2)
    return open_store(path)


def _rank() -> tuple[int, int]:
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _begin(store: Place, make: Callable[..., Request], *, resume: bool) -> tuple[Request, bool]:
    """Writes plan.json, or checks the one that is there; returns the request, and whether anything is left to do."""
    storage.check_spelling(store)
    disk = storage.disk_of(store)
    if disk.size("plan.json") is not None:
        return _go_on(store, make, resume=resume)
    request = make()
    if disk.size("plan.json") is not None:
        return _go_on(store, make, resume=resume)  # another process began meanwhile: by the date of its plan
    if _holds_something(store):
        if disk.size("plan.json") is not None:  # what it holds is of another process, which began between two looks
            return _go_on(store, make, resume=resume)
        raise WorkbenchError(
            f"The folder '{store}' holds other files; choose a folder that does not exist or is empty."
        )
    if isinstance(store, Path):
        check_disk(store, request.estimate)
    if not storage.create_json(store, "plan.json", plan_json(request)):
        return _go_on(store, make, resume=True)
    return request, True


def _holds_something(store: Place) -> bool:
    if isinstance(store, Address):
        return bool(storage.disk_of(store).list())
    return store.is_dir() and any(file.name != storage.WRITING for file in store.iterdir())


def _go_on(store: Place, make: Callable[..., Request], *, resume: bool) -> tuple[Request, bool]:
    """The request of a store that was begun, and whether anything is left to do. Raises `WorkbenchError` for another one."""
    begun = begun_plan(store)
    told = planned_at(store / "plan.json", begun) if isinstance(store, Path) else begun.get("template_date")
    request = make(begun={**begun, "template_date": told})
    if not resume:
        raise WorkbenchError(f"'{store}' already holds a store; choose another folder, or resume=True to go on.")
    asked = plan_json(request)
    check_rewritten(store, begun, asked, request.encoded)
    check_same(store, begun, asked)
    return request, storage.disk_of(store).size("manifest.json") is None
