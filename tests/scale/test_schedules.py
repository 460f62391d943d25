"""Two fixed schedules of mishaps for a capture by four replicas to the S3 server; `make schedules` draws others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scale.s3_server import S3Server
from tests.scale.schedules import Schedule, carried_out

pytest.importorskip("ray", reason="ray is not installed; make test-scale installs it")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[S3Server]:
    server = S3Server(tmp_path, f"schedule-{len(request.node.callspec.id)}")  # a bucket is reached once a process
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


@pytest.mark.parametrize(
    "schedule", [Schedule(kills=(5, 20)), Schedule(outage=10)], ids=["two killed", "ten seconds without a server"]
)
def test_the_store_is_that_of_one_local_process(schedule: Schedule, server: S3Server, tmp_path: Path) -> None:
    carried_out(schedule, server, tmp_path)
