"""One process at work on a store: shard after shard until none is left, then the manifest, unless another process does."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from workbench import storage
from workbench.anatomy import UNCOMPARED, is_unversioned
from workbench.backends import Backend, Batch, Keep
from workbench.capturing.claims import Claims, sweep
from workbench.capturing.request import Request
from workbench.capturing.rows import BatchRows
from workbench.capturing.sharing import alone, complete_shards, open_shards
from workbench.capturing.sizes import readable, share_of
from workbench.capturing.words import Words
from workbench.generation import Generated, Made, generated
from workbench.parameters import alignments, alignments_work, directions, matrices, n_directions, routers, weights_bytes
from workbench.paths import Address, Place
from workbench.progress import Meter, duration
from workbench.records import Chunk, Harvest, logits_not_finite
from workbench.routing import CompiledPlan, Dose
from workbench.shards import OPTION, SAMPLED, STREAMED, Build, ShardWriter, describe, finish, receipt_path, write_table

_LANES = 4
"""Files that a table of a shard is written as at first, where its writers and the forward take turns."""
_BATCHES_A_TURN = 4
"""Batches that the writers take together: torch's threads go on spinning for some ms after each forward, once a turn now."""
LARGE = 2**14
"""Tokens of a shard from which a table may be several files."""
_BY_LAYER = frozenset(STREAMED) - {"tokens", "responses", "nonfinite"}
_READ_ONCE = {"matrices": matrices, "routers": routers, "directions": directions, "alignments": alignments}


@dataclass
class Process:
    """What one process does with a request; any number of them may, on the same folder."""

    path: Place
    request: Request
    backend: Backend
    plan: CompiledPlan
    dose: Dose
    meter: Meter
    single_writer: bool = False

    def __post_init__(self) -> None:
        self.words = Words(self.request)
        self.disk = storage.disk_of(self.path)
        self.claims = Claims(self.path) if isinstance(self.path, Address) else None
        lanes = min(os.cpu_count() or 1, _LANES) if self._forward_fills_cores else 1
        self.lanes = {name: lanes if name in _BY_LAYER else 1 for name in STREAMED}

    def run(self, rank: int, world: int) -> None:
        """Writes shards until none is left, then the manifest, unless another process does."""
        request, n_shards = self.request, len(self.request.schedule.shards)
        self.meter.say(f"Capturing {len(request.prompts)} prompts into {self.path}: {request.estimate}{self._reads}")
        shared = partial(open_shards, rank=rank, world=world, claims=self.claims)
        shards = (alone if self.single_writer else shared)(self.path, n_shards)
        with ThreadPoolExecutor(1) as beside, closing(shards):  # a shard that failed is held no longer
            small = beside.submit(self._small_tables)
            for shard in shards:
                done = complete_shards(self.path)
                left = sum(request.shard_size(s) for s in range(n_shards) if s not in done)
                self.meter.total = self.meter.done + left
                self._write_shard(shard)
            self._complete(small.result())

    # ---- shards

    def _write_shard(self, shard: int) -> None:
        start, forwards, done = time.monotonic(), self.meter.forwards, self.meter.done
        batches = self.request.schedule.shards[shard]
        ids = sorted({self.request.sequence(n)[0] for b in batches for n in self.request.schedule.batches[b]})
        dictionary = pa.array([self.request.encoded[i].id for i in ids], pa.string())
        owner, processor = self.claims.owner if self.claims else "", time.process_time()
        lanes = self.lanes if self.request.shard_size(shard) >= LARGE else None
        with ShardWriter(self.path, shard, self._tables, owner, lanes) as out:
            for batch in batches:
                tables = self._run_batch(self.request.schedule.batches[batch], ids, dictionary)
                if self._forward_fills_cores:
                    out.write(tables, self._batches_a_turn)
                else:
                    out.put(tables)
            out.publish(
                {
                    "batches": list(batches),
                    "finite_checked": True,
                    "tokens": self.meter.done - done,
                    "forwards": self.meter.forwards - forwards,
                    "seconds": round(time.monotonic() - start, 3),
                }
            )
        if lanes is not None:
            cores = os.cpu_count() or 1
            self.lanes = out.next_lanes((time.process_time() - processor) / (time.monotonic() - start) / cores, cores)

    @property
    def _forward_fills_cores(self) -> bool:
        """Whether what is written beside a forward would stop it: its threads wait for one another at every operator."""
        cores = os.cpu_count() or 1
        return (
            self.backend.can.here and self.request.model.device.type == "cpu" and torch.get_num_threads() >= cores > 1
        )

    @property
    def _batches_a_turn(self) -> int:
        """Of vectors, which are large, one."""
        return 1 if self.request.options.recorded & {*SAMPLED} else _BATCHES_A_TURN

    @property
    def _tables(self) -> list[str]:
        kept = [table for table, name in OPTION.items() if name in self.request.options.recorded]
        return ["tokens", *(["responses"] if self.words.has_responses else []), "slots", "nonfinite", *kept]

    def _run_batch(self, numbers: tuple[int, ...], ids: list[int], dictionary: pa.StringArray) -> dict[str, Build]:
        """Runs a batch; returns what builds its tables, for the writer's threads."""
        request, options = self.request, self.request.options
        rows = [request.ids(number) for number in numbers]
        where = [request.sequence(number) for number in numbers]
        chunk, answers = self._run(Batch(rows, [request.seeds[prompt] + sample for prompt, sample in where]))
        if answers is not None:
            self.meter.skip(sum(options.generate - len(answer.ids) for answer in answers))
        prompt = np.searchsorted(ids, [prompt for prompt, _ in where])
        sample = np.array([sample for _, sample in where])
        shares = {name: share_of(name, options.keep) for name in SAMPLED if name in options.recorded}
        batch = BatchRows(chunk, dictionary, prompt, sample, shares, options.seed)
        head = [] if answers is None else [self._head_not_finite(rows, answers)]
        builders: dict[str, Build] = {"nonfinite": partial(batch.nonfinite, *head)}
        for name, build in (("tokens", self.words.tokens), ("responses", self.words.responses)):
            builders[name] = partial(build, numbers, batch, answers)
        return {name: builders.get(name) or getattr(batch, name) for name in self._tables}

    def _run(self, batch: Batch) -> tuple[Chunk, list[Generated] | None]:
        """What the engine says of a batch, and its responses where they are generated."""
        harvest, made, options, how = Harvest(), list[Made](), self.request.options, self.request.decoding
        keep = Keep(options.recorded, options.layers, options.expert_numbers)
        with closing(self.backend.run(batch, self.plan, how, keep, self.dose)) as portions:
            for portion in portions:
                assert portion.record is not None
                harvest.add(portion.record, portion.where)
                made += [] if portion.made is None else [portion.made]
                self.meter.forwarded(len(portion.where.rows))
        return harvest.finish(), None if how is None else generated(made, len(batch.rows))

    def _head_not_finite(self, rows: list[tuple[int, ...]], answers: list[Generated]) -> pd.DataFrame:
        last = np.array([len(row) - 1 for row in rows])
        layer = len(self.request.model.anatomy.layers)
        return logits_not_finite(layer, np.arange(len(rows)), last, [answer.logprobs for answer in answers])

    # ---- what completes a store

    @property
    def _reads(self) -> str:
        """How much of the model's weights is read, where any is."""
        model, options, said = self.request.model, self.request.options, ""
        if "matrices" in options.keep:
            said = f"; {readable(weights_bytes(model, options.layers))} of weights are read once"
        if "directions" in options.keep:
            said += f"; the words of {n_directions(model, options.layers):,} directions are looked up once"
        if "alignments" in options.keep:
            pairs, seconds = alignments_work(model, options.layers)
            said += f"; the neurons of {pairs:,} pairs of experts are matched once, about {duration(max(seconds, 1))}"
        return said

    def _small_tables(self) -> list[dict[str, Any]]:
        """Writes prompts, given labels and the model's weights unless they are there; returns their lines of the manifest."""
        model, layers = self.request.model, self.request.options.layers
        tables: dict[str, tuple[str, Callable[[], pd.DataFrame]]] = {
            "prompts.parquet": ("prompts", lambda: pd.DataFrame(self.words.prompts()))
        }
        if labels := self.words.labels():
            tables["labels/given.parquet"] = ("labels", lambda: pd.DataFrame(labels))
        for name in self.request.options.read_once:
            tables[f"{name}.parquet"] = (name, partial(_READ_ONCE[name], model, layers))
        for path, (name, content) in tables.items():
            if self.disk.size(path) is None:
                write_table(self.path, path, name, content())
        return [describe(self.path, path, name) for path, (name, _) in tables.items()]

    def _complete(self, small: list[dict[str, Any]]) -> None:
        """Writes the manifest, or waits for the process that does."""
        if isinstance(self.path, Address):  # of two who write it at once each writes the same
            if self.disk.size("manifest.json") is None:
                self._write_manifest(small)
            return sweep(self.path)
        while self.disk.size("manifest.json") is None:
            with storage.locked(self.path, "manifest") as ours:
                if ours and self.disk.size("manifest.json") is None:
                    self._write_manifest(small)
            time.sleep(0 if ours else 0.05)
        return None

    def _write_manifest(self, small: list[dict[str, Any]]) -> None:
        shards = range(len(self.request.schedule.shards))
        plan = storage.read_json(self.path / "plan.json")  # as it was begun, perhaps by another version
        finish(
            self.path,
            [storage.read_json(self.path / receipt_path(shard)) for shard in shards],
            small,
            schema_version=plan["schema_version"],
            fingerprint=plan["anatomy"]["fingerprint"],
            steering=plan["steering"],
            warnings=list(dict.fromkeys([*plan["warnings"], *self.request.warnings, *self._not_compared(plan)])),
        )

    def _not_compared(self, begun: dict[str, Any]) -> list[str]:
        """What a capture that an earlier version began could not be compared by when it went on here."""
        here = self.request.model.anatomy.fingerprint
        resumed = is_unversioned(begun["anatomy"]["fingerprint"]) and not is_unversioned(here)
        return [f"It was begun by an earlier version and went on in this one: {UNCOMPARED}."] if resumed else []
