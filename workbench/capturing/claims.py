"""Several processes into one store on object storage: claims that rest on a write that is refused where the name exists.

A claim `claims/SSSSS.GGGG.json` names its owner and is written again every `BEAT` seconds. Of a claim that nobody wrote for
`STALE` seconds, by the observer's own clock, the next generation may be written: of those who try one succeeds. Whoever lost a
claim does no harm, since files of a shard carry their writer's name and one receipt says which of them are the shard.
WORKBENCH_STALE, alike in all processes of a capture, is another number of seconds; a claim is written again in a sixth of it.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread

from workbench import storage
from workbench.errors import WorkbenchError
from workbench.paths import Address
from workbench.shards import STREAMED
from workbench.storage import Disk, Entry

STALE_AFTER = "WORKBENCH_STALE"
"""The variable that says after how many seconds a claim is stale."""
BEAT, STALE = 10.0, 60.0
FOLDER = "claims"


@dataclass
class Claims:
    """The claims of one process on one store, and what it has seen of those of others."""

    place: Address
    owner: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    seen: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])

    @property
    def disk(self) -> Disk:
        """Where they lie."""
        return storage.disk_of(self.place)

    def latest(self) -> dict[int, tuple[int, Entry]]:
        """Each claimed shard with the generation and the entry of its last claim."""
        found: dict[int, tuple[int, Entry]] = {}
        for entry in self.disk.list(FOLDER):
            shard, generation = map(int, entry.key.removeprefix(f"{FOLDER}/").split(".")[:2])
            found[shard] = (generation, entry)  # entries come in order
        return found

    @contextmanager
    def held(self, shard: int, last: tuple[int, Entry] | None) -> Iterator[bool]:
        """Holds the shard during the block, if nobody does whose claim is still written; yields whether we hold it."""
        if last is not None and not self._is_stale(last[1]):
            yield False
            return
        key = f"{FOLDER}/{shard:05d}.{(last[0] if last else 0) + 1:04d}.json"
        if not storage.create_json(self.place, key, {"owner": self.owner, "beats": 0}):
            yield False
            return
        ended = Event()
        heart = Thread(target=self._beat, args=(key, ended), daemon=True)
        heart.start()
        try:
            yield True
        finally:
            ended.set()
            heart.join()

    def _is_stale(self, entry: Entry) -> bool:
        """Whether the claim was not written since we first saw it as it is, long enough ago."""
        stamp, since = self.seen.get(entry.key, ("", 0.0))
        if stamp != entry.stamp:
            self.seen[entry.key] = (entry.stamp, time.monotonic())
            return False
        return time.monotonic() - since > seconds()[1]

    def _beat(self, key: str, ended: Event) -> None:
        beats, (beat, _) = 0, seconds()
        while not ended.wait(beat):
            beats += 1
            with suppress(WorkbenchError):  # an outage: what writes the shard waits for its end, and says so
                storage.write_json(self.place, key, {"owner": self.owner, "beats": beats})


def seconds() -> tuple[float, float]:
    """How often a claim is written again, and after how long it is stale."""
    given = os.environ.get(STALE_AFTER, "")
    try:
        stale = float(given) if given else STALE
    except ValueError:
        stale = 0.0
    if given and not stale > 0:
        raise WorkbenchError(f"{STALE_AFTER}='{given}' is no number of seconds; set it to one, such as 60.")
    return (stale / 6 if given else BEAT), stale


def prove(place: Address) -> None:
    """Raises `WorkbenchError` unless a second write of one name is refused there, on which claims rest."""
    seconds()  # what is wrong with it is said before anything is written
    disk, key = storage.disk_of(place), f"proof/{uuid.uuid4().hex}"
    first, second = (disk.create(key, word) for word in (b"first", b"second"))
    disk.delete(key)
    if not first or second:
        raise WorkbenchError(
            f"{place.scheme}://{place.bucket} replaces an object where it was asked to write only if there is none, so two "
            f"processes could undo each other's shards; say --single-writer (single_writer=True) and let one capture there."
        )


def sweep(place: Address) -> None:
    """Removes the claims of a complete store, and what writers who lost theirs left behind."""
    disk = storage.disk_of(place)
    shards = storage.read_json(place / "manifest.json")["shards"]
    kept = {file["path"] for shard in shards for file in shard["files"]}
    for folder in (FOLDER, *STREAMED):
        for entry in disk.list(folder):
            if entry.key not in kept:
                disk.delete(entry.key)
