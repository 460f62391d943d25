"""A file over HTTP that goes on where an earlier try ended, as far as its server allows."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.checkpoints.index import SECONDS, Link, trouble
from workbench.errors import WorkbenchError
from workbench.progress import Report, Transfer, megabytes

if TYPE_CHECKING:
    from requests import Response, Session

_BLOCK = 1 << 15  # of one that is cut short, what came is lost


def download(session: "Session", link: Link, part: Path, size: int, report: Report | None) -> None:
    """Fetches `size` bytes into `part`, after those that lie there. A connection that breaks is made again while it brings bytes.

    Raises `WorkbenchError` where it brings none; what came stays in `part`.
    """
    from requests import RequestException

    if part.exists() and part.stat().st_size >= size:  # whole, or of something else: its checksum did not count
        part.unlink()
    while (had := _length(part)) < size:
        why = "ends too soon"
        try:
            with session.get(link.url, headers=_rest(had), stream=True, timeout=SECONDS) as answer:
                answer.raise_for_status()
                _append(answer, part, size, report)
        except RequestException as error:
            why = trouble(error, link.url)
        if _length(part) <= had:
            raise WorkbenchError(
                f"{why} after {megabytes(had)} of {megabytes(size)}; try again, it goes on from there."
            )


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _rest(had: int) -> dict[str, str]:
    return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})


def _append(answer: "Response", part: Path, size: int, report: Report | None) -> None:
    """Writes what comes behind what is there, or anew where the server begins at the beginning. Never more than `size`."""
    goes_on = answer.status_code == 206
    if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {_length(part)}-"):
        part.unlink()  # a server that sends other bytes than it was asked for: the next try asks for all
        return
    begin = time.monotonic()
    with part.open("ab" if goes_on else "wb") as file:
        total, done = size - file.tell(), 0
        for block in answer.iter_content(_BLOCK):
            file.write(block[: total - done])
            done += len(block)
            if report is not None:
                report(Transfer(min(done, total), total, time.monotonic() - begin))
            if done >= total:
                return
