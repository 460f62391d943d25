"""`capture_on`: one store by several replicas of a model at once, each a process that Ray starts and watches."""

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.paths import Address, given_place
from workbench.progress import ProgressLines, Report
from workbench.prompts import PromptSet, read_prompts
from workbench.replicas.cluster import Cluster
from workbench.replicas.pool import BEGUN_AGAIN, Pool
from workbench.replicas.replica import Capturing, Work
from workbench.storage import disk_of
from workbench.store import Store, open_store


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
    disk_of(path).size("plan.json")  # what is wrong with the place is said before anything starts
    given = Work(source, dict(how or {}), read_prompts(prompts), str(path), words)
    report = ProgressLines() if progress is True else progress or None
    with cluster.running() as ray:
        for warned in _watched(ray, cluster, given, report):
            warnings.warn(warned, stacklevel=2)
    return open_store(path)


def _watched(ray: Any, cluster: Cluster, given: Work, report: Report | None) -> list[str]:
    """Starts the replicas and shows how far they are; what they warned of when all have ended."""
    pool = Pool(ray, cluster, partial(Capturing, given), report)
    pool.each("work")
    if disk_of(given_place(given.into)).size("manifest.json") is None:
        raise WorkbenchError(
            f"All {pool.lost} replicas that captured into '{given.into}' were lost {BEGUN_AGAIN + 1} times each (their processes "
            f"ended: out of memory, perhaps); what is complete stays: ask for fewer workers and run the same again, it goes on."
        )
    return pool.warnings()
