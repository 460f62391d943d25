"""`capture_on`: one store by several replicas of a model at once, each a process that Ray starts and watches."""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.paths import Address, given_place
from workbench.progress import Progress, ProgressLines, Report
from workbench.prompts import PromptSet, read_prompts
from workbench.replicas.cluster import Cluster
from workbench.replicas.replica import Board, Replica, Work
from workbench.storage import disk_of
from workbench.store import Store, open_store

LOST, BEGUN_AGAIN = "A replica was lost", 3
"""Times that each replica is begun again where its process ends before its work does."""
_LOOKED = 0.5


def capture_on(
    cluster: Cluster,
    source: str,
    prompts: PromptSet | str | Path | Iterable[Any],
    into: str | Path | Address,
    *,
    how: Mapping[str, Any] | None = None,
    progress: bool | Report = True,
    **words: Any,
) -> Store:
    """`capture` by `cluster.workers` replicas of the model at once, into one folder that all of them reach.

    source, how  what `load` takes on every machine alike: a name, a folder or a hub id; device, dtype, engine
    words        what `capture` takes; experts may be text, such as L1E*, which needs the model to be read

    The store equals that of one process, sorted by key: shards and seeds are planned alike, whoever writes them. A replica that
    is lost is begun again up to three times, and the others take over its shard; a lost driver goes on when the same is asked
    again. Raises `WorkbenchError` for a cluster that is not reached or too small, for what `capture` refuses, and where
    replicas are lost for good: what is complete stays.
    """
    place = given_place(into)
    path = place.resolve() if isinstance(place, Path) else place
    if words.get("single_writer"):
        raise WorkbenchError(
            "Replicas write together, so single_writer does not go with a cluster; capture with one process there."
        )
    given = Work(source, dict(how or {}), read_prompts(prompts), str(path), words)
    report = ProgressLines() if progress is True else progress or _silence
    with cluster.running() as ray:
        for warned in dict.fromkeys(_watched(ray, cluster, given, report)):
            warnings.warn(warned, stacklevel=2)
    return open_store(path)


def _silence(_: Progress) -> None:
    """Where no progress is to be shown."""


def _watched(ray: Any, cluster: Cluster, given: Work, report: Report) -> list[str]:
    """Starts the replicas and shows how far they are; what they warned of when all have ended."""
    board = ray.remote(num_cpus=0)(Board).remote()
    actor = ray.remote(num_cpus=1, num_gpus=cluster.gpus, max_restarts=BEGUN_AGAIN, max_task_retries=BEGUN_AGAIN)(
        Replica
    )
    replicas = [actor.remote() for _ in range(cluster.workers)]
    left = [one.work.remote(given, rank, len(replicas), board) for rank, one in enumerate(replicas)]
    start, said, warned = time.monotonic(), 0, list[str]()
    while left:
        ended, left = ray.wait(left, timeout=_LOOKED)
        done, total, messages = ray.get(board.read.remote())
        for message in messages[said:]:
            report(Progress(done, total, time.monotonic() - start, message))
        if total:
            report(Progress(done, total if left else done, time.monotonic() - start))
        said = len(messages)
        for one in ended:
            warned += _result(ray, one)
    _check_whole(given, warned)
    return warned


def _result(ray: Any, ended: Any) -> tuple[str, ...]:
    """What a replica warned of; its own sentence where it refused, and what became of it where it was lost for good."""
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, WorkbenchError):
            raise error.cause from None
        raise
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError):
        return (f"{LOST} {BEGUN_AGAIN + 1} times (its process ended: out of memory, perhaps), and the others went on.",)


def _check_whole(given: Work, warned: Sequence[str]) -> None:
    if disk_of(given_place(given.into)).size("manifest.json") is None:
        lost = sum(said.startswith(LOST) for said in warned)
        raise WorkbenchError(
            f"All {lost} replicas that captured into '{given.into}' were lost {BEGUN_AGAIN + 1} times each (their processes "
            f"ended: out of memory, perhaps); what is complete stays: ask for fewer workers and run the same again, it goes on."
        )
