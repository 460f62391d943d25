"""NDIF: which versions fit, and errors on the way, with a stand-in for the server."""

from typing import Any

import httpx
import pytest

from tests.support.refusals import refused
from workbench.backends.nnsight import ndif
from workbench.errors import WorkbenchError


class TestNdif:
    def test_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("nnsight", reason="the extra 'interop' is not installed (nnsight)")
        import nnsight.ndif

        there, asked = {"torch": "2.13.9+cu12", "nnsight": "0.5.1", "other": "1", "transformers": "5.0.1"}, list[Any]()
        here = {"torch": "2.13.0+cpu", "nnsight": "0.5.1", "transformers": "5.0.1"}

        def get(url: str, timeout: float) -> Any:
            asked.append((url, timeout))
            return httpx.Response(200, json={"packages": there}, request=httpx.Request("GET", url))

        monkeypatch.setattr(httpx, "get", get)
        monkeypatch.setattr(nnsight.ndif, "get_local_env", lambda: {"packages": here})
        monkeypatch.setattr(nnsight.ndif, "CRITICAL_PACKAGES", {"torch", "nnsight", "transformers", "absent"})
        ndif.check_versions("http://h")
        assert asked == [("http://h/env", 10.0)]
        there |= {"torch": "2.14.0", "transformers": "5.0.2"}
        assert refused(ndif.check_versions, "http://h") == (
            "NDIF at http://h runs other versions (torch 2.13.0+cpu here and 2.14.0 there, transformers 5.0.1 here "
            "and 5.0.2 there), "
            "so modules and their forwards may differ; install the server's versions here."
        )

        def fails(url: str, timeout: float) -> Any:
            raise httpx.ConnectError("first\nnobody is there.")

        monkeypatch.setattr(httpx, "get", fails)
        assert refused(ndif.check_versions, "http://h") == (
            "NDIF could not be reached at http://h (nobody is there); check the network and `nnsight.status()`, or "
            "capture a model "
            "that is loaded here."
        )

    def test_errors_on_the_way(self) -> None:
        class RemoteError(Exception):
            pass

        def run(remote: Any, error: Exception) -> None:
            with ndif.plainly(remote):
                raise error

        assert refused(run, True, RemoteError("a\nit broke.")) == "NDIF did not run the trace: it broke"
        assert refused(run, "http://h", httpx.ReadTimeout("")) == "NDIF did not run the trace: ReadTimeout"
        assert refused(run, True, WorkbenchError("ours")) == "ours"
        for remote, error in ((False, RemoteError("x")), ("local", RemoteError("x")), (True, KeyError("x"))):
            with pytest.raises(type(error)):
                run(remote, error)
        ndif.check_ndif(None, False)
        ndif.check_ndif(None, "local")
        with ndif.plainly(True):
            pass
