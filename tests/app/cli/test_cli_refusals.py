"""What the command line refuses, it refuses before the work, in one sentence, and leaves no half of anything behind."""

import json
import os
from pathlib import Path

import pytest

from tests.app.cli.printed import run, sentence
from workbench import Plan, capture, load, read_prompts

MODEL = "tiny/olmoe"
HALF = "\udc80"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = [
        {"id": f"{kind}{i}", "prompt": f"{kind} {i}", "labels": {"kind": kind, "likes": "true" if i % 2 else "false"}}
        for i in range(4)
        for kind in ("cat", "dog")
    ]
    path = tmp_path_factory.mktemp("prompts") / "pets.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "pets"
    capture(load(MODEL), prompts, path, progress=False)
    return path


# ---- characters that are none


def test_a_prompt_with_half_a_surrogate_pair_is_refused():
    said = run("steer", MODEL, "--prompt", f"hello {HALF}", "--off", "L0E1")
    assert "half of a surrogate pair" in sentence(said)
    said = run("steer", MODEL, "--prompt", "hello", "--system", HALF, "--off", "L0E1")
    assert "half of a surrogate pair" in sentence(said)


def test_a_path_that_is_not_utf8_is_one_sentence(prompts, store, tmp_path):
    place = tmp_path / f"caf{HALF}"
    assert "not UTF-8" in sentence(run("capture", MODEL, prompts, "--store", place))
    assert not place.exists()
    os.symlink(store, place)
    assert "not UTF-8" in sentence(run("store", "info", place))
    assert HALF not in sentence(run("steer", MODEL, "--prompt", "x", "--plan", place / "p.json"))


# ---- options are checked before the work, files are whole or not there


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began before the options were checked")

    monkeypatch.setattr("workbench.open_store", work)
    monkeypatch.setattr("workbench_app.cli.steer.open_model", work)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--edit", "scale"], "--edit scale"),
        (["--scores", "s.txt"], "should end in .csv"),
        (["--scores", "nowhere/s.csv"], "nowhere"),
        (["--out", "nowhere/p.json"], "nowhere"),
        (["--out", "."], "is a folder"),
        (["--out", "x.json", "--scores", "x.json"], "both name 'x.json'"),
        (["--set", "seed=1", "--set", "seed=2"], "--set gives seed twice"),
        (["--set", "target=kind=dog"], "--target and --set target"),
    ],
)
def test_rank_checks_its_options_first(words, said, store, tmp_path, monkeypatch, no_work):
    monkeypatch.chdir(tmp_path)
    assert said in sentence(run("rank", "ftri", store, "--target", "kind=cat", *words))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--off", "L0E1", "--out", "nowhere/c.json"], "nowhere"),
        (["--off", "L0E1", "--out", "."], "is a folder"),
        (["--off", "L0E1", "--metric", "beauty"], "There is no metric 'beauty'"),
        (["--plan", "none.json"], "none.json"),
        ([], "No edit was named"),
    ],
)
def test_compare_checks_its_options_first(words, said, prompts, tmp_path, monkeypatch, no_work):
    monkeypatch.chdir(tmp_path)
    assert said in sentence(run("compare", MODEL, prompts, *words))
    assert not list(tmp_path.iterdir())


def test_rank_writes_neither_file_when_the_plan_is_impossible(store, tmp_path):
    many = ["--top", 10, "--edit", "force", "--out", tmp_path / "p.json", "--scores", tmp_path / "s.csv"]
    assert "forces" in sentence(run("rank", "usage", store, *many))
    assert not list(tmp_path.iterdir())


def test_a_plan_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    Plan.off("L0E1").to_json(tmp_path / "p.json")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.storage.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        Plan.off("L0E2").to_json(tmp_path / "p.json")
    assert Plan.from_json(tmp_path / "p.json") == Plan.off("L0E1")
    assert [file.name for file in tmp_path.iterdir()] == ["p.json"]


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "p.json")
    Plan.off("L0E1").to_json(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert Plan.from_json(tmp_path / "p.json") == Plan.off("L0E1")


def test_a_plan_can_be_written_to_a_pipe():
    Plan.off("L0E1").to_json("/dev/null")
    assert not Path("/dev/null").is_file()


# ---- what a ranking must not leave unsaid


def test_rank_says_when_nothing_stands_out(store, tmp_path):
    plan = tmp_path / "p.json"
    words = ["rank", "ftri", store, "--target", "likes=true", "--set", "n_permutations=30", "--set", "n_bootstrap=10"]
    said = run(*words, "--top", 2, "--out", plan)
    assert said.exit_code == 0, said.output
    smallest = json.loads(run(*words, "--json").stdout)["scores"]
    assert min(row["p_adjusted"] for row in smallest) >= 0.05, "or the prompts of this test are no chance any more"
    assert "No expert passes p adjusted < 0.05" in said.stderr
    assert len(Plan.from_json(plan)) == 2


def test_rank_says_nothing_of_chance_where_nothing_was_tested(store):
    assert "p adjusted" not in run("rank", "usage", store).stderr


# ---- a value that reads as JSON


def test_set_takes_true_for_text_where_a_method_takes_text(store):
    words = ["rank", "ftri", store, "--set", "n_permutations=20", "--set", "n_bootstrap=10", "--json"]
    said = run(*words, "--set", "target=true")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["options"]["target"] == "true"
    assert found["options"]["n_permutations"] == 20
    assert found == json.loads(run(*words, "--target", "true").stdout)


def test_compare_reports_its_progress(prompts, tmp_path):
    said = run("compare", MODEL, prompts, "--off", "L0E1", "--metric", "length", "--controls", 1, "--tokens", 2)
    assert said.exit_code == 0, said.output
    assert "Answering 8 prompts 4 times" in said.stderr
    assert read_prompts(prompts).prompts[0].id == "cat0"


# ---- wrong options, wrong files


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["steer", MODEL, "--prompt", "x", "--tokens", 0], "'--tokens'"),
        (["rank", "ftri", "s", "--top", "many"], "'--top'"),
        (["capture", MODEL, "refusal", "--store", "s", "--tempe", 1], "--temperature"),
        (["capture", MODEL], "'PROMPTS'"),
        (["nosuch"], "No such command 'nosuch'"),
        (["store", "nosuch"], "No such command 'nosuch'"),
        (["--bogus"], "--bogus"),
        (["steer", MODEL, "--prompt", "x", "--off", "L0E1", "--dtype", "zzz"], "'zzz' is no torch dtype"),
        (["steer", "demo", "--prompt", "x", "--off", "L0E1", "--dtype", "int8"], "'int8' is no torch dtype"),
    ],
)
def test_a_wrong_option_is_one_sentence(words, said):
    message = sentence(run(*words))
    assert said in message
    assert "could not be loaded" not in message


def test_help_is_still_shown_where_nothing_was_asked():
    assert "Commands:" in run("store").output


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.csv", "id,text,text\na,b,c\n", "two columns 'text'"),
        ("p.jsonl", '{"messages": [{"role": "assistant", "content": "hi"}]}', "the assistant's alone"),
        ("p.jsonl", '{"text": "\\ud800"}', "half of a surrogate pair"),
        ("p.jsonl", '{"text": "a", "response": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_prompt_files_that_mean_something_else_are_refused(name, text, said, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert said in sentence(run("capture", MODEL, tmp_path / name, "--store", tmp_path / "s"))
    assert not (tmp_path / "s").exists()


def test_many_values_are_not_all_listed(tmp_path):
    rows = [json.dumps({"text": "x", "split": f"s{i:02d}"}) for i in range(30)]
    (tmp_path / "p.jsonl").write_text("\n".join(rows), encoding="utf-8")
    words = ["capture", MODEL, tmp_path / "p.jsonl", "--store", tmp_path / "s", "--split", "nosuch"]
    message = sentence(run(*words))
    assert "s07 and 22 more" in message
    assert "s08" not in message


def test_capture_says_its_prompts_once(prompts, tmp_path):
    said = run("capture", MODEL, prompts, "--store", tmp_path / "s")
    assert " ".join(said.stdout.split()).count("8 prompts") == 1


@pytest.mark.parametrize("answer", [None, 404])
def test_an_unreachable_hub_is_said_at_once_and_an_answer_is_not_hidden(answer, monkeypatch):
    """Against a port where nobody listens, and against a server that says 404."""
    import threading
    import time
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from huggingface_hub import constants

    from workbench.model import hub_unreachable

    class Says404(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Says404)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    if answer:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert hub_unreachable("nosuch/model", {}) is None
        server.shutdown()
    server.server_close()
    if not answer:
        waited: list[float] = []
        monkeypatch.setattr(time, "sleep", waited.append)
        message = sentence(run("inspect", "nosuch/model"))
        assert sum(waited) < 5, "six attempts at each file wait for half a minute"
        assert "cannot be reached" in message
        assert "Retrying" not in message
    assert hub_unreachable("demo", {"local_files_only": True}) is None
