"""`workbench serve` over HTTP: each of many clients at once has the answer of its own plan, and no request harms another.

One server runs for all of it, with a plan of its own that every request joins, and captures half of what it is asked.
"""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
import pytest

from tests.serving.support.http import Server, Told, request, serving, soon, streamed, whole
from tests.serving.support.judging import Answer, answered, random_plans, same_until_a_tie
from tests.serving.support.models import native
from tests.serving.test_answers import rows_of
from tests.workbench.plan.hostile import ENGINE, drawn, faults
from workbench import Plan, Store, load, open_store
from workbench.answering import stream
from workbench.backends import Batch, Keep, backend_of, compiled_for
from workbench.generation import decoding_of
from workbench.prompts import read_prompts
from workbench.routing import Dose, slots_per_token
from workbench.serving.online import Online
from workbench.serving.server.live import follows

TOKENS, CLIENTS, LONG = 12, 16, 200
SHARE, SEED, BUFFER = 0.5, 3, 20_000  # bytes: of about 147 tokens
EVERYWHERE = Plan.parse("scale L3E5=1.5; off L0E30")
HOSTILE = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    EVERYWHERE.to_json(folder / "everywhere.json")
    captured = ["--capture", str(folder / "live"), "--share", f"{SHARE}", "--capture-seed", f"{SEED}"]
    with serving(
        folder, "--plan", str(folder / "everywhere.json"), *captured, "--capture-buffer", f"{BUFFER}"
    ) as found:
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


def test_the_dashboards_engine_has_both_answers_at_once(server: Server) -> None:
    """As `workbench app --server` asks: base and steered in turns, a token each, and the dose as it is natively."""
    here, there, plan = native("demo"), load(server.url, engine=Online), Plan.parse("off L1E0-15; mute L2E0-15")
    asked, doses = read_prompts("refusal_heldout").filter(split="heldout")[:1], (Dose(), Dose())
    assert there.anatomy.fingerprint == here.anatomy.fingerprint
    sides = [stream(there, asked, p, max_new_tokens=TOKENS, dose=doses[1]) for p in (Plan(), plan)]
    found = [[next(side)] for side in sides]
    for tokens, side in zip(found, sides, strict=True):
        tokens += list(side)
    for tokens, under in zip(found, (EVERYWHERE, EVERYWHERE | plan), strict=True):
        natively_said = list(stream(here, asked, under, max_new_tokens=TOKENS, dose=doses[0]))
        assert [t.chosen.id for t in tokens] == [t.chosen.id for t in natively_said]
        assert [t.text for t in tokens] == [t.text for t in natively_said]
        assert tokens[-1].is_end == natively_said[-1].is_end
        for one, other in zip(tokens, natively_said, strict=True):
            assert [c.id for c in one.alternatives[:2]] == [c.id for c in other.alternatives[:2]]
    assert found[0][0].chosen.probability != found[1][0].chosen.probability, "the plan did nothing"
    assert doses[1].counts()[:4] == doses[0].counts()[:4]


# ---- what it captures; the last of these ends the server


def captured_request(n: int, *, follow: bool = True, **more: Any) -> tuple[dict[str, Any], list[int]]:
    """A request with a prompt of `n` tokens whose hash says that it is captured, or that it is not; and its ids."""
    for first in range(20, 300):
        row = [first, *(20 + (7 * i) % 280 for i in range(n - 1))]
        asked = request(row, "off L1E3", tokens=TOKENS, ignore_eos=True, **more)
        xargs = asked["vllm_xargs"]
        if follows([{k: v for k, v in asked.items() if k != "vllm_xargs"}, xargs], SHARE, SEED) == follow:
            return asked, row
    raise AssertionError("no hash is as wanted")


def routed(row: list[int]) -> tuple[dict[int, np.ndarray], int]:
    """By layer the experts [tokens, k] of such a request natively, in order, and how many tokens it forwards."""
    model, plan = native("demo"), EVERYWHERE | Plan.parse("off L1E3")
    how = replace(decoding_of(model, TOKENS), stop=frozenset())
    found = list(backend_of(model).run(Batch([row]), compiled_for(model, plan), how, Keep()))
    records = [portion.record for portion in found if portion.record is not None]
    index = {n: np.concatenate([r.layers[n].index.sort(-1).values for r in records]) for n in model.anatomy.moe_layers}
    return index, len(row) + TOKENS - 1


def test_what_was_captured_is_there_when_the_server_was_told_to_end(server: Server) -> None:
    asked = {n: captured_request(n) for n in (5, 41, 43)}
    asked[42] = captured_request(42, follow=False)
    asked[170] = captured_request(170)
    kept_out = {**asked[43][0], "vllm_xargs": {**asked[43][0]["vllm_xargs"], "expert_capture": False}}
    before = open_store(live_folder(server))
    with server.client() as client:
        n_before = n_captured(client)
        whole(client, asked[5][0])
        assert soon(lambda: n_captured(client) > n_before), "what the tests before this one left is not brought over"
        # twice: the second finds its prefix in the cache, and computes it all the same; both have room beside the first one
        plans = [whole(client, one).plan for one in (asked[41][0], asked[41][0], asked[42][0], asked[170][0], kept_out)]
        told = client.get("/v1/models").json()["data"][0]["expert_plan"]["capture"]
        assert (told["share"], told["text"], told["is_full"]) == (SHARE, False, False)
        assert (
            client.post(
                "/v1/completions", json=request([20], tokens=1, vllm_xargs={"expert_capture": "no"})
            ).status_code
            == 400
        )
    server.process.terminate()
    server.process.wait(60)
    assert "Captured" in server.said()
    store = open_store(live_folder(server))
    assert before.n_prompts <= store.n_prompts
    check_captured(store, asked[41][1], plans[0]["fingerprint"])  # type: ignore[index]
    lengths = store.prompts["n_tokens"].tolist()
    assert [lengths.count(n) for n in (41, 42, 43, 170)] == [2, 0, 0, 0]
    counted = [shard for shard in store.manifest["shards"] if shard["dropped"]]
    assert 170 + TOKENS - 1 in [n for shard in counted for n in shard["dropped"].values()]


def n_captured(client: Any) -> int:
    """Requests that have come out of the engine, whether they were kept or dropped."""
    told = client.get("/v1/models").json()["data"][0]["expert_plan"]["capture"]
    return told["requests"] + told["requests_dropped"]


def live_folder(server: Server) -> Path:
    return server.log.parent / "live"


def check_captured(store: Store, row: list[int], fingerprint: str) -> None:
    """The natively routed experts; no text; each token of each kept request once."""
    assert store.check() == []
    assert store.tokens["token_id"].isna().all()
    assert store.tokens["token"].isna().all()
    assert store.prompts["text"].isna().all()
    kept = {name: n for shard in store.manifest["shards"] for name, n in shard["kept"].items()}
    assert store.tokens.groupby("prompt_id", observed=True).size().to_dict() == kept
    expected, forwarded = routed(row)
    slots, labels = store.table("slots"), store.labels.set_index("prompt_id")["value"]
    mine = store.prompts["prompt_id"][store.prompts["n_tokens"] == len(row)]
    assert store.prompts["cluster"][mine.index].nunique() == len(mine) == 2
    for name in mine:
        assert (kept[name], labels[name]) == (forwarded, fingerprint)
        for layer, experts in expected.items():
            found = slots[(slots["prompt_id"] == name) & (slots["layer"] == layer)].sort_values(["position", "expert"])
            ours = found["expert"].to_numpy().reshape(forwarded, -1)
            same = (ours[: len(row)] == experts[: len(row)]).all(1)
            assert same.mean() > 0.97, "another request's rows"  # of the prompt; near-ties may go either way
