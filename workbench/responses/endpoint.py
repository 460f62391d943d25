"""What a model behind an OpenAI-compatible endpoint says, tried again while it is busy; every failure is one sentence.

One client for all questions keeps its connections open, and threads may share it.
"""

import json
import time
from typing import Any

import httpx

from workbench.errors import WorkbenchError

CONNECTIONS = 8
"""Open at once to one endpoint, at most."""
PAUSES = (0.5, 1.0)
"""Seconds before the second and the third try."""
BUSY = frozenset({429, 502, 503, 504})
"""Statuses of a server that may answer in a moment; any other error would come again."""


class Endpoint:
    """A server at `address`/chat/completions.

    key      for the Authorization header, or nothing; it is sent to this address alone, since no redirect is followed
    seconds  to connect, and for each part of the answer
    who      what it is called in sentences about what went wrong
    """

    def __init__(self, address: str, key: str, seconds: float, who: str = "judge") -> None:
        self._who = who
        self.url = address.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(timeout=seconds, limits=httpx.Limits(max_connections=CONNECTIONS))

    def said(self, body: dict[str, Any]) -> str:
        """The first choice's message.

        Raises `WorkbenchError` when the server cannot be reached, answers with an error, or not as such endpoints do.
        """
        try:
            answer = self._posted(json.dumps(body).encode()).raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"])
        except httpx.HTTPStatusError as error:
            status = f"{error.response.status_code} {error.response.reason_phrase}".strip()
            raise WorkbenchError(
                f"The {self._who} at {self.url} answered {status}; check its address, model name and key."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WorkbenchError(
                f"The {self._who} at {self.url} cannot be reached ({error or type(error).__name__}); start it, or leave it out."
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise WorkbenchError(
                f"The {self._who} at {self.url} did not answer as an OpenAI-compatible endpoint does ({error!r})."
            ) from error

    def _posted(self, content: bytes) -> httpx.Response:
        """The answer of the first try that was no busy server and no broken connection; else the last one's."""
        for pause in PAUSES:
            try:
                answer = self._client.post(self.url, content=content, headers=self._headers)
            except httpx.TimeoutException:
                raise  # it had its time
            except httpx.TransportError:
                time.sleep(pause)
                continue
            if answer.status_code not in BUSY:
                return answer
            time.sleep(pause)
        return self._client.post(self.url, content=content, headers=self._headers)
