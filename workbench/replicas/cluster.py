"""Where replicas run: a Ray cluster that is there, or one that is started on this machine and ends with the block."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

from workbench.errors import WorkbenchError

HERE = "local"
_WAITED = 5.0
"""Seconds for an address to answer."""


@dataclass(frozen=True)
class Cluster:
    """Replicas on a cluster.

    address  `local` starts Ray on this machine, on localhost, without its dashboard; else HOST:PORT of a cluster's head.
             **Whoever reaches a cluster's ports can run code on it**: keep them behind a firewall
    workers  replicas of the model
    gpus     GPUs of each; 0 for the CPU
    """

    address: str = HERE
    workers: int = 2
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise WorkbenchError(f"{self.workers} workers do nothing; ask for at least one.")
        if self.gpus < 0:
            raise WorkbenchError(f"A worker cannot have {self.gpus:g} GPUs; give 0 or more.")

    @contextmanager
    def running(self) -> Iterator[Any]:
        """The `ray` module, connected. Raises `WorkbenchError` where it is not installed, not reached or too small.

        What is printed meanwhile goes to stderr: Ray itself says on stdout which workers died, amid what --json prints.
        """
        with redirect_stdout(sys.stderr):
            yield from self._running(_installed())

    def _running(self, ray: Any) -> Iterator[Any]:
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if self.address == HERE:
            gpus = {"num_gpus": self.gpus * self.workers} if self.gpus else {}
            where = {"num_cpus": self.workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1", **gpus}
        else:
            _check_answers(self.address)
            where = {"address": self.address}
        try:
            ray.init(**where, **quiet)
        except Exception as error:  # Ray has no kind of its own for what keeps it from starting
            raise WorkbenchError(_unreached(self.address, _first_line(error))) from error
        try:
            self._check_room(ray)
            yield ray
        finally:
            ray.shutdown()

    def _check_room(self, ray: Any) -> None:
        """Replicas that no machine has room for would wait for ever."""
        there = ray.cluster_resources()
        for name, each in (("CPU", 1.0), ("GPU", self.gpus)):
            if each * self.workers > there.get(name, 0.0):
                raise WorkbenchError(
                    f"{self.workers} workers with {each:g} {name} each do not fit into the cluster at {self.address}, which has "
                    f"{there.get(name, 0.0):g}; ask for fewer, or start more machines."
                )


def _installed() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]  # an extra
    except ImportError as error:
        raise WorkbenchError(
            "Ray, which spreads work over processes, is not installed; run `pip install 'moe-workbench[ray]'`."
        ) from error
    return ray


def _check_answers(address: str) -> None:
    """Ray itself waits for minutes, with lines of its own."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise WorkbenchError(f"'{address}' is no address of a Ray cluster; give HOST:PORT of its head, or {HERE}.")
    with suppress(OSError):
        socket.create_connection((host, int(port)), timeout=_WAITED).close()
        return
    raise WorkbenchError(_unreached(address, "nothing answers there"))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _unreached(address: str, why: str) -> str:
    if address == HERE:
        return f"Ray did not start on this machine ({why}); give HOST:PORT of a cluster that runs, or leave --ray away."
    return f"The Ray cluster at {address} is not reached ({why}); give HOST:PORT of its head, or {HERE} for one on this machine."
