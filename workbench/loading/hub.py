"""Whether the Hugging Face hub can be reached, asked once: its own client tries each file six times in half a minute.

Only what never reached the hub counts (no name, no route, refused, timed out). Whatever it answers is left to transformers.
"""

import errno
import socket
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

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
