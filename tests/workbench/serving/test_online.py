"""The model of a running server as an engine: what it tells, answers as they come, and sentences where something is wrong."""

import time
from typing import Any

import pytest

from tests.support.engines import ANSWER, OFF, REFUSAL, Table, chat, ids, receivers
from tests.workbench.serving.plan_server import CAN, plan_server
from workbench import Plan, WorkbenchError, capture, compare, load
from workbench.answering import stream
from workbench.prompts import read_prompts
from workbench.routing import Dose
from workbench.serving.online import NAME, Online, telling

ASKED = read_prompts([{"id": "a", "prompt": "what happened in 1957?"}])


def text(tokens: Any) -> str:
    return "".join(token.text for token in tokens if not token.is_end)


def test_what_it_tells_is_what_the_server_knows() -> None:
    everywhere = Plan.off("L1E2")
    with plan_server(everywhere=everywhere) as server:
        engine = Online(server.url)
        model = load(server.url, engine=NAME)
    there, here = server.table.facts, engine.facts
    assert model.anatomy.fingerprint == here.anatomy.fingerprint == there.anatomy.fingerprint
    assert (here.kind, here.dtype, here.n_embeddings) == (there.kind, there.dtype, there.n_embeddings)
    assert (engine.everywhere, engine.can.edits, engine.can.keep) == (everywhere, frozenset({"off"}), None)
    question = [{"role": "user", "content": "why, 7?"}]
    assert here.tokenizer.apply_chat_template(question, tokenize=False) == there.tokenizer.apply_chat_template(
        question, tokenize=False
    )
    assert here.tokenizer.decode(ids("why, 7?")) == "why, 7?"
    assert telling(here, CAN, everywhere)["tokenizer"].keys() == telling(there, CAN, everywhere)["tokenizer"].keys()


def test_an_answer_comes_token_by_token_with_its_dose() -> None:
    with plan_server() as server:
        model, dose = load(server.url, engine=NAME), Dose()
        base = list(stream(model, ASKED, max_new_tokens=30))
        steered = list(stream(model, ASKED, OFF, max_new_tokens=30, dose=dose))
    assert (text(base), text(steered)) == (REFUSAL, ANSWER)
    assert [t.is_end for t in steered] == [False] * len(ANSWER) + [True]
    assert [(c.id, round(c.probability, 3)) for c in steered[0].alternatives] == [(ids("Y")[0], 0.607), (7, 0.223)]
    row = [*ids(chat("what happened in 1957?")), *ids(ANSWER)]
    moved = sum(a != b for a, b in zip(receivers(row), receivers(row, frozenset({3})), strict=True))
    assert dose.counts()[:4] == (len(row), moved, len(row), moved)
    bare, planned = server.asked
    assert "vllm_xargs" not in bare
    assert Plan.from_json(planned["vllm_xargs"]["expert_plan"]) == OFF.for_model(model.anatomy)
    assert (planned["model"], planned["prompt"]) == ("served", ids(chat("what happened in 1957?")))


def test_two_answers_come_at_once() -> None:
    """Behind its first token each waits at the server for the other to begin."""
    with plan_server(together=2) as server:
        model = load(server.url, engine=NAME)
        sides = [stream(model, ASKED, plan, max_new_tokens=30) for plan in (Plan(), OFF)]
        first = [next(side) for side in sides]
        assert [token.text + text(side) for token, side in zip(first, sides, strict=True)] == [REFUSAL, ANSWER]


def test_who_stops_listening_hangs_up() -> None:
    with plan_server() as server:
        server.table.answer = lambda row, off, how: ids("x" * 200_000)  # type: ignore[method-assign]
        answer = stream(load(server.url, engine=NAME), ASKED, max_new_tokens=30)
        assert next(answer).text == "x"
        answer.close()
        ends = time.monotonic() + 30
        while not server.hung_up:
            assert time.monotonic() < ends
            time.sleep(0.01)


def test_answers_are_compared_and_nothing_is_captured(tmp_path: Any) -> None:
    with plan_server() as server:
        model = load(server.url, engine=NAME)
        found = compare(model, ASKED, OFF, controls=0, distributions=False, progress=False)
        assert (found.responses["base"].tolist(), found.responses["steered"].tolist()) == ([REFUSAL], [ANSWER])
        with pytest.raises(WorkbenchError, match="tell no routing"):
            capture(model, ASKED, tmp_path / "s", progress=False)


def sentence(call: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_goes_wrong_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("localhost:8000", "ftp://x", "http://[::1", "x"):
        assert "is no address of a server" in sentence(lambda url=url: Online(url))
    with plan_server() as server:
        gone = server.url
    assert "does not answer as `workbench serve` does (ConnectError" in sentence(lambda: Online(gone))
    with plan_server(key="k") as server:
        assert "wants a key; set VLLM_API_KEY" in sentence(lambda: Online(server.url))
        monkeypatch.setenv("VLLM_API_KEY", "k")
        assert Online(server.url).facts.anatomy == Table().facts.anatomy
    with plan_server(cut=True) as server:
        model = load(server.url, engine=NAME)
        assert sentence(lambda: list(stream(model, ASKED))) == (
            f"The server at {server.url} said: the engine has ended"
        )
        assert "mute L1E3 is not supported on" in sentence(lambda: list(stream(model, ASKED, Plan.mute("L1E3"))))


def test_a_refusal_of_the_servers_is_said() -> None:
    with plan_server(everywhere=Plan.force("L1E3")) as server:
        model = load(server.url, engine=NAME)
        assert "contradict each other" in sentence(lambda: list(stream(model, ASKED, OFF)))
