"""Text out of HTML pages, fortune files and the data of R packages."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

_BLOCKS = frozenset(
    (
        "p",
        "div",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "pre",
        "tr",
        "br",
        "title",
        "dt",
        "dd",
        "note",
        "item",
        "section",
    )
)
_HIDDEN = frozenset(["script", "style", "nav", "head", "noscript", "info"])


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts, self.hidden, self.pre = list[str](), 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in _HIDDEN
        self.pre += tag == "pre"
        self.parts += ["\n"] * (tag in _BLOCKS)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in _HIDDEN))
        self.pre = max(0, self.pre - (tag == "pre"))
        self.parts += ["\n"] * (tag in _BLOCKS)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data if self.pre else re.sub(r"\s+", " ", data))


def page_text(html: str) -> str:
    """What a reader sees of a page, a paragraph a line."""
    page = _Page()
    page.feed(html)
    lines = re.sub(r"[ \t]*\n[ \t]*", "\n", "".join(page.parts))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def read(path: Path) -> str:
    """A file's text, unpacked where it is gzipped; latin-1 where it is no UTF-8."""
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def sayings(text: str, together: int = 12) -> Iterator[str]:
    """A fortune file's sayings, so many in a document."""
    parts = [part.strip() for part in text.split("\n%\n")]
    for i in range(0, len(parts), together):
        yield "\n\n".join(parts[i : i + together])


def strings_of_r(raw: bytes) -> Iterator[list[str]]:
    """The character vectors of an R database file (.rdb): zlib streams, strings as flags, length and bytes."""
    at = raw.find(b"\x78\x9c")
    while at >= 0:
        with suppress(zlib.error):  # two bytes that only look like the beginning of a stream
            yield _strings(zlib.decompressobj().decompress(raw[at:]))
        at = raw.find(b"\x78\x9c", at + 2)


def _strings(stream: bytes) -> list[str]:
    found, at = list[str](), stream.find(b"\x00\x04\x00\x09")
    while at >= 0:
        length = int.from_bytes(stream[at + 4 : at + 8], "big")
        is_line = length < 400
        if is_line:
            found.append(stream[at + 8 : at + 8 + length].decode("utf-8", "replace"))
        at = stream.find(b"\x00\x04\x00\x09", at + (8 + length if is_line else 4))
    return found
