"""Reaching object storage: one client a bucket, credentials as the SDKs find them, every failure one sentence.

Credentials, endpoint and region come from the environment (AWS_*, GOOGLE_*, AZURE_*), a profile of ~/.aws, or the machine's role.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any, TypeVar

from workbench.errors import WorkbenchError
from workbench.paths import Address, given_path
from workbench.storage.profiles import ENDPOINTS, Profile, profile
from workbench.storage.refusals import bucket_of, is_outage, reason_of, refusal

Answer = TypeVar("Answer")
RETRY = "WORKBENCH_RETRY"
"""The variable that says for how many seconds an outage is waited out; without it `PATIENCE`."""
PATIENCE = 120.0
_FIRST, _LONGEST = 0.2, 5.0
_clients, _lock = dict[tuple[str, str], Any](), Lock()
_blocks = list[object]()
"""The blocks of `reached_before` that this process is in; all its threads are."""


class Waiting(UserWarning):
    """Object storage does not answer, and is asked again for a while."""


class Outage(WorkbenchError):
    """Object storage answered and does so no longer: what was asked goes on when the same is asked again."""


def asked(place: Address, action: Callable[[Any, Any], Answer], what: str) -> Answer:
    """What `action` (given obstore and a client of the place's bucket) answers, asked again while there is an outage.

    Raises `FileNotFoundError` where there is no such object, and `WorkbenchError` where access is refused, the bucket is missing,
    or the outage lasts.
    """
    obstore = _library(place)
    client = _client(obstore, place)
    end, pause = time.monotonic() + _patience(), _FIRST
    while True:
        try:
            return action(obstore, client)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no '{place / what}'") from None
        except obstore.exceptions.BaseError as error:
            reason = reason_of(error)
            if not is_outage(error):
                raise WorkbenchError(refusal(place, reason)) from None
        if time.monotonic() + pause > end:
            raise Outage(
                f"{bucket_of(place)} no longer answers ({reason}); what was written is whole: run the same command again "
                f"when it does."
            )
        if pause == _FIRST:
            warnings.warn(
                f"{bucket_of(place)} does not answer ({reason}); asking again for a while.", Waiting, stacklevel=2
            )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)


@contextmanager
def reached_before() -> Iterator[None]:
    """During the block a bucket that was not asked yet is waited for as well: the process that began this one reached it."""
    block = object()
    _blocks.append(block)
    try:
        yield
    finally:
        _blocks.remove(block)


def _patience() -> float:
    given = os.environ.get(RETRY, "")
    try:
        return float(given) if given else PATIENCE
    except ValueError as error:
        raise WorkbenchError(f"{RETRY}='{given}' is no number of seconds; set it to one, such as 120.") from error


def _library(place: Address) -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise WorkbenchError(
            f"'{place}' lies on object storage, which needs obstore; run `pip install obstore`, or name a folder."
        ) from error
    return obstore


def _client(obstore: Any, place: Address) -> Any:
    """The bucket's client, made and tried when it is first asked for: without patience, since a mistake shows there."""
    with _lock:
        known = (place.scheme, place.bucket)
        if known not in _clients:
            if not _blocks:
                _try(obstore, place)
            _clients[known] = _made(obstore, place, retries=3, seconds=600)
        return _clients[known]


def _try(obstore: Any, place: Address) -> None:
    try:
        next(iter(obstore.list(_made(obstore, place, retries=0, seconds=5), place.key or None)), None)
    except obstore.exceptions.BaseError as error:
        reason = reason_of(error)
        said = f"{bucket_of(place)} cannot be reached ({reason}); check the endpoint, and whether its server runs."
        raise WorkbenchError(said if is_outage(error) else refusal(place, reason)) from None


def _made(obstore: Any, place: Address, *, retries: int, seconds: int) -> Any:
    """A client that takes credentials, endpoint and region from the environment, and for S3 from ~/.aws."""
    if place.scheme == "memory":
        return obstore.store.MemoryStore()
    kind = {"s3": obstore.store.S3Store, "gs": obstore.store.GCSStore, "az": obstore.store.AzureStore}[place.scheme]
    told = profile() if place.scheme == "s3" else Profile({}, None)
    options: dict[str, Any] = {"connect_timeout": "4s", "read_timeout": "20s", "timeout": f"{seconds}s"}
    endpoints = [told.options.get("endpoint", ""), *(os.environ.get(name, "") for name in _ENDPOINTS)]
    if any(endpoint.startswith("http://") for endpoint in endpoints):
        options["allow_http"] = True  # as the endpoint says; boto3 takes it at its word too
    if bundle := os.environ.get("AWS_CA_BUNDLE") or told.ca_bundle:
        options["root_certificate"] = given_path(bundle).read_bytes()
    return kind(
        place.bucket,
        client_options=options,
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=5 * retries)},
        **told.options,
    )


_ENDPOINTS = (*ENDPOINTS, "AZURE_STORAGE_ENDPOINT")
