"""`capture`: prompts through a model into a store. Begins one, or goes on with one that was begun."""

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from workbench import storage
from workbench.anatomy import ExpertRef, as_ref
from workbench.capturing.options import BATCH_TOKENS, Options, Responses
from workbench.capturing.plan_json import check_same, plan_json
from workbench.capturing.process import Process
from workbench.capturing.request import Request, make_request
from workbench.capturing.rewritten import check_rewritten
from workbench.capturing.sizes import check_disk
from workbench.errors import WorkbenchError
from workbench.generation import SHARD_TOKENS
from workbench.hooks import as_it_is, plan_in_force, recording, steered
from workbench.paths import given_path
from workbench.progress import Meter, ProgressLines, Report
from workbench.prompts import PromptSet, planned_at, read_prompts
from workbench.sampling import Runner
from workbench.store import Store, open_store

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.plan import Plan
    from workbench.traced import TracedRunner


def capture(
    model: "MoEModel",
    prompts: "PromptSet | str | Path | Iterable[Any]",
    into: str | Path,
    *,
    keep: Collection[str] = frozenset({"norms", "residual"}),
    generate: int = 0,
    samples: int = 1,
    temperature: float = 0.0,
    responses: Responses = None,
    layers: Iterable[int] | None = None,
    experts: Iterable[ExpertRef | str] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    seed: int = 0,
    plan: "Plan | None" = None,
    resume: bool = True,
    backend: Literal["native", "nnsight"] = "native",
    remote: bool | str = False,
    text: bool = True,
    shard_tokens: int = SHARD_TOKENS,
    shard: tuple[int, int] | None = None,
    progress: bool | Report = True,
) -> Store:
    """Runs the prompts through the model and writes what its experts did as a store (see `workbench.shards.schema`).

    keep         out of norms (size of each expert output), residual, logits, outputs; slots are always kept
    generate     at most so many tokens each; 0: the prompts alone. The last token of a response is never forwarded, so it
                 is in `tokens` but has no routing
    samples      responses per prompt, with a `temperature` above 0; temperature 0 is greedy. Each (prompt, sample) has a
                 seed of its own, made from `seed` and the prompt's id: batches and neighbours do not matter. The checkpoint's
                 generation config holds (penalties, n-grams, least lengths, suppressed and forced tokens), as in `compare`
                 and in transformers' `generate`, but not its sampling defaults: no top-p, no top-k
    responses    given responses instead: {prompt id: text or list of texts}, or True for those in the prompt file
    layers       limit logits and outputs to these layers; experts: limit outputs to these experts
    batch_tokens tokens that go through the model together, padding and generation included (padding is never stored)
    plan         steer while capturing: the store says so everywhere
    backend      "nnsight": every forward is a trace of the nnsight model that was loaded; see `workbench.traced`. Greedy, no plan
    remote       with backend "nnsight": True runs the traces on NDIF (see `load(..., remote=True)` for models too large to load)
    resume       go on with a store that was begun with the same request (a complete one is returned as it is), with the date
                 that its chat template was told then; False refuses any store that is there
    text         False keeps the words out of the store: no prompt text, no token ids, no token strings, and no label whose
                 value holds white space (an answer, say). Other labels, cluster keys, roles and positions stay
    shard_tokens what a killed capture may have to do again
    shard        (rank, world): where among the shards this process begins; taken from RANK and WORLD_SIZE if not given.
                 Any number of processes may capture the same request into one folder, started together or later: each
                 takes shards that nobody holds, takes over those of a process that died, and whoever completes the set
                 writes the manifest. All of them return the complete store
    progress     False for silence, or a function that receives `Progress` values

    Writing needs no more memory than two batches and the rows gathered for a row group. A store is complete when its
    manifest exists; until then `open_store` refuses it, and the same call goes on where it stopped, repeating at most one
    shard. Raises `WorkbenchError` on bad input, before anything is written, and on a full disk, after which the same call
    goes on.
    """
    options = Options(
        keep=keep,
        generate=generate,
        samples=samples,
        temperature=temperature,
        layers=None if layers is None else tuple(layers),
        experts=None if experts is None else tuple(map(as_ref, experts)),
        batch_tokens=batch_tokens,
        shard_tokens=shard_tokens,
        seed=seed,
        text=text,
        responses=responses,
    )
    return capture_with(
        model,
        prompts,
        into,
        options,
        plan=plan,
        resume=resume,
        backend=backend,
        remote=remote,
        shard=shard,
        progress=progress,
    )


def capture_with(
    model: "MoEModel",
    prompts: "PromptSet | str | Path | Iterable[Any]",
    into: str | Path,
    options: Options,
    *,
    plan: "Plan | None" = None,
    resume: bool = True,
    backend: Literal["native", "nnsight"] = "native",
    remote: bool | str = False,
    shard: tuple[int, int] | None = None,
    progress: bool | Report = True,
) -> Store:
    """`capture` with the options of the store as one value; the rest decides how it runs, and is explained there."""
    model = as_it_is(model)  # what is recorded is the model of now, whatever it was when it was loaded
    path = given_path(into)
    with ExitStack() as stack:
        in_force = plan_in_force(model) if plan is None else stack.enter_context(steered(model, plan))
        _check_backend(model, backend, remote, options.keep)
        where = f"{backend} on NDIF" if remote and remote != "local" else backend
        make = partial(make_request, model, read_prompts(prompts), options, plan=in_force, backend=where)
        stack.enter_context(storage.disk_errors(path))
        request, is_left = _begin(path, make, resume=resume)
        if is_left:
            meter = Meter(0, ProgressLines() if progress is True else progress or None)
            runner = _runner(request, backend, remote, meter, stack)
            stack.enter_context(torch.no_grad())
            Process(path, request, runner, meter).run(*(shard or _rank()))
    return open_store(path)


def _check_backend(model: "MoEModel", backend: str, remote: bool | str, keep: Collection[str]) -> None:
    """Raises `WorkbenchError` for a way of running that there is not, or that this model cannot go."""
    if backend not in ("native", "nnsight") or (remote and backend == "native"):
        raise WorkbenchError(
            f"capture(backend='{backend}', remote={remote}) is not possible; backend is 'native', or 'nnsight' with or without "
            f"remote=True."
        )
    if backend == "nnsight":
        from workbench.ndif import check_ndif
        from workbench.traced import check_traceable

        check_traceable(model, remote, keep)
        check_ndif(model.nnsight, remote)


def _runner(
    request: Request, backend: str, remote: bool | str, meter: Meter, stack: ExitStack
) -> "Runner | TracedRunner":
    """What runs the batches; a recorder stays on the model until `stack` closes."""
    model, options = request.model, request.options
    wanted = frozenset(options.keep), options.layers, options.expert_numbers
    if backend == "nnsight":
        from workbench.traced import TracedRunner

        return TracedRunner(model, *wanted, remote, meter.forwarded)
    return Runner(model, stack.enter_context(recording(model, *wanted)), meter.forwarded)


def _rank() -> tuple[int, int]:
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _begin(store: Path, make: Callable[..., Request], *, resume: bool) -> tuple[Request, bool]:
    """Writes plan.json, or checks the one that is there; returns the request, and whether anything is left to do."""
    storage.check_spelling(store)
    path = store / "plan.json"
    if path.is_file():
        return _go_on(store, make, resume=resume)
    request = make()
    if path.is_file():
        return _go_on(store, make, resume=resume)  # another process began meanwhile: by the date of its plan
    if store.is_dir() and any(file.name != storage.WRITING for file in store.iterdir()):
        raise WorkbenchError(
            f"The folder '{store}' holds other files; choose a folder that does not exist or is empty."
        )
    check_disk(store, request.estimate)
    store.mkdir(parents=True, exist_ok=True)
    if not storage.create_json(store, "plan.json", plan_json(request)):
        return _go_on(store, make, resume=True)
    return request, True


def _go_on(store: Path, make: Callable[..., Request], *, resume: bool) -> tuple[Request, bool]:
    """The request of a store that was begun, and whether anything is left to do. Raises `WorkbenchError` for another one."""
    path = store / "plan.json"
    begun = storage.read_json(path)
    request = make(begun={**begun, "template_date": planned_at(path, begun)})
    if not resume:
        raise WorkbenchError(f"'{store}' already holds a store; choose another folder, or resume=True to go on.")
    asked = plan_json(request)
    check_rewritten(store, begun, asked, request.encoded)
    check_same(store, begun, asked)
    return request, not (store / "manifest.json").is_file()
