"""A stub of `workbench serve`: HTTP and events as vLLM's server with our gate sends them, and the table by hand behind it.

It waits with every answer's second token until as many answers as `together` have begun, so that who asks one after the other
is never answered.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.engines import Table, receivers
from workbench import Plan, WorkbenchError
from workbench.backends import Capabilities
from workbench.generation import Decoding
from workbench.plan import sent_plan
from workbench.routing import DoseCounts
from workbench.serving.online import PATH, telling
from workbench.serving.server.wording import about, dosed, refusal

CAN = Capabilities("vllm", edits=frozenset({"off"}), scopes=frozenset(), why={"edits": "it is not in the table"})


class PlanServer(ThreadingHTTPServer):
    """asked: the bodies that came; hung_up: answers that nobody heard to their end."""

    daemon_threads = True

    def __init__(self, together: int = 1, key: str = "", everywhere: Plan | None = None, cut: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.table, self.key, self.everywhere, self.cut = Table(), key, everywhere or Plan(), cut
        self.asked, self.hung_up = list[dict[str, Any]](), 0
        self.begun = threading.Barrier(together)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def plan(self, said: dict[str, Any]) -> Plan:
        text = (said.get("vllm_xargs") or {}).get("expert_plan")
        sent = Plan() if text is None else sent_plan(text, self.table.facts.anatomy)
        return (self.everywhere | sent).check(self.table.facts.anatomy)


class _Handler(BaseHTTPRequestHandler):
    server: PlanServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        return None

    def do_GET(self) -> None:
        facts = self.server.table.facts
        told: dict[str, Any] = {"/v1/models": {"data": [{"id": "served"}]}}
        told[PATH] = telling(facts, CAN, self.server.everywhere)
        self._json(200 if self.path in told else 404, told.get(self.path, refusal("not here", 404)))

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(said)
        try:
            plan = self.server.plan(said)
        except WorkbenchError as error:
            return self._json(400, refusal(error))
        try:
            self._events(said, plan)
        except OSError:
            self.server.hung_up += 1
        return None

    def _events(self, said: dict[str, Any], plan: Plan) -> None:
        how = Decoding(said["max_tokens"], stop=frozenset(said["stop_token_ids"]))
        off = frozenset(edit.expert.expert for edit in plan.edits)
        answer = self.server.table.answer(said["prompt"], off, how)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for n, token in enumerate(answer):
            if n == 1:
                self.server.begun.wait(20)
            ends = n == len(answer) - 1
            logprobs = {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:7": -1.5, f"token_id:{token}": -0.5}]}
            event: dict[str, Any] = {"choices": [{"token_ids": [token], "logprobs": logprobs}]}
            event["choices"][0]["finish_reason"] = "stop" if ends else None
            self._event(event | ({"expert_plan": self._told(said["prompt"], answer, plan)} if ends and plan else {}))
            if self.server.cut:
                return self._event({"error": {"message": "the engine has ended", "code": 500}})
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _told(self, prompt: list[int], answer: list[int], plan: Plan) -> dict[str, Any]:
        row = [*prompt, *answer[:-1]]
        off = frozenset(edit.expert.expert for edit in plan.edits)
        moved = sum(a != b for a, b in zip(receivers(row), receivers(row, off), strict=True))
        counts = DoseCounts(len(row), moved, len(row), moved, 0)
        return about(plan, self.server.everywhere, self.server.table.facts.anatomy) | {"dose": dosed(counts, 0)}

    def _event(self, said: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(said).encode() + b"\n\n")
        self.wfile.flush()

    def _json(self, status: int, said: Any) -> None:
        given = self.headers.get("authorization", "")
        if self.server.key and given != f"Bearer {self.server.key}":
            status, said = 401, {"error": "Unauthorized"}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def plan_server(**how: Any) -> Iterator[PlanServer]:
    """One that runs until the block ends."""
    server = PlanServer(**how)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
