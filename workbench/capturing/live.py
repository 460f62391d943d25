"""A store that grows while a server answers: requests go in as they end, a shard at a time, and readers open what is there.

Its manifest is written anew with each shard, so that a reader has the shards of one moment, prompts included; of a server that
is killed, what was not written yet is lost (at most `SHARD_SECONDS` of it).
"""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from workbench import storage
from workbench.capturing.live_rows import LIVE_TABLES, LiveRows
from workbench.capturing.plan_json import versions
from workbench.errors import WorkbenchError
from workbench.model import Facts
from workbench.paths import given_path
from workbench.plan import Plan
from workbench.serving.server import Captured
from workbench.shards import SCHEMA_VERSION, ShardWriter, finish

SHARD_TOKENS, SHARD_SECONDS = 1 << 15, 20.0
"""A shard is written when so many tokens have come together, or the first of them has waited so long."""
_PER_REQUEST, _PER_TOKEN, _PER_SLOT, _PER_SHARD = 512, 96, 32, 1 << 16
"""Bytes on disk at most, before compression; of a shard its receipt, footers and lines of the manifest."""


class LiveStore:
    """The store of a server's requests (a `workbench.serving.server.Sink`). One server writes into a folder at a time; a later
    one goes on with it where model, plan and options are the same.

    share, seed  which requests go in; text: with token ids and token strings; waits: see `Sink`
    max_bytes    the folder never has more: then requests are dropped, and soon none are captured
    everywhere   the plan that holds for every request

    Raises `WorkbenchError` for a folder that holds something else.
    """

    def __init__(
        self,
        path: str | Path,
        facts: Facts,
        everywhere: Plan,
        *,
        share: float,
        seed: int,
        text: bool,
        max_bytes: int,
        waits: bool = False,
    ) -> None:
        if not 0 < share <= 1:
            raise WorkbenchError(f"--share {share} makes no sense; it should be above 0 and at most 1, such as 0.01.")
        self.path, self.facts = given_path(path), facts
        self.share, self.seed, self.text, self.max_bytes, self.waits = share, seed, text, max_bytes, waits
        self.is_full, self._open = False, ExitStack()
        self._waiting, self._dropped, self._since = list[Captured](), list[Captured](), time.monotonic()
        self._receipts = self._begin(everywhere)
        self._counted = dict.fromkeys(("requests", "tokens", "requests_dropped", "tokens_dropped"), 0)
        for receipt in self._receipts:
            self._count(receipt["kept"], receipt["dropped"])
        if not self._receipts:
            self._write()

    def _begin(self, everywhere: Plan) -> list[dict[str, Any]]:
        """Makes the folder, or finds what is there; the receipts of its shards."""
        storage.check_spelling(self.path)
        self._plan = _plan_json(self, self.facts, everywhere)
        is_begun = (self.path / "plan.json").is_file()
        if not is_begun and self.path.is_dir() and any(f.name != storage.WRITING for f in self.path.iterdir()):
            raise WorkbenchError(f"The folder '{self.path}' holds other files; choose a folder that does not exist.")
        if not self._open.enter_context(storage.locked(self.path, "live")):
            raise WorkbenchError(f"Another server captures into '{self.path}'; choose another folder.")
        if not is_begun:
            storage.create_json(self.path, "plan.json", self._plan)
            return []
        begun = storage.read_json(self.path / "plan.json")
        if other := next((name for name in _SAME if begun.get(name) != self._plan[name]), None):
            raise WorkbenchError(
                f"'{self.path}' was begun with another {_SAME[other]}; ask for the same, or capture into another folder."
            )
        return [storage.read_json(file) for file in sorted((self.path / "shards").glob("*.json"))]

    # ---- what a server calls

    def add(self, captured: Sequence[Captured]) -> None:
        """See `Sink.add`."""
        for one in captured:
            is_in = one.rows is not None and self._has_room(one)
            (self._waiting if is_in else self._dropped).append(one)
        tokens, patience = sum(one.forwarded for one in self._waiting), SHARD_SECONDS * (1 + len(self._receipts) / 100)
        if not self._waiting:  # what was dropped is told with the next shard
            self._since = time.monotonic()
        elif tokens >= SHARD_TOKENS or time.monotonic() - self._since > patience:  # the manifest grows with the shards
            self._write()

    def told(self) -> dict[str, Any]:
        """See `Sink.told`."""
        said = {"share": self.share, "text": self.text, "is_full": self.is_full, **self._counted}
        waiting = {name: said[name] + n for name, n in _counts(self._waiting, self._dropped).items()}
        return {**said, **waiting}

    def close(self) -> None:
        """See `Sink.close`."""
        if self._waiting or self._dropped:
            self._write()
        self._open.close()

    # ---- shards

    def _has_room(self, one: Captured) -> bool:
        """Whether it fits in `max_bytes` beside what is there and waits; where it does not, no more is captured."""
        size = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        size += sum(map(self._size, self._waiting)) + self._size(one)
        self.is_full = self.is_full or size + 3 * _PER_SHARD > self.max_bytes
        return not self.is_full

    def _size(self, one: Captured) -> int:
        top_k = sum(layer.top_k for layer in self.facts.anatomy.layers if layer.is_moe)
        return _PER_REQUEST + one.forwarded * (_PER_TOKEN + _PER_SLOT * top_k)

    def _write(self) -> None:
        """What has come together becomes a shard, and the manifest tells of it."""
        number = 1 + max((int(receipt["shard"]) for receipt in self._receipts), default=-1)
        kept, dropped = ({one.name: one.forwarded for one in some} for some in (self._waiting, self._dropped))
        with ShardWriter(self.path, number, LIVE_TABLES) as out:
            out.put(LiveRows(self._waiting, self.facts, text=self.text).builds())
            about = {"batches": [], "finite_checked": True, "tokens": sum(kept.values())}
            self._receipts.append(out.publish({**about, "kept": kept, "dropped": dropped}))
        self._count(kept, dropped)
        self._waiting, self._dropped, self._since = [], [], time.monotonic()
        said = {"fingerprint": self.facts.anatomy.fingerprint, "steering": self._plan["steering"], "warnings": []}
        finish(self.path, self._receipts, [], is_last=False, **said, live=self._counted)

    def _count(self, kept: dict[str, int], dropped: dict[str, int]) -> None:
        for name, n in zip(
            self._counted, (len(kept), sum(kept.values()), len(dropped), sum(dropped.values())), strict=True
        ):
            self._counted[name] += n


def _counts(kept: Sequence[Captured], dropped: Sequence[Captured]) -> dict[str, int]:
    of = {"requests": kept, "requests_dropped": dropped}
    tokens = {"tokens": kept, "tokens_dropped": dropped}
    return {name: len(some) for name, some in of.items()} | {
        name: sum(one.forwarded for one in some) for name, some in tokens.items()
    }


_SAME = {"schema_version": "schema version", "anatomy": "model", "dtype": "dtype", "options": "share, seed or choice of text",
         "steering": "plan"}  # fmt: skip


def _plan_json(store: LiveStore, facts: Facts, everywhere: Plan) -> dict[str, Any]:
    anatomy = facts.anatomy
    model = {"name": anatomy.model, "revision": anatomy.revision, "weights": anatomy.weights, "class": facts.kind}
    options = {"samples": 1, "keep": [], "text": store.text, "share": store.share, "seed": store.seed, "live": True}
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "anatomy": json.loads(json.dumps(anatomy.to_dict())),
        "dtype": str(facts.dtype).removeprefix("torch."),
        "device": "vllm",
        "versions": versions(),
        "options": options,
        "layers": list(anatomy.moe_layers),
        "prompts": {"source": "requests of a server"},
        "steering": json.loads(everywhere.to_json()) if everywhere else None,
        "warnings": [],
        "batches": [],
        "shards": [],
        "backend": "vllm",
    }
