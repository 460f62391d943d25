"""Labels of experts that are known to follow words, or nothing; what is held out; a model that describes, on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from probes import describe
from tests.probes.oracle.cases import empty, golden
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.errors import WorkbenchError
from workbench.store import Store

WORDS = ["red", "green", "blue", "the", "a", "of"]


def told(follow: bool, n_prompts: int = 12, length: int = 40) -> Store:
    """Random words; expert 0 is selected at colours and expert 1 elsewhere, or either by a coin."""
    rng, rows = np.random.default_rng(0), empty()
    for number in range(n_prompts):
        prompt = f"p{number:02d}"
        rows["prompts"].append({"prompt_id": prompt, "text": "?", "n_tokens": length})
        for position, word in enumerate(rng.integers(6, size=length)):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            about = {"token_id": int(word), "token": f" {WORDS[word]}", "role": "user", "generated": False}
            rows["tokens"].append({**key, **about})
            expert = int(word > 2) if follow else int(rng.integers(2))
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": expert, "weight": 1.0})
    return memory_store(anatomy((2,), 1), rows)


def test_experts_that_follow_words_are_told_and_experts_of_chance_are_not() -> None:
    found = describe(told(True)).frame.set_index("expert")
    assert (found["auroc"] > 0.95).all()
    assert {*found["label"][0].split(";")[0].split("' '")[0].strip("'").split()} <= {"red", "green", "blue"}
    assert (describe(told(False)).frame["label"] == "").all(), "nothing is evidence"
    chance = describe(told(False), evidence=0).frame
    assert (chance["auroc"] - 0.5).abs().max() < 0.1
    assert ((chance["low"] < 0.5) & (chance["high"] > 0.5)).all()


def test_labels_know_no_word_of_held_out_prompts() -> None:
    store = told(True)
    ids = 100 + store.tokens["prompt_id"].cat.codes.to_numpy() * 10 + store.tokens["token_id"].to_numpy()
    store.tokens["token_id"] = ids  # every prompt in words of its own
    store.tokens["token"] = [f"w{i}" for i in ids]
    found = describe(store).frame
    assert (found["label"] != "").all()
    assert (found["auroc"] == 0.5).all(), "no held-out token has a word of any label"


def test_pairs_are_on_one_side_and_a_rerun_is_the_same() -> None:
    first, second = describe(golden().store, tokens="all"), describe(golden().store, tokens="all")
    assert first.frame.equals(second.frame)
    case = golden()
    for prompt in case.rows["prompts"]:
        prompt["pair"] = "one"
    with pytest.raises(
        WorkbenchError, match="are of one cluster of prompts, and some have to be held out; read more prompts"
    ):
        describe(case.store)


def test_experts_that_are_named_alone_are_answered() -> None:
    found = describe(golden().store, experts=["L1E2", "L2E0"]).frame
    assert list(zip(found["layer"], found["expert"], strict=True)) == [(1, 2), (2, 0)]
    with pytest.raises(WorkbenchError, match="has no expert L1E9; its layers are 1, 2"):
        describe(golden().store, experts=["L1E9"])


@pytest.mark.parametrize("how", [{"n_words": 0}, {"evidence": -1.0}, {"heldout": 0.0}, {"heldout": 1.0}])
def test_numbers_out_of_range_are_refused(how: dict) -> None:
    with pytest.raises(WorkbenchError, match="describe nothing; give 1 word or more, evidence from 0, and heldout"):
        describe(golden().store, **how)


def test_a_store_without_text_is_refused() -> None:
    store = told(True)
    store.tokens["token"] = None
    with pytest.raises(WorkbenchError, match="was captured without text, so no word can describe an expert"):
        describe(store)


# ---- a model


@pytest.fixture
def describer() -> Iterator[tuple[str, list]]:
    """Says "colours", finds every colour between brackets, and keeps what it was asked with its authorisation."""
    asked: list = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][0]["content"]
            asked.append((text, self.headers.get("Authorization"), body["model"]))
            numbered = [line.split(".", 1) for line in text.splitlines() if line[:1].isdigit()]
            said = ", ".join(n for n, line in numbered if any(f"[[ {w}]]" in line for w in WORDS[:3])) or "colours"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": {"content": said}}]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    server.server_close()


def test_a_model_describes_and_is_held_to_it(describer: tuple[str, list], monkeypatch, capsys) -> None:
    address, asked = describer
    monkeypatch.setenv("WORKBENCH_DESCRIBE_KEY", "secret")
    found = describe(told(True), endpoint=address, model="m", contexts=4)
    frame = found.frame.set_index("expert")
    assert frame["label"].tolist() == ["colours", "colours"]
    assert (frame["auroc"][0], frame["auroc"][1]) == (1, 0), "of expert 1 the label says the contrary"
    assert frame["n"].tolist() == [4, 4]
    assert frame["low"].isna().all()
    assert [key for _, key, _ in asked] == ["Bearer secret"] * 4
    sent = f"Sending text of 'memory' to {address}: up to 16 contexts of each of 2 experts in 4 calls."
    assert sent in capsys.readouterr().err
    assert found.notes[-1] == f"labels by m at {address}: up to 16 contexts of each of 2 experts in 4 calls"
    assert "secret" not in json.dumps(found.options) + " ".join(found.notes)


def test_labels_of_a_model_stand_at_their_own_experts(describer: tuple[str, list]) -> None:
    found = describe(told(True), endpoint=describer[0], model="m", contexts=4, experts=["L0E1", "L0E0"]).frame
    assert found.set_index("expert")["auroc"].to_dict() == {0: 1, 1: 0}


def test_what_is_shown_and_what_is_asked_are_of_different_prompts(describer: tuple[str, list]) -> None:
    store = told(True, length=5)
    store.tokens["token"] = [f" {p}" for p in store.tokens["prompt_id"]]
    describe(store, endpoint=describer[0], model="m", contexts=4)
    shown, found = ({word for text, *_ in describer[1][i::2] for word in text.split() if word.strip("[]").startswith("p0")}
                    for i in (0, 1))  # fmt: skip
    assert shown
    assert not {w.strip("[]") for w in shown} & {w.strip("[]") for w in found}


def test_nothing_leaves_without_an_endpoint_over_the_budget_or_without_text(
    describer: tuple[str, list], capsys
) -> None:
    address, asked = describer
    describe(told(True))
    with pytest.raises(
        WorkbenchError, match=r"Describing 2 experts takes 4 calls, over calls=3; name some by experts, or raise"
    ):
        describe(told(True), endpoint=address, model="m", calls=3)
    for how in (
        {"endpoint": address},
        {"endpoint": "file:///x", "model": "m"},
        {"endpoint": address, "model": "m", "contexts": 0},
    ):
        with pytest.raises(
            WorkbenchError, match=r"describe nothing; give an http\(s\) address, the model's name and 1 context"
        ):
            describe(told(True), **how)
    store = told(True)
    store.tokens["token"] = None
    with pytest.raises(WorkbenchError, match="captured without text"):
        describe(store, endpoint=address, model="m")
    assert not asked
    assert "Sending" not in capsys.readouterr().err


def test_it_says_what_it_sends_before_it_does_and_a_failing_describer_is_one_sentence(capsys) -> None:
    with pytest.raises(
        WorkbenchError, match=r"The describer at http://127\.0\.0\.1:9/v1/chat/completions cannot be reached"
    ):
        describe(told(True), endpoint="http://127.0.0.1:9/v1", model="m", experts=["L0E1"])
    assert "up to 40 contexts of each of 1 experts in 2 calls" in capsys.readouterr().err
