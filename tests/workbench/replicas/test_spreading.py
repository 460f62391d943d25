"""Replicas without Ray: what each is asked, what is said and shown, and what becomes of those that are lost."""

import socket
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.stores import assert_same_content
from tests.workbench.replicas.fake_ray import FakeRay
from workbench import WorkbenchError, capture, load, open_store
from workbench.progress import Progress
from workbench.replicas import Cluster, capture_on
from workbench.replicas.actors import Board, Replica
from workbench.storage import Outage

Made = Callable[..., FakeRay]
PROMPTS = ["one two", "three", "four five six", "seven"]
WORDS: dict[str, Any] = {"generate": 2, "keep": {"norms"}, "shard_tokens": 8, "batch_tokens": 8}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Made:
    def made(**how: Any) -> FakeRay:
        fake = FakeRay(**how)
        monkeypatch.setitem(sys.modules, "ray", fake)
        return fake

    return made


def test_the_store_of_three_replicas_is_that_of_one_process(ray: Made, tmp_path: Path) -> None:
    fake = ray()
    found = capture_on(Cluster(workers=3), "demo", PROMPTS, tmp_path / "many", progress=False, **WORDS)
    assert_same_content(found, capture(load("demo"), PROMPTS, tmp_path / "one", progress=False, **WORDS))
    assert not fake.is_running


def test_a_ray_of_its_own_is_on_localhost_without_a_dashboard(ray: Made, tmp_path: Path) -> None:
    fake = ray()
    capture_on(Cluster(workers=2, gpus=0), "demo", PROMPTS, tmp_path / "s", progress=False, **WORDS)
    (begun,) = fake.begun
    assert begun["include_dashboard"] is False
    assert begun["_node_ip_address"] == "127.0.0.1"
    assert begun["num_cpus"] == 2
    assert {"num_cpus": 1, "num_gpus": 0, "max_restarts": 3, "max_task_retries": 3} in fake.options


def test_what_ray_prints_is_not_on_stdout(ray: Made, capsys: pytest.CaptureFixture[str]) -> None:
    ray()
    with Cluster().running():
        print("(raylet) A worker died")
    assert capsys.readouterr() == ("", "(raylet) A worker died\n")
    print("said after it")
    assert capsys.readouterr().out == "said after it\n"


def test_experts_are_read_by_the_model(ray: Made, tmp_path: Path) -> None:
    ray()
    words = {**WORDS, "keep": {"outputs"}, "experts": "L1E*"}
    found = capture_on(Cluster(workers=1), "demo", PROMPTS, tmp_path / "s", progress=False, **words)
    rows = found.query("select distinct layer from outputs")
    assert rows["layer"].tolist() == [1]


def test_all_are_shown_in_one_bar(ray: Made, tmp_path: Path) -> None:
    ray()
    seen: list[Progress] = []
    found = capture_on(Cluster(workers=2), "demo", PROMPTS, tmp_path / "s", progress=seen.append, **WORDS)
    said = [p.message for p in seen if p.message]
    assert said == list(dict.fromkeys(said))  # once, not once a replica
    rows = found.query("select count(*) n from slots where slot = 0 and layer = 0")
    assert seen[-1].done == seen[-1].total == rows["n"][0]


def test_a_replica_that_is_lost_leaves_its_shards_to_the_others(ray: Made, tmp_path: Path) -> None:
    ray(lose=1)
    with pytest.warns(UserWarning, match="A replica was lost 4 times"):
        found = capture_on(Cluster(workers=2), "demo", PROMPTS, tmp_path / "many", progress=False, **WORDS)
    assert_same_content(found, capture(load("demo"), PROMPTS, tmp_path / "one", progress=False, **WORDS))


def test_where_all_are_lost_it_says_how_to_go_on(ray: Made, tmp_path: Path) -> None:
    ray(lose=2)
    with pytest.raises(WorkbenchError, match=r"All 2 replicas .* run the same again, it goes on"):
        capture_on(Cluster(workers=2), "demo", PROMPTS, tmp_path / "s", progress=False, **WORDS)


def test_what_capture_refuses_is_its_own_sentence(ray: Made, tmp_path: Path) -> None:
    fake = ray()
    with pytest.raises(WorkbenchError, match=r"^capture\(keep=.*'sizes'"):
        capture_on(Cluster(workers=2), "demo", PROMPTS, tmp_path / "s", progress=False, keep={"sizes"})
    assert not fake.is_running


def test_a_cluster_that_is_too_small_is_refused_before_anything_starts(ray: Made, tmp_path: Path) -> None:
    fake = ray(cpus=1)
    with pytest.raises(WorkbenchError, match=r"2 workers with 1 CPU each do not fit .* which has 1;"):
        capture_on(Cluster(workers=2), "demo", PROMPTS, tmp_path / "s", progress=False)
    with pytest.raises(WorkbenchError, match=r"1 workers with 0.5 GPU each do not fit .* which has 0;"):
        capture_on(Cluster(workers=1, gpus=0.5), "demo", PROMPTS, tmp_path / "s", progress=False)
    assert not fake.options
    assert not fake.is_running


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address whose server does not answer; a bucket is reached once a process, so it is another each time."""
    for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("ENDPOINT_URL", "http://127.0.0.1:9")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("WORKBENCH_RETRY", "1")
    return f"s3://b{uuid.uuid4().hex}/stores/x"


def test_a_place_that_is_not_reached_is_said_before_anything_starts(ray: Made, no_server: str) -> None:
    fake = ray()
    with pytest.raises(WorkbenchError, match=r"cannot be reached .*; check the endpoint"):
        capture_on(Cluster(workers=2), "demo", PROMPTS, no_server, progress=False)
    assert not fake.begun


def test_a_replica_that_starts_in_an_outage_waits(no_server: str) -> None:
    """What it was told to do was reached before, by the driver."""
    told = list[Progress]()
    board: Any = SimpleNamespace(tell=SimpleNamespace(remote=lambda _, progress: told.append(progress)))
    with pytest.raises(Outage, match="no longer answers"):
        Replica().do(lambda *_: SimpleNamespace(look=lambda: open_store(no_server)), (0, 1), board, "look")
    assert "asking again for a while" in told[0].message
    with pytest.raises(WorkbenchError, match="cannot be reached"):  # one that nobody reached, afterwards
        open_store(f"s3://b{uuid.uuid4().hex}/stores/x")


def test_an_address_where_nothing_answers(ray: Made, tmp_path: Path) -> None:
    fake = ray()
    with socket.socket() as taken:  # a port that is nobody's: bound, and not listened at
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WorkbenchError, match=rf"{address} is not reached \(nothing answers there\)"):
            capture_on(Cluster(address), "demo", PROMPTS, tmp_path / "s", progress=False)
    assert not fake.begun


def test_a_ray_that_does_not_start_here_is_one_sentence(
    ray: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        raise OSError("the raylet did not answer in 30 s.\nSee the logs.")

    monkeypatch.setattr(ray(), "init", fails)
    with pytest.raises(
        WorkbenchError, match=r"^Ray did not start on this machine \(the raylet .* 30 s\); give HOST:PORT"
    ):
        capture_on(Cluster(workers=2), "demo", PROMPTS, tmp_path / "s", progress=False)


@pytest.mark.parametrize("address", ["", "auto", "head:", ":10", "head:ten"])
def test_what_is_no_address(ray: Made, address: str, tmp_path: Path) -> None:
    ray()
    with pytest.raises(WorkbenchError, match="is no address of a Ray cluster"):
        capture_on(Cluster(address), "demo", PROMPTS, tmp_path / "s", progress=False)


def test_impossible_numbers() -> None:
    with pytest.raises(WorkbenchError, match="0 workers do nothing"):
        Cluster(workers=0)
    with pytest.raises(WorkbenchError, match="cannot have -1 GPUs"):
        Cluster(gpus=-1)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkbenchError, match=r"pip install 'moe-workbench\[ray\]'"):
        capture_on(Cluster(), "demo", PROMPTS, tmp_path / "s", progress=False)


def test_what_a_lost_process_did_counts_beside_what_its_successor_does() -> None:
    board = Board()
    board.tell("0/11", Progress(5, 20, 1.0))
    board.tell("1/12", Progress(4, 20, 1.0))
    board.tell("0/13", Progress(2, 15, 1.0))
    board.tell("0/13", Progress(3, 15, 1.5, "a sentence"))
    board.tell("1/12", Progress(4, 20, 1.5, "a sentence"))
    assert board.read() == (11, 20, ["a sentence"])
