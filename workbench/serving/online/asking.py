"""A server asked over HTTP: JSON, or an answer's events as they come. What goes wrong is one sentence."""

import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from workbench.errors import WorkbenchError

KEY = "VLLM_API_KEY"
"""The variable that holds the server's key, there and here."""
_LOCAL = ("127.0.0.1", "localhost", "::1")
_PATIENCE = httpx.Timeout(10, read=600)  # an answer may have to wait for its turn


class Asking:
    """One server."""

    def __init__(self, url: str) -> None:
        self.url, key = url.rstrip("/"), os.environ.get(KEY)
        try:
            host = httpx.URL(self.url).host
        except httpx.InvalidURL as error:
            raise WorkbenchError(f"'{url}' is no address of a server; give one like http://localhost:8000.") from error
        if not self.url.startswith(("http://", "https://")):
            raise WorkbenchError(f"'{url}' is no address of a server; give one like http://localhost:8000.")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=_PATIENCE, trust_env=host not in _LOCAL)

    def get(self, path: str) -> Any:
        """The JSON there."""
        with self._sentences():
            reply = self.client.get(path)
            self._check(reply)
            return reply.json()

    def events(self, path: str, asked: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The events of an answer; closing the iterator hangs up."""
        with self._sentences(), self.client.stream("POST", path, json={**asked, "stream": True}) as reply:
            if reply.is_error:
                reply.read()
            self._check(reply)
            for line in reply.iter_lines():
                said = line.removeprefix("data:").strip()
                if not said or said == "[DONE]":
                    continue
                event = json.loads(said)
                if "error" in event:
                    raise WorkbenchError(f"The server at {self.url} said: {_message(event)}")
                yield event

    def _check(self, reply: httpx.Response) -> None:
        if reply.status_code == 401:
            raise WorkbenchError(f"The server at {self.url} wants a key; set {KEY} to one that it was started with.")
        if reply.is_error:
            try:
                said = _message(reply.json())
            except ValueError:
                said = f"HTTP {reply.status_code}"
            raise WorkbenchError(f"The server at {self.url} said: {said}")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError) as error:
            raise WorkbenchError(
                f"The server at {self.url} does not answer as `workbench serve` does ({type(error).__name__}: {error!s:.200}); "
                f"look whether it runs, and give the address that it printed."
            ) from error


def _message(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("message", error) if isinstance(error, dict) else error or said)[:600]
