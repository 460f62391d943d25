"""`workbench serve` over HTTP: each of many clients at once has the answer of its own plan, and no request harms another.

One server runs for all of it, with a plan of its own that every request joins.
"""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.serving.support.http import Server, Told, request, serving, soon, streamed, whole
from tests.serving.support.judging import Answer, answered, random_plans, same_until_a_tie
from tests.serving.support.models import native
from tests.serving.test_answers import rows_of
from tests.workbench.plan.hostile import ENGINE, drawn, faults
from workbench import Plan
from workbench.backends import Batch, backend_of, compiled_for
from workbench.generation import decoding_of
from workbench.routing import Dose, slots_per_token

TOKENS, CLIENTS, LONG = 12, 16, 200
EVERYWHERE = Plan.parse("scale L3E5=1.5; off L0E30")
HOSTILE = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    EVERYWHERE.to_json(folder / "everywhere.json")
    with serving(folder, "--plan", str(folder / "everywhere.json")) as found:
        yield found


def natively(rows: list[list[int]], plan: Plan) -> list[Answer]:
    model = native("demo")
    return answered(backend_of(model), rows, compiled_for(model, EVERYWHERE | plan), decoding_of(model, TOKENS))


def rows_in_use(server: Server) -> tuple[int, int]:
    """Reserved in front of the engine, and held by its worker."""
    with server.client() as client:
        told = client.get("/v1/models").json()["data"][0]["expert_plan"]
    return told["rows_reserved"], told["rows_in_use"]


def test_sixteen_clients_at_once_each_have_their_own_plans_answer(server: Server) -> None:
    model = native("demo")
    plans = [Plan(), *random_plans(model.anatomy, CLIENTS + 8, seed=7)]
    plans = [plan for plan in plans if joins(plan)][:CLIENTS]
    assert len(plans) == CLIENTS
    rows = rows_of(model)

    def ask(n: int) -> list[Told]:
        how = streamed if n % 2 else whole
        text = None if not plans[n] else str(plans[n]) if n % 4 < 2 else plans[n].for_model(model.anatomy).to_json()
        with server.client() as client:
            return [how(client, request(row, text, tokens=TOKENS)) for row in rows]

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(ask, range(CLIENTS)))
    compared = total = 0
    for plan, told in zip(plans, found, strict=True):
        expected = natively(rows, plan)
        compared += sum(same_until_a_tie(ours.answer, theirs) for ours, theirs in zip(told, expected, strict=True))
        total += sum(len(answer.ids) for answer in expected)
        for row, (answer, said) in zip(rows, told, strict=True):
            check_told(said, EVERYWHERE | plan, len(row) + len(answer.ids) - 1)
    assert compared >= 0.9 * total
    assert soon(lambda: rows_in_use(server) == (0, 0))


def joins(plan: Plan) -> bool:
    try:
        return bool((EVERYWHERE | plan).check(native("demo").anatomy))
    except ValueError:
        return False


def check_told(said: Any, plan: Plan, forwarded: int) -> None:
    anatomy = native("demo").anatomy
    assert said["fingerprint"] == plan.for_model(anatomy).digest
    assert said["model"] == anatomy.fingerprint
    assert said["server_plan"] == str(EVERYWHERE)
    dose = said["dose"]
    assert dose["tokens"] + dose["tokens_cached"] == forwarded
    assert dose["slots"] == dose["tokens"] * sum(layer.top_k for layer in anatomy.layers)
    assert 0 <= dose["tokens_changed"] <= dose["slots_changed"] <= dose["slots"]


def test_what_the_plan_changed_is_counted_as_natively(server: Server) -> None:
    model, row = native("demo"), [*rows_of(native("demo"))[0], 33]
    plan = Plan.parse("off L1E0-15; mute L2E0-15 in generated")
    compiled = compiled_for(model, EVERYWHERE | plan)
    dose = Dose(slots_per_token(model.anatomy))
    how = replace(decoding_of(model, TOKENS), alternatives=2)
    list(backend_of(model).run(Batch([row]), compiled, how, dose=dose))
    with server.client() as client:
        told = whole(client, request(row, str(plan), tokens=TOKENS))
    assert told.plan is not None
    counts = dose.counts()
    for name in ("tokens", "tokens_changed", "slots", "slots_changed", "tokens_emptied"):
        assert told.plan["dose"][name] == getattr(counts, name), name
    assert counts.slots_changed > 0


def test_the_servers_plan_is_shown_and_a_request_that_contradicts_it_is_refused(server: Server) -> None:
    said = server.said()
    assert f"This plan holds for every request: {EVERYWHERE}" in said
    with server.client() as client:
        told = client.get("/v1/models").json()["data"][0]["expert_plan"]
        assert told["server_plan"] == str(EVERYWHERE)
        refused = client.post("/v1/completions", json=request([20, 33], "force L0E30", tokens=1))
    assert refused.status_code == 400
    assert "off L0E30 and force of the same expert contradict each other" in refused.json()["error"]["message"]


def test_hostile_plans_are_refused_in_a_sentence_and_the_next_answer_is_right(server: Server, tmp_path: Path) -> None:
    check_hostile(server, tmp_path, HOSTILE, seed=3)


def check_hostile(server: Server, folder: Path, n: int, seed: int) -> float:
    """`n` hostile plans; the most seconds of its processor that the server needed for one."""
    plans = [(one.fault, one.plan) for one in drawn(folder, n, seed)]
    plans += [(name, make(Random(seed))) for name, make in ENGINE.items()]
    row, process, slowest = rows_of(native("demo"))[0], psutil.Process(server.process.pid), (0.0, "")
    (right,) = natively([row], Plan())
    assert "everywhere.json" in server.opened.read_text(encoding="utf-8", errors="replace"), (
        "what is opened is not seen"
    )
    with server.client() as client:
        for at, (fault, plan) in enumerate(plans):
            before = sum(process.cpu_times()[:2])
            reply = client.post(
                "/v1/completions", content=body(row, plan), headers={"content-type": "application/json"}
            )
            slowest = max(slowest, (sum(process.cpu_times()[:2]) - before, fault))
            assert reply.status_code == 400, f"{fault}: {plan!r:.80} had {reply.status_code}"
            message = reply.json()["error"]["message"]
            assert message, fault
            assert message.isprintable(), fault
            if at % 40 == 0:
                same_until_a_tie(whole(client, request(row, tokens=TOKENS)).answer, right)
        same_until_a_tie(whole(client, request(row, tokens=TOKENS)).answer, right)
    assert slowest[0] < 1, f"{slowest[1]} took {slowest[0]:.2f} s of the server's processor"
    opened = server.opened.read_text(encoding="utf-8", errors="replace")
    assert not [path for path in (str(folder), "etc/passwd", "vector.npy") if path in opened]
    assert soon(lambda: rows_in_use(server) == (0, 0))
    return slowest[0]


def body(row: list[int], plan: Any) -> bytes:
    return json.dumps(request(row, plan, tokens=TOKENS)).encode()


def test_there_are_enough_kinds_of_faults(tmp_path: Path) -> None:
    assert len(faults(tmp_path)) + len(ENGINE) >= 25


def generated(server: Server) -> float:
    """Tokens that the engine has made."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total"))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_hangs_up_frees_its_row(server: Server, stream: bool) -> None:
    asked = request([20, 33, 47], "off L2E8", tokens=LONG, stream=stream, ignore_eos=True, n=8, temperature=1)
    before, host, port = generated(server), *server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        sent = json.dumps(asked).encode()
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        client.sendall(f"Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        assert soon(lambda: rows_in_use(server)[1] > 0), "the request never ran"
    assert soon(lambda: rows_in_use(server) == (0, 0))
    assert generated(server) - before < 8 * LONG, "it came to its end, so this says nothing about hanging up"
    with server.client() as client:
        row = rows_of(native("demo"))[0]
        same_until_a_tie(whole(client, request(row, tokens=TOKENS)).answer, natively([row], Plan())[0])


def test_only_routes_that_plans_hold_on_are_open(server: Server) -> None:
    with server.client() as client:
        for path in (
            "/v1/responses",
            "/v1/messages",
            "/invocations",
            "/v1/load_lora_adapter",
            "/collective_rpc",
            "/sleep",
        ):
            reply = client.post(path, json={})
            assert (reply.status_code, "is not served here" in reply.text) == (404, True), path
        assert client.get("/health").status_code == client.get("/metrics").status_code == 200


def test_a_plan_that_would_not_be_read_is_refused(server: Server) -> None:
    row = [20, 33]
    with server.client() as client:
        for wrong in ({"expert_plan": "off L2E8"}, {"vllm_xargs": {"expert_plans": "off L2E8"}},
                      {"vllm_xargs": {"expert_request": "{}"}}, {"use_beam_search": True, "n": 2}):  # fmt: skip
            reply = client.post("/v1/completions", json=request(row, tokens=1) | wrong)
            assert reply.status_code == 400, wrong
            assert "expert_plan" in reply.text
