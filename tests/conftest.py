"""Shared fixtures. Everything runs offline, on the CPU, with one torch thread per worker unless OMP_NUM_THREADS says more.

The header of a run says which instructions and how many threads it really used: results are promised on any processor.
"""

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from importlib.util import find_spec

import pytest
import torch

if find_spec("hypothesis"):  # tests/gpu runs where there is none
    from hypothesis import settings

    settings.register_profile("workbench", deadline=None)  # a contended machine is no bug
    settings.load_profile("workbench")
# what is kept between loads lies in a folder of this run, never in the user's; `make real` names the one with its wheels
if not os.environ.get("WORKBENCH_REAL"):
    _CACHE = tempfile.TemporaryDirectory(prefix="workbench-cache-", ignore_cleanup_errors=True)
    os.environ["WORKBENCH_CACHE"] = _CACHE.name
THREADS = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0] or 1)
torch.set_num_threads(THREADS)  # the machine's cores belong to the workers


ISAS = {"AVX2": "Intel AVX2", "AVX512_CORE": "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions"}


def pytest_report_header() -> list[str]:
    """What torch and oneDNN do here, by their own account while they compute. A switch that switched nothing is an error."""
    aten, isa = os.environ.get("ATEN_CPU_CAPABILITY"), os.environ.get("ONEDNN_MAX_CPU_ISA")
    capability, told = torch.backends.cpu.get_cpu_capability(), onednn()
    if aten and capability.lower() != aten.lower():
        raise pytest.UsageError(f"ATEN_CPU_CAPABILITY={aten} did nothing: torch computes with {capability}.")
    if isa and isa in ISAS and told[0] != ISAS[isa]:
        raise pytest.UsageError(f"ONEDNN_MAX_CPU_ISA={isa} did nothing: oneDNN computes with {told[0]}.")
    switches = [f"{k}={v}" for k, v in (("ATEN_CPU_CAPABILITY", aten), ("ONEDNN_MAX_CPU_ISA", isa)) if v]
    used = f"torch {capability}, threads {torch.get_num_threads()}, oneDNN {', '.join(told)}"
    return [f"processor: {' '.join(switches) or 'as it is'}: {used}"]


def onednn() -> list[str]:
    """oneDNN's instruction set, and what multiplies matrices in fp32 and in bf16."""
    x = torch.ones(1, 4, 8, 8)
    isa = [line.split("isa:")[1] for line in verbose(lambda: torch.conv2d(x, x)) if "cpu,isa:" in line]
    found = isa[:1] or ["unused"]
    for dtype in (torch.float32, torch.bfloat16):
        y = torch.ones(64, 64, dtype=dtype)
        ran = [line.split(",")[6] for line in verbose(lambda y=y: torch.nn.functional.linear(y, y)) if ",exec," in line]
        found.append(f"{str(dtype).removeprefix('torch.')} products by {ran[0] if ran else 'torch itself'}")
    return found


def verbose(run: Callable[[], object]) -> list[str]:
    """The lines that oneDNN prints about `run()`, to the stdout of the process and not of Python."""
    with tempfile.TemporaryFile("w+") as file:
        before = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                run()
        finally:
            os.dup2(before, 1)
            os.close(before)
        file.seek(0)
        return file.read().splitlines()


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[Any]]]:
    """A judge: yes to whatever holds "cannot", no to the rest, an essay to "hmm", an error to "boom", junk to "junk"."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body, self.headers.get("Authorization")))
            text = body["messages"][0]["content"]
            said = "Yes." if "cannot" in text else "It depends." if "hmm" in text else "no"
            reply = {"choices": [{"message": {"content": said}}]} if "junk" not in text else {"error": "?"}
            self.send_response(500 if "boom" in text else 200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    server.server_close()
