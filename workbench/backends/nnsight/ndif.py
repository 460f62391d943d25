"""NDIF, where nnsight runs models that are too large to load: what must hold before anything is sent, errors as sentences."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from workbench.errors import WorkbenchError
from workbench.model import first
from workbench.records import magnitude

_CONNECTIONS = {"httpx", "httpcore", "websockets", "websocket", "huggingface_hub"}


def check_ndif(wrapped: Any, remote: bool | str) -> None:
    """Raises `WorkbenchError` unless a trace of this nnsight model can be sent: a hub id, a key, a server, equal versions.

    `remote` as nnsight has it: False and "local" send nothing; True or a host's URL do.
    """
    if not remote or remote == "local":
        return
    from nnsight.schema.config import CONFIG

    host = remote if isinstance(remote, str) else CONFIG.API.HOST
    if isinstance(wrapped.args[0] if wrapped.args else wrapped._module, nn.Module):
        raise WorkbenchError(
            "remote=True runs a checkpoint that NDIF serves, and this nnsight model was made from a model in this process; make "
            "it from the hub's name, TransformersModel('owner/name'), or leave remote away."
        )
    if not CONFIG.API.APIKEY:
        raise WorkbenchError(
            f"remote=True needs a key for {host}, and there is none; set NDIF_API_KEY, or run `nnsight login` once."
        )
    check_versions(host)


def check_versions(host: str) -> None:
    """Transformers and nnsight must be the server's, and torch up to the patch: names and forwards of modules differ else."""
    import httpx
    from nnsight.ndif import CRITICAL_PACKAGES, get_local_env

    try:
        there = httpx.get(f"{host}/env", timeout=10.0).raise_for_status().json()["packages"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise WorkbenchError(
            f"NDIF could not be reached at {host} ({_line(error)}); check the network and `nnsight.status()`, or capture a model "
            f"that is loaded here."
        ) from error
    here = get_local_env()["packages"]
    differing = [
        f"{name} {here.get(name)} here and {there[name]} there"
        for name in sorted(CRITICAL_PACKAGES & set(there))
        if _release(name, str(here.get(name))) != _release(name, str(there[name]))
    ]
    if differing:
        raise WorkbenchError(
            f"NDIF at {host} runs other versions ({', '.join(differing)}), so modules and their forwards may differ; install the "
            f"server's versions here."
        )


def _release(name: str, version: str) -> list[str]:
    """What of a version matters: not the build (2.13.0+cpu), and of torch not the patch."""
    return version.split("+")[0].split(".")[: 2 if name == "torch" else None]


@contextmanager
def plainly(remote: bool | str) -> Iterator[None]:
    """While open, what fails between here and the server, or on it, is one sentence. Local errors stay what they are."""
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        if not remote or remote == "local" or not _is_remote(error):
            raise
        raise WorkbenchError(f"NDIF did not run the trace: {_line(error)}") from error


def _is_remote(error: BaseException) -> bool:
    """Of nnsight's remote backend, of the connection, or of the hub that names the checkpoint."""
    roots = {c.__module__.split(".")[0] for c in type(error).__mro__}
    return type(error).__name__ == "RemoteError" or bool(
        roots & {"httpx", "httpcore", "websockets", "websocket", "huggingface_hub"}
    )


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__).rstrip(".")


@contextmanager
def shipped(*modules: ModuleType) -> Iterator[None]:
    """While open, functions of `modules` and of what they need are sent as source, for the server has no workbench."""
    import cloudpickle

    all_of_them = (*(sys.modules[function.__module__] for function in (magnitude, first)), *modules)
    for module in all_of_them:
        cloudpickle.register_pickle_by_value(module)
    _leave_in_sight("pandas", "pyarrow")
    try:
        yield
    finally:
        for module in all_of_them:
            cloudpickle.unregister_pickle_by_value(module)


def _leave_in_sight(*libraries: str) -> None:
    """remote="local" takes modules out of sys.modules for a moment; not these, which threads that write shards are using."""
    with suppress(ImportError):
        simulation: Any = import_module("nnsight.intervention.backends.local")
        getattr(simulation, "_SERVER_MODULES", set[str]()).update(libraries)
