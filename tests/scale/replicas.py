"""The processes of the replicas that a driver began, as the machine has them."""

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
REPLICA, AT_WORK = "ray::Replica", "ray::Replica.do"


def replicas_of(driver: "subprocess.Popen[Any]", name: str = REPLICA) -> list[psutil.Process]:
    """Those of a name: all, or those that are at work."""
    found = list[psutil.Process]()
    with suppress(psutil.NoSuchProcess):  # it ended meanwhile
        for one in psutil.Process(driver.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += [one] if "".join(one.cmdline()).startswith(name) else []
    return found
