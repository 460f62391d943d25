"""What object storage says when it cannot do what it was asked: an outage to wait out, or a refusal in one sentence."""

import re

from workbench.paths import KEYS, Address

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d+)[^:<\n]*")
_NO_KEYS = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")
"""Where a machine's own role is asked for once no key was found."""
_OPEN = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE", "memory": "NO"}
"""How the variables of each storage begin."""


def bucket_of(place: Address) -> str:
    """The bucket, as an address."""
    return f"{place.scheme}://{place.bucket}"


def is_outage(error: Exception) -> bool:
    """Whether the same request may work later: no answer, or one that says that the server is not well."""
    text = str(error)
    if any(host in text for host in _NO_KEYS):
        return False
    status = _STATUS.search(text)
    return (
        int(status[1]) in (408, 429) or int(status[1]) >= 500
        if status
        else "HTTP error: " in text and "builder" not in text
    )


def reason_of(error: Exception) -> str:
    """The reason in a few words, without addresses: the storage's own code, its status, or the end of the first line."""
    text = str(error)
    if any(host in text for host in _NO_KEYS):
        return "no credentials"
    if code := _CODE.search(text):
        return code[1]
    if status := _STATUS.search(text):
        return status[0].strip()
    return text.splitlines()[0].rpartition(" - ")[2].removeprefix("HTTP error: ").strip()[:120] or type(error).__name__


def refusal(place: Address, reason: str) -> str:
    """One sentence for what asking again would not change."""
    bucket, keys = bucket_of(place), KEYS[place.scheme]
    if reason in ("NoSuchBucket", "ContainerNotFound"):
        return f"There is no bucket {bucket}; make it, or name another."
    if reason == "no credentials":
        return (
            f"{bucket} was asked without credentials; set {keys}, or {_OPEN[place.scheme]}_SKIP_SIGNATURE=true where everybody "
            f"may read."
        )
    return f"{bucket} refuses this ({reason}); check {keys}, and what they are allowed."
