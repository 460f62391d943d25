"""A server that speaks NDIF's protocol as nnsight's client does, for one model folder, in a process that has no workbench.

    python tests/workbench/backends/ndif_server.py FOLDER VERSIONS_JSON      prints its port, serves until it is killed

Three routes: GET /env (versions), the websocket /subscribe, POST /request (the trace as nnsight serialises it). What a trace
sends must be enough for a machine where none of our modules can be imported.
"""

import base64
import hashlib
import io
import json
import sys
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

sys.modules.update(dict.fromkeys(("workbench", "probes", "workbench_app", "tests")))  # as if they were not installed
sys.path[:] = [p for p in sys.path if "site-packages" in p or "lib/python" in p]

import torch  # noqa: E402
import zstandard  # noqa: E402
from nnsight import TransformersModel  # noqa: E402
from nnsight.schema.request import RequestModel  # noqa: E402
from nnsight.schema.response import ResponseModel, Status  # noqa: E402
from nnsight.tracing import tracer as tracing  # noqa: E402
from transformers import AutoModelForCausalLM, ByT5Tokenizer  # noqa: E402

FOLDER, VERSIONS = sys.argv[1], json.loads(sys.argv[2])
torch.set_num_threads(1)
HF = AutoModelForCausalLM.from_pretrained(FOLDER).eval()
MODEL = TransformersModel(HF, task="text-generation", tokenizer=ByT5Tokenizer(extra_ids=125))
SOCKETS: dict[str, Any] = {}


def run(blob: bytes, compressed: bool) -> bytes:
    """The saved values of a trace, as the server sends them."""
    tracer = RequestModel.deserialize(blob, MODEL._remoteable_persistent_objects(), compressed)
    tracing.inc()
    try:
        tracer.execute(tracer.info.code)
        marked = tracing._saves()
        kept = {k: v for k, v in tracer.info.frame.f_locals.items() if id(v) in marked}
    finally:
        tracing.dec()
    file = io.BytesIO()
    torch.save(kept, file)
    return zstandard.ZstdCompressor().compress(file.getvalue()) if compressed else file.getvalue()


def frame(kind: int, payload: bytes) -> bytes:
    """One websocket frame, unmasked."""
    n = len(payload)
    size = bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2) if n < 1 << 16 else b"\x7f" + n.to_bytes(8)
    return bytes([0x80 | kind]) + size + payload


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/env":
            self.answer(json.dumps({"python_version": sys.version, "packages": VERSIONS}).encode())
            return
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        SOCKETS["one"] = self
        self.wfile.write(frame(1, json.dumps({"session_id": "one"}).encode()))
        while self.rfile.read(1):  # until the client closes
            pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = message_from_bytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        ).get_payload()
        data, blob = (part.get_payload(decode=True) for part in parts)
        if self.headers.get("ndif-api-key") != "right":
            self.answer(json.dumps({"detail": "Invalid API key"}).encode(), 401)
            return
        self.answer(ResponseModel(id="job", status=Status.RECEIVED).model_dump_json().encode())
        compressed = json.loads(data)["compress"]
        try:
            done = ResponseModel(id="job", status=Status.COMPLETED, data=run(blob, compressed))
            SOCKETS["one"].wfile.write(frame(2, done.pickle()))
        except Exception as error:  # noqa: BLE001 - the client is told
            failed = ResponseModel(id="job", status=Status.ERROR, description=f"{type(error).__name__}: {error}")
            SOCKETS["one"].wfile.write(frame(1, failed.model_dump_json().encode()))

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever).start()
