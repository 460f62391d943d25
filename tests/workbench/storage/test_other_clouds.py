"""gs:// and az://: no credentials and wrong ones are one sentence, soon; so is a container that is not at Azure."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from workbench import WorkbenchError, open_store
from workbench.paths import Address, given_place

pytest.importorskip("obstore")
ACCOUNT, KEY = "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"


class _Nowhere(BaseHTTPRequestHandler):
    """As Azure answers where there is no such container."""

    def do_GET(self) -> None:
        said = (
            b"<?xml version='1.0'?><Error><Code>ContainerNotFound</Code><Message>It does not exist.</Message></Error>"
        )
        self.send_response(404)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def nowhere() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Nowhere)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (ACCOUNT, KEY, "AZURE_STORAGE_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)


def said(place: str) -> str:
    begun = time.monotonic()
    with pytest.raises(WorkbenchError) as caught:
        open_store(place)
    assert time.monotonic() - begun < 10
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_addresses_are_read(scheme: str) -> None:
    assert given_place(f"{scheme}://bucket/stores/x") == Address(scheme, "bucket", "stores/x")


def test_no_container_at_azure(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", nowhere)
    monkeypatch.setenv(ACCOUNT, "account")
    monkeypatch.setenv(KEY, "c2VjcmV0")
    assert said("az://missing-there/x") == "There is no bucket az://missing-there; make it, or name another."


def test_wrong_keys_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ACCOUNT, "account")
    monkeypatch.setenv(KEY, "not-base64!secret")
    found = said("az://wrong-keys/x")
    assert found.startswith("az://wrong-keys refuses this")
    assert "secret" not in found
    (tmp_path / "key.json").write_text('{"private_key": "hidden"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    found = said("gs://wrong-keys/x")
    assert found.startswith("gs://wrong-keys refuses this")
    assert "hidden" not in found


def test_no_account_at_azure() -> None:
    assert "check AZURE_STORAGE_ACCOUNT_NAME" in said("az://no-account/x")
