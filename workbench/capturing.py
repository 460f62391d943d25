"""`capture`: prompts through a model into a store, streamed, resumable, on one process or several."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from workbench import durable
from workbench.batches import SHARD_TOKENS
from workbench.claims import claim, is_complete, open_shards
from workbench.decoding import Response
from workbench.encoding import Encoded
from workbench.errors import WorkbenchError
from workbench.experts import ExpertRef
from workbench.fingerprints import UNCOMPARED, is_unversioned
from workbench.finite import logits_not_finite
from workbench.hooks.guards import as_it_is
from workbench.hooks.recording import recording
from workbench.hooks.steering import steered
from workbench.manifest import finish
from workbench.moment import planned_at
from workbench.paths import given_path
from workbench.pieces import said, token_texts
from workbench.progress import Meter, ProgressLines, Report
from workbench.prompts import PromptSet, read_prompts
from workbench.request import Request, Responses, check_same, expert_numbers, make_request
from workbench.rewritten import check_rewritten
from workbench.roles import MarkedIds, response_roles
from workbench.rows import BatchRows, token_rows
from workbench.sampling import Runner
from workbench.shards import Build, ShardWriter, conform, receipt_path
from workbench.sizes import check_disk
from workbench.small_tables import describe, write_table
from workbench.store import Store, open_store

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.plan import Plan
    from workbench.traced import TracedRunner

BATCH_TOKENS = 4096


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
    """Runs the prompts through the model and writes what its experts did as a store (see `workbench.schema`).

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
    model = as_it_is(model)  # what is recorded is the model of now, whatever it was when it was loaded
    with ExitStack() as stack:
        if plan is not None:
            stack.enter_context(steered(model, plan))
        _check_backend(model, backend, remote, keep)
        make = partial(
            make_request,
            model,
            read_prompts(prompts),
            keep=keep,
            generate=generate,
            samples=samples,
            temperature=temperature,
            responses=responses,
            layers=layers,
            experts=experts,
            batch_tokens=batch_tokens,
            shard_tokens=shard_tokens,
            seed=seed,
            text=text,
            backend=f"{backend} on NDIF" if remote and remote != "local" else backend,
        )
        path = given_path(into)
        stack.enter_context(durable.disk_errors(path))
        request, is_left = _begin(path, make, resume=resume)
        if is_left:
            report = ProgressLines() if progress is True else progress or None
            meter = Meter(0, report)
            if backend == "nnsight":
                runner = _traced(model, request, remote, meter)
            else:
                recorder = stack.enter_context(recording(model, *_wanted(request)))
                runner = Runner(model, recorder, meter.forwarded)
            stack.enter_context(torch.no_grad())
            _Capture(path, request, runner, meter).run(*(shard or _rank()))
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


def _wanted(request: Request) -> tuple[frozenset[str], tuple[int, ...] | None, list[tuple[int, int]] | None]:
    """keep, layers and experts, as `recording` takes them."""
    options = request.options
    refs = None if options.experts is None else expert_numbers(map(ExpertRef.parse, options.experts))
    return frozenset(options.keep), options.layers, refs


def _traced(model: "MoEModel", request: Request, remote: bool | str, meter: Meter) -> "TracedRunner":
    from workbench.traced import TracedRunner

    return TracedRunner(model, *_wanted(request), remote, meter.forwarded)


def _rank() -> tuple[int, int]:
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _begin(store: Path, make: Callable[..., Request], *, resume: bool) -> tuple[Request, bool]:
    """Writes plan.json, or checks the one that is there; returns the request, and whether anything is left to do."""
    durable.check_spelling(store)
    path = store / "plan.json"
    if path.is_file():
        begun = durable.read_json(path)
        request = make(begun={**begun, "template_date": planned_at(path, begun)})
        if not resume:
            raise WorkbenchError(f"'{store}' already holds a store; choose another folder, or resume=True to go on.")
        check_rewritten(store, begun, request.plan_json, request.encoded)
        check_same(store, begun, request.plan_json)
        return request, not (store / "manifest.json").is_file()
    request = make()
    if path.is_file():
        return _begin(store, make, resume=resume)  # another process began meanwhile: by the date of its plan
    if store.is_dir() and any(file.name != durable.WRITING for file in store.iterdir()):
        raise WorkbenchError(
            f"The folder '{store}' holds other files; choose a folder that does not exist or is empty."
        )
    check_disk(store, request.estimate)
    store.mkdir(parents=True, exist_ok=True)
    if not durable.create_json(store, "plan.json", request.plan_json):
        return _begin(store, make, resume=True)
    return request, True


@dataclass
class _Capture:
    """One process at work on a store."""

    path: Path
    request: Request
    runner: "Runner | TracedRunner"
    meter: Meter

    def run(self, rank: int, world: int) -> None:
        """Writes shards until none is left, then the manifest, unless another process does."""
        request, n_shards = self.request, len(self.request.schedule.shards)
        self.meter.say(f"Capturing {len(request.prompts)} prompts into {self.path}: {request.estimate}")
        with ThreadPoolExecutor(1) as beside:
            small = beside.submit(self._small_tables)
            for shard in open_shards(self.path, n_shards, rank, world):
                left = [s for s in range(n_shards) if not is_complete(self.path, s)]
                self.meter.total = self.meter.done + sum(request.shard_size(s) for s in left)
                self._write_shard(shard)
            self._complete(small.result())

    def _complete(self, small: list[dict[str, Any]]) -> None:
        """Writes the manifest, or waits for the process that does."""
        while not (self.path / "manifest.json").is_file():
            with claim(self.path, "manifest") as ours:
                if ours and not (self.path / "manifest.json").is_file():
                    self._write_manifest(small)
            time.sleep(0 if ours else 0.05)

    def _small_tables(self) -> list[dict[str, Any]]:
        """Writes prompts and given labels unless they are there; returns their lines of the manifest."""
        prompts, encoded = self.request.prompts, self.request.encoded
        rows = [
            {
                "prompt_id": prompt.id,
                "text": tokens.text if self.request.options.text else None,
                "pair": prompt.pair,
                "split": prompt.split,
                "cluster": prompt.cluster,
                "n_tokens": len(tokens.ids),
            }
            for prompt, tokens in zip(prompts, encoded, strict=True)
        ]
        labels = [
            {"prompt_id": prompt.id, "name": name, "value": value, "source": "given"}
            for prompt in prompts
            for name, value in prompt.labels.items()
            if self.request.options.text
            or not any(map(str.isspace, value))  # words in a row are text, whatever their key
        ]
        tables = {"prompts.parquet": ("prompts", rows)} | (
            {"labels/given.parquet": ("labels", labels)} if labels else {}
        )
        for path, (name, content) in tables.items():
            if not (self.path / path).is_file():
                write_table(self.path, path, name, pd.DataFrame(content))
        return [describe(self.path, path, name) for path, (name, _) in tables.items()]

    def _write_shard(self, shard: int) -> None:
        start, forwards, done = time.monotonic(), self.meter.forwards, self.meter.done
        batches = self.request.schedule.shards[shard]
        ids = sorted({self.request.sequence(n)[0] for b in batches for n in self.request.schedule.batches[b]})
        dictionary = pa.array([self.request.encoded[i].id for i in ids], pa.string())
        with ShardWriter(self.path, shard, self._tables) as out:
            for batch in batches:
                out.put(self._run_batch(self.request.schedule.batches[batch], ids, dictionary))
            out.publish(
                {
                    "batches": list(batches),
                    "finite_checked": True,
                    "tokens": self.meter.done - done,
                    "forwards": self.meter.forwards - forwards,
                    "seconds": round(time.monotonic() - start, 3),
                }
            )

    @property
    def _tables(self) -> list[str]:
        kept = [name for name in ("residual", "logits", "outputs") if name in self.request.options.keep]
        return ["tokens", *(["responses"] if self._has_texts else []), "slots", "nonfinite", *kept]

    @property
    def _has_texts(self) -> bool:
        """Whether there is a text of responses to keep."""
        options = self.request.options
        return options.text and bool(options.generate or options.responses)

    def _run_batch(self, numbers: tuple[int, ...], ids: list[int], dictionary: pa.StringArray) -> dict[str, Build]:
        """Runs a batch; returns what builds its tables, for the writer's threads."""
        request, options = self.request, self.request.options
        rows = [request.ids(number) for number in numbers]
        where = [request.sequence(number) for number in numbers]
        answers: list[Response] | None = None
        if options.generate:
            seeds = [request.seeds[prompt] + sample for prompt, sample in where]
            assert request.decoding is not None
            chunk, answers = self.runner.generate(rows, seeds, request.decoding)
            self.meter.skip(sum(options.generate - len(answer.ids) for answer in answers))
        else:
            chunk = self.runner.over(rows)
        prompt = np.searchsorted(ids, [prompt for prompt, _ in where])
        batch = BatchRows(chunk, dictionary, prompt, np.array([sample for _, sample in where]))
        builders: dict[str, Build] = {"tokens": partial(self._tokens, numbers, batch, answers)}
        builders["nonfinite"] = partial(batch.nonfinite, *self._logits_not_finite(rows, answers))
        if self._has_texts:
            builders["responses"] = partial(self._responses, numbers, batch, answers)
        return builders | {name: getattr(batch, name) for name in self._tables if name not in builders}

    def _logits_not_finite(self, rows: Sequence[Sequence[int]], answers: list[Response] | None) -> list[pd.DataFrame]:
        if answers is None:
            return []
        last = np.array([len(row) - 1 for row in rows])
        layer = len(self.runner.model.anatomy.layers)
        return [logits_not_finite(layer, np.arange(len(rows)), last, [answer.logprobs for answer in answers])]

    def _tokens(
        self, numbers: tuple[int, ...], batch: BatchRows, answers: list[Response] | None
    ) -> Iterable[pa.RecordBatch]:
        """The tokens table of a batch."""
        parts = [self._sequence(n, answers[i] if answers else None) for i, n in enumerate(numbers)]
        lengths = [len(part.ids) for part in parts]
        ids = np.concatenate([part.ids for part in parts])
        yield token_rows(
            batch.prompt_ids,
            prompt=np.repeat(batch.prompt, lengths),
            sample=np.repeat(batch.sample, lengths),
            position=np.concatenate([np.arange(n) for n in lengths]),
            ids=ids if self.request.options.text else None,
            texts=self._texts(ids) if self.request.options.text else None,
            roles=np.concatenate([part.roles for part in parts]),
            generated=np.concatenate([part.generated for part in parts]),
            logprob=np.concatenate([part.logprob for part in parts]),
        )

    def _responses(
        self, numbers: tuple[int, ...], batch: BatchRows, answers: list[Response] | None
    ) -> Iterable[pa.RecordBatch]:
        """The responses table of a batch."""
        tokenizer = self.runner.model.tokenizer
        asked = [self._response(n, answers[i] if answers else None) for i, n in enumerate(numbers)]
        texts = [said(tokenizer, response, prompt.ids.opened) for prompt, response in asked]
        codes = pa.array(batch.prompt.astype(np.int32))
        prompts = pa.DictionaryArray.from_arrays(codes, batch.prompt_ids)
        columns = {"prompt_id": prompts, "sample": batch.sample.astype(np.int32), "text": texts}
        yield conform("responses", columns, len(texts))

    def _response(self, number: int, answer: Response | None) -> tuple[Encoded, tuple[int, ...]]:
        """A sequence's prompt, and the ids that follow it."""
        prompt = self.request.encoded[self.request.sequence(number)[0]]
        return prompt, answer.ids if answer is not None else self.request.ids(number)[len(prompt.ids) :]

    def _sequence(self, number: int, answer: Response | None) -> "_Sequence":
        prompt, response = self._response(number, answer)
        tokenizer, opened = self.runner.model.tokenizer, prompt.ids.opened
        roles = np.concatenate([prompt.roles, response_roles(tokenizer, response, self._marked, opened=opened)])
        logprob = np.full(len(prompt.ids) + len(response), np.nan, np.float32)
        if answer is not None:
            logprob[len(prompt.ids) :] = answer.logprobs
        generated = np.arange(len(logprob)) >= len(prompt.ids) if answer is not None else np.zeros(len(logprob), bool)
        ids = np.array([*prompt.ids, *response], np.int64)
        return _Sequence(ids, roles, generated, logprob)

    def _texts(self, ids: np.ndarray) -> pa.StringArray:
        unique, inverse = np.unique(ids, return_inverse=True)
        return pa.array(token_texts(self.runner.model.tokenizer, unique), pa.string()).take(pa.array(inverse))

    @cached_property
    def _marked(self) -> MarkedIds:
        return MarkedIds(self.runner.model.tokenizer, self.runner.model.image_token)

    def _write_manifest(self, small: list[dict[str, Any]]) -> None:
        receipts = [
            durable.read_json(self.path / receipt_path(shard)) for shard in range(len(self.request.schedule.shards))
        ]
        plan = durable.read_json(self.path / "plan.json")  # as it was begun, perhaps by another version
        finish(
            self.path,
            receipts,
            small,
            fingerprint=plan["anatomy"]["fingerprint"],
            steering=plan["steering"],
            warnings=list(
                dict.fromkeys([*plan["warnings"], *self.request.plan_json["warnings"], *self._not_compared(plan)])
            ),
        )

    def _not_compared(self, begun: dict[str, Any]) -> list[str]:
        """What a capture that an earlier version began could not be compared by when it went on here."""
        resumed = is_unversioned(begun["anatomy"]["fingerprint"]) and not is_unversioned(
            self.runner.model.anatomy.fingerprint
        )
        return [f"It was begun by an earlier version and went on in this one: {UNCOMPARED}."] if resumed else []


@dataclass(frozen=True)
class _Sequence:
    """One sequence's tokens, each array [tokens]."""

    ids: np.ndarray
    roles: np.ndarray
    generated: np.ndarray
    logprob: np.ndarray
