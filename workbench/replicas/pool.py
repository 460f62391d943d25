"""Workers on a cluster: calls that all of them do together, and calls of which each goes to whoever is free."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.errors import WorkbenchError
from workbench.progress import Progress, Report
from workbench.replicas.actors import Board, Make, Replica
from workbench.replicas.cluster import Cluster

BEGUN_AGAIN = 3
"""Times that each worker is begun again where its process ends before its work does."""
_LOOKED = 0.5
_LOST = object()
_LOST_SOME = (
    f"A replica was lost {BEGUN_AGAIN + 1} times (its process ended: out of memory, perhaps), and the others went on."
)


class Pool:
    """Workers that Ray starts and watches, each an object that `make` makes in a process of its own.

    A call that ends with its process is made again by that worker's successor, up to three times; a worker that is lost for good
    is counted in `lost` and asked no more. A `WorkbenchError` of a worker is raised here.

    make    see `Make`; it and what calls are given have to travel to other machines, so they hold no model
    report  told what workers say of how far they are, all in one
    """

    def __init__(self, ray: Any, cluster: Cluster, make: Make, report: Report | None = None) -> None:
        self._ray, self.report, self._start, self._said = ray, report or _silence, time.monotonic(), 0
        self.size, self.lost, self._warned = cluster.workers, 0, dict[str, None]()
        self._board = ray.remote(num_cpus=0)(Board).remote()
        again = {"max_restarts": BEGUN_AGAIN, "max_task_retries": BEGUN_AGAIN}
        actor = ray.remote(num_cpus=1, num_gpus=cluster.gpus, **again)(Replica)
        # with calls, not when an actor is made: what that needs may be gone when a lost one is begun again
        self._make = ray.put(make)
        self._workers = {actor.remote(): rank for rank in range(self.size)}

    def each(self, method: str, *given: Any) -> list[Any]:
        """What all workers answer to one call, made at once; those that are lost for good answer nothing."""
        left, found = {self._asked(worker, method, given): worker for worker in self._workers}, list[Any]()
        while left:
            for one in self._ended(list(left)):
                answer = self._answer(one, left.pop(one))
                found += [] if answer is _LOST else [answer]
        return found

    def spread(
        self, method: str, calls: Mapping[str, tuple[Any, ...]], after: Mapping[str, str] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """The answers to calls by name, as they come, each made by a worker that is free; what a lost one had, another gets.

        after: by name, the call that has to be answered before. Raises `WorkbenchError` where every worker is lost.
        """
        left, at, free = dict(calls), dict[Any, tuple[str, Any]](), list(self._workers)
        while left or at:
            waited_for = {*left, *(name for name, _ in at.values())}
            for name in [name for name in left if (after or {}).get(name) not in waited_for][: len(free)]:
                worker = free.pop(0)
                at[self._asked(worker, method, left.pop(name))] = (name, worker)
            if not at:
                raise self._all_lost()
            for one in self._ended(list(at)):
                name, worker = at.pop(one)
                answer = self._answer(one, worker)
                if answer is _LOST:
                    left = {name: calls[name], **left}
                else:
                    free.append(worker)
                    yield name, answer

    def one(self, method: str, *given: Any) -> Any:
        """The answer of some worker."""
        ((_, answer),) = self.spread(method, {method: given})
        return answer

    def shared(self, value: Any) -> Any:
        """What stands for a large value among what calls are given: it is sent to each machine once."""
        return self._ray.put(value)

    def warnings(self) -> list[str]:
        """What workers warned of, each once, and whether any were lost."""
        return [*self._warned, *([_LOST_SOME] if self.lost else [])]

    def _asked(self, worker: Any, method: str, given: tuple[Any, ...]) -> Any:
        return worker.do.remote(self._make, (self._workers[worker], self.size), self._board, method, *given)

    def _ended(self, left: list[Any]) -> list[Any]:
        """Calls that ended, after a while; meanwhile the bar is told what the board was."""
        ended, still = self._ray.wait(left, timeout=_LOOKED)
        done, total, messages = self._ray.get(self._board.read.remote())
        for message in messages[self._said :]:
            self.report(Progress(done, total, time.monotonic() - self._start, message))
        if total:
            self.report(Progress(done, total if still else done, time.monotonic() - self._start))
        self._said = len(messages)
        return ended

    def _answer(self, ended: Any, worker: Any) -> Any:
        """The answer; the worker's own sentence where it refused; a mark where it was lost for good."""
        raised = self._ray.exceptions
        try:
            answer, warned = self._ray.get(ended)
        except raised.RayTaskError as error:
            if isinstance(error.cause, WorkbenchError):
                raise error.cause from None
            raise
        except (raised.RayActorError, raised.OutOfMemoryError):
            del self._workers[worker]
            self.lost += 1
            return _LOST
        self._warned |= dict.fromkeys(warned)
        return answer

    def _all_lost(self) -> WorkbenchError:
        return WorkbenchError(
            f"All {self.size} workers were lost {BEGUN_AGAIN + 1} times each (their processes ended: out of memory, perhaps); "
            f"what is complete stays: ask for fewer workers and run the same again, it goes on."
        )


def _silence(_: Progress) -> None:
    """Where nobody wants to know."""
