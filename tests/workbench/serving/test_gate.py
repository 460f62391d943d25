"""The gate of `workbench serve`: what is read of a request, what vLLM is handed, what becomes of its room."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workbench.serving.asgi import SHAPE, Echo, Engine, Reply, ask, service
from workbench import Plan
from workbench.loading import tiny_tokenizer
from workbench.model import Told
from workbench.routing import CompiledPlan
from workbench.serving.client.check import FULL
from workbench.serving.online import PATH
from workbench.serving.online.told import heard
from workbench.serving.requests import RUNNING
from workbench.serving.server.service import Service

PLAN = "off L1E1; scale L2E2=3"


def one(body: Any, of: Service | None = None, app: Any = None, **how: Any) -> Reply:
    return asyncio.run(ask(app or Echo(), of or service(), body, **how))


def planned(text: Any, **more: Any) -> dict[str, Any]:
    return {"prompt": "x", "vllm_xargs": {"expert_plan": text}, **more}


def handed(reply: Reply) -> Plan:
    """The plan that vLLM's side was given."""
    said = json.loads(reply.json["echo"]["vllm_xargs"]["expert_request"])
    return CompiledPlan.from_data(said["plan"]).plan


def test_a_request_without_a_plan_goes_through_as_it_is() -> None:
    of = service()
    reply = one({"prompt": "x", "vllm_xargs": {"other": 1}, "logit_bias": {"3": 1.5}}, of)
    assert reply.json["echo"] == {"prompt": "x", "vllm_xargs": {"other": 1}, "logit_bias": {"3": 1.5}}
    assert "expert_plan" not in reply.json
    assert of.engine.asked == []
    assert one({"prompt": "x"}).json["echo"] == {"prompt": "x"}


def test_a_plan_is_handed_on_compiled_and_told_with_its_dose() -> None:
    of = service()
    reply = one(planned(PLAN, n=2), of)
    assert handed(reply) == Plan.parse(PLAN).for_model(SHAPE)
    told = reply.json["expert_plan"]
    slots = 5 * sum(layer.top_k + layer.n_shared for layer in SHAPE.layers)
    assert told["dose"] == {
        **{
            "tokens": 5,
            "tokens_changed": 2,
            "slots": slots,
            "slots_changed": 3,
            "tokens_emptied": 0,
            "tokens_cached": 4,
        },
    }
    assert (told["plan"], told["fingerprint"]) == (PLAN, Plan.parse(PLAN).for_model(SHAPE).digest)
    assert reply.headers[b"content-length"] == str(len(b"".join(reply.parts))).encode()
    assert reply.headers[b"x-kept"] == b"b"


def test_a_request_joins_the_servers_plan_or_is_refused() -> None:
    assert handed(one(planned("mute L2E1"), service(PLAN))) == Plan.parse(f"{PLAN}; mute L2E1").for_model(SHAPE)
    assert handed(one({"prompt": "x"}, service(PLAN))) == Plan.parse(PLAN)
    told = one(planned("mute L2E1"), service(PLAN)).json["expert_plan"]
    assert told["server_plan"] == PLAN
    reply = one(planned("force L1E1"), service(PLAN))
    assert (reply.status, "contradict" in reply.json["error"]["message"]) == (400, True)


def test_the_list_of_models_shows_the_servers_plan_and_what_may_be_asked() -> None:
    (told,) = [m["expert_plan"] for m in one({}, service(PLAN, rows=9), method="GET", path="/v1/models").json["data"]]
    assert (told["server_plan"], told["rows"], told["model"]) == (PLAN, 8, SHAPE.fingerprint)
    assert "off" in told["edits"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (planned("of L1E1"), "'of L1E1' is not an edit"),
        (planned("off @/etc/passwd"), "no file is opened"),
        (planned("off L1E1 between <a> <b>"), "cannot limit 'off L1E1 between <a> <b>' by its span"),
        (planned("replace L1E1=mean"), "the mean is over a store"),
        (planned(["off L1E1"]), "a list was sent"),
        (planned("off L1E1\x1b[31m"), "names no expert"),
        ({"expert_plan": PLAN}, "'expert_plan' says nothing here"),
        ({"Expert_Plan": PLAN}, "'Expert_Plan' says nothing here"),
        ({"vllm_xargs": {"expert_plans": PLAN}}, "'expert_plans' says nothing here"),
        ({"vllm_xargs": {"expert_request": "{}"}}, "'expert_request' says nothing here"),
        ({"vllm_xargs": [1]}, "vllm_xargs is an object"),
        (planned(PLAN, use_beam_search=True), "Beams"),
        (b"{", "is no JSON"),
        (b'{"temperature": NaN}', "holds NaN"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no JSON object"),
        (b"\xff", "is no JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_before_vllm_sees_it(body: Any, said: str) -> None:
    app, of = Echo(), service()
    reply = one(body, of, app)
    message = reply.json["error"]["message"]
    assert (reply.status, said in message, message.isprintable(), app.seen) == (400, True, True, []), message
    assert of.engine.asked == []


def test_only_routes_that_plans_hold_on_are_open() -> None:
    for method, path in (
        ("POST", "/v1/responses"),
        ("GET", "/docs"),
        ("POST", "/v1/models"),
        ("GET", "/v1/completions"),
    ):
        app = Echo()
        reply = one({}, app=app, path=path, method=method)
        assert (reply.status, app.seen) == (404, [])
        assert "is not served here" in reply.json["error"]["message"]
    assert one({}, path="/health", method="GET").status == 200


def test_plans_that_cannot_be_served_say_why() -> None:
    from dataclasses import replace

    from workbench.serving.client.check import FULL

    can = replace(FULL, edits=frozenset(), why={"edits": "layer 3 has no rule"})
    reply = one(planned(PLAN), service(can=can))
    assert (reply.status, "layer 3 has no rule" in reply.json["error"]["message"]) == (400, True)
    (told,) = [m["expert_plan"] for m in one({}, service(can=can), method="GET", path="/v1/models").json["data"]]
    assert told["refused"] == "layer 3 has no rule"
    large = "; ".join(f"mute L1E{n} at {n}-" for n in range(5))
    assert "needs 5 rows" in one(planned(large), service(rows=5)).json["error"]["message"]


# ---- room


class Slow(Echo):
    """Answers when it is let."""

    let: asyncio.Event
    inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        await self.let.wait()
        await super().__call__(scope, receive, send)


def test_plans_beyond_the_rows_wait_in_their_order() -> None:
    async def all_of_it() -> list[str]:
        app, of, ended = Slow(), service(rows=2), list[str]()
        app.let = asyncio.Event()

        async def client(text: str) -> None:
            await ask(app, of, planned(text))
            ended.append(text)

        texts = ["off L1E0", "off L1E1", "off L1E2", "off L1E0"]
        tasks = []
        for text in texts:
            tasks.append(asyncio.create_task(client(text)))
            await asyncio.sleep(0.01)
        assert app.inside == 1
        app.let.set()
        _, waiting = await asyncio.wait(tasks, timeout=60)
        assert not waiting, "nobody told them that there is a row"
        assert of.room.ledger.users == {}
        return ended

    assert asyncio.run(all_of_it()) == ["off L1E0", "off L1E1", "off L1E2", "off L1E0"]


@pytest.mark.parametrize("how", ["answered", "refused", "failed", "cancelled"])
def test_a_request_leaves_nothing_behind_whatever_ends_it(how: str) -> None:
    async def all_of_it() -> Engine:
        of = service()
        app: Any = Echo(status=400 if how == "refused" else 200)
        if how == "failed":
            app = broken
        elif how == "cancelled":
            app = Slow()
            app.let = asyncio.Event()
        task = asyncio.create_task(ask(app, of, planned(PLAN)))
        await asyncio.sleep(0.01)
        if how == "cancelled":
            assert of.room.ledger.users
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert of.room.ledger.users == {}
        return of.engine

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no")

    asked = asyncio.run(all_of_it()).asked
    assert [what for what, _ in asked][-2:] == ["abort", "dose"]
    assert RUNNING == {}


def test_a_client_that_hangs_up_while_it_waits_gives_its_place_up() -> None:
    async def all_of_it() -> None:
        app, of = Slow(), service(rows=2)
        app.let = asyncio.Event()
        first = asyncio.create_task(ask(app, of, planned("off L1E0")))
        await asyncio.sleep(0.01)
        reply = await asyncio.wait_for(ask(app, of, planned("off L1E1"), gone=True), 5)
        assert (reply.status, app.inside) == (0, 1)
        app.let.set()
        assert (await first).status == 200
        assert (await asyncio.wait_for(ask(app, of, planned("off L1E2")), 5)).status == 200

    asyncio.run(all_of_it())


def test_a_request_that_is_cancelled_as_it_gets_its_rows_gives_them_back() -> None:
    async def all_of_it() -> None:
        for turns in range(6):  # at each step of its way in
            of, app = service(rows=2), Slow()
            app.let = asyncio.Event()
            task = asyncio.create_task(ask(app, of, planned("off L1E0")))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.01)
            assert of.room.ledger.users == {}, turns

    asyncio.run(all_of_it())


def test_what_is_told_of_the_model_is_what_online_reads() -> None:
    of = service("off L1E2")
    of.served.facts = Told(SHAPE, tiny_tokenizer(), generation_config=SimpleNamespace(eos_token_id=[1, 2]))
    reply = one(b"", of, path=PATH, method="GET")
    found = heard(reply.json)
    assert (reply.status, found.everywhere, found.can.edits) == (200, Plan.off("L1E2"), FULL.edits)
    assert (found.facts.anatomy, found.facts.generation_config.eos_token_id) == (SHAPE, [1, 2])
    assert found.facts.tokenizer.decode([70, 71]) == tiny_tokenizer().decode([70, 71])
    assert one(b"", of, path=PATH).status == 404
