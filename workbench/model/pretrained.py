"""What `from_pretrained` needs looked at around it: a hub that cannot be reached, a checkpoint with holes, an error's first line.

Whether the hub can be reached is asked once: its own client tries each file six times in half a minute. Only what never reached
it counts (no name, no route, refused, timed out). Whatever it answers is left to transformers.
"""

import errno
import socket
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from workbench.errors import WorkbenchError, listed
from workbench.paths import given_path

_SECONDS = 5.0
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_NO_NETWORK = (socket.gaierror, ConnectionError, TimeoutError)


def hub_unreachable(name: str, options: dict[str, Any]) -> str | None:
    """Why the hub cannot be asked for `name`; None when it can, and when nobody would ask it.

    options: what goes to `from_pretrained`.
    """
    from huggingface_hub import constants

    if given_path(name).exists() or options.get("local_files_only") or constants.HF_HUB_OFFLINE:
        return None
    host = constants.ENDPOINT
    try:
        with urlopen(Request(host, method="HEAD"), timeout=_SECONDS):  # an https address, out of the hub's own settings
            return None
    except HTTPError:
        return None  # an answer
    except (URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, _NO_NETWORK) or getattr(reason, "errno", None) in _UNREACHABLE:
            return f"{host} cannot be reached: {getattr(reason, 'strerror', None) or reason}"
        return None  # a certificate, a proxy: transformers may know how


def check_whole(name: str, hf: Any, report: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` for parameters that the checkpoint does not have: transformers fills them with random numbers."""
    lost = sorted({key for key, _ in hf.named_parameters()} & set(report["missing_keys"]))
    if lost:
        raise WorkbenchError(
            f"The checkpoint '{name}' has no values for {len(lost)} of the parameters of a {type(hf).__name__} "
            f"({listed(lost, 2)}), which would be random; take a complete checkpoint of this architecture."
        )


def first_line(error: Exception) -> str:
    """The first line of what an error says, as a sentence; its name when it says nothing."""
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.!')}." if lines else f"{type(error).__name__}."
