"""What plans need of a running server: the plan of each request, its room in the engine, and its dose afterwards."""

import asyncio
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from workbench.backends import check_plan
from workbench.errors import WorkbenchError
from workbench.plan import Plan, sent_plan
from workbench.routing import CompiledPlan, DoseCounts, compile_plan, slots_per_token
from workbench.serving.client import Place, Room, Vllm
from workbench.serving.online import telling
from workbench.serving.requests import RUNNING
from workbench.serving.scopes import helds
from workbench.serving.server.live import Live


@dataclass(eq=False)
class Service:
    """One engine. served: what its start-up check found that it can do; everywhere: the plan that holds for every request;
    live: captures some of them.
    """

    engine: Any
    served: Vllm
    everywhere: Plan = field(default_factory=Plan)
    live: Live | None = None
    is_gated: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def room(self) -> Room:
        """Counted here, in front of the workers."""
        return self.served.calls.room

    @cached_property
    def telling(self) -> dict[str, Any]:
        """What is told of the model to who asks for it."""
        return telling(self.served.facts, self.served.can, self.everywhere)

    def plan_of(self, text: object | None) -> CompiledPlan:
        """The server's plan joined by what a request says. Raises `WorkbenchError` where they contradict, or it is no plan."""
        anatomy = self.served.facts.anatomy
        plan = self.everywhere if text is None else self.everywhere | sent_plan(text, anatomy)
        check_plan(self.served, plan)
        compiled = compile_plan(plan, anatomy, self.served.facts.tokenizer)
        self.room.check(helds(plan.edits))
        return compiled

    async def enter(self, plan: CompiledPlan | None, size: int = 0) -> Place:
        """A place for a request, as soon as there is one; who came first has it first.

        size  bytes at most of what is captured of it, where it waits for them
        """
        edits = () if plan is None else plan.plan.edits
        async with self.turn:
            while (place := self.room.enter(helds(edits), size)) is None:
                self.freed.clear()
                await self.freed.wait()
            return place

    async def leave(self, name: str, place: Place) -> None:
        """The request under this name is over, whatever ended it: nothing of it is left in the engine but what is captured."""
        try:
            # a request that is aborted twice is aborted; behind this the workers give its rows back before they take others
            await self.engine.abort(RUNNING.pop(name, []))
            await self._taken(name)
        finally:
            self.room.leave(place)
            self.freed.set()
            if self.live is not None:
                self.live.left(name, lambda: self.taken(place))

    def taken(self, place: Place) -> None:
        """What was captured of a request that has left is on its way to the store; who waits for room may look again."""
        self.room.taken(place)
        self.freed.set()

    def release(self, place: Place) -> None:
        """A place that nobody came to."""
        self.room.leave(place)
        self.taken(place)

    async def rows(self) -> dict[str, int]:
        """How many rows there are for edits, how many requests reserved here, and how many the workers hold."""
        held = (await self.engine.collective_rpc("workbench_in_use"))[0]
        return {"rows": self.room.settings.rows - 1, "rows_reserved": len(self.room.ledger.users), "rows_in_use": held}

    async def dose(self, name: str) -> tuple[DoseCounts, int]:
        """What the plan changed in the requests under this name, and how many of their tokens came from the prefix cache.

        Raises `WorkbenchError` where the plan was not in force.
        """
        found = await self._taken(name)
        if "failed" in found:
            raise WorkbenchError(found["failed"])
        slots = found["tokens"] * slots_per_token(self.served.facts.anatomy)
        counted = (found["tokens_changed"], slots, found["slots_changed"], found["tokens_emptied"])
        return DoseCounts(found["tokens"], *counted), found["tokens_cached"]

    async def _taken(self, name: str) -> dict[str, Any]:
        """What the workers counted under a name, which they forget."""
        asked = asyncio.ensure_future(self.engine.collective_rpc("workbench_doses", args=([name],)))
        while not asked.done():
            if not self.engine.is_running:  # it will never answer
                asked.cancel()
                return {"failed": "the engine has ended"}
            await asyncio.wait([asked], timeout=1)
        (found,) = json.loads(asked.result()[0])
        return found
