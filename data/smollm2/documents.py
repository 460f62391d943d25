"""Documents of three kinds out of the packages: English prose, German, Python code; each text once."""

import re
from collections.abc import Iterator
from pathlib import Path

from workbench.factorization.distilling import Document

from .plain import page_text, read, sayings, strings_of_r

_SHORT = 800
"""Characters that a document has at least."""
_LICENCE = 3000
"""Characters at a code file's head that are its licence at most, and are left out."""
_PAGES = (
    ("prose", "anarchism", "*.html"),
    ("prose", "debian-handbook", "en-US/*.html"),
    ("prose", "gnome-user-docs", "C/*/*.page"),
    ("german", "debian-handbook", "de-DE/*.html"),
    ("german", "debian-reference-de", "*.html"),
    ("german", "developers-reference-de", "*.html"),
    ("german", "gnome-user-docs", "de/*/*.page"),
)
_SAYINGS = (("prose", "fortunes"), ("german", "fortunes-de"))
_CODE = ("python3-networkx", "python3-nltk", "python3-sqlalchemy", "python3-sympy")


def documents(unpacked: Path) -> Iterator[Document]:
    """All of them, in an order that hangs on the packages alone."""
    found = (*_pages(unpacked), *_fortunes(unpacked), *_novels(unpacked), *_code(unpacked))
    yield from dict.fromkeys(document for document in found if len(document.text) >= _SHORT)


def _pages(unpacked: Path) -> Iterator[Document]:
    for kind, package, pattern in _PAGES:
        for path in sorted((unpacked / package).rglob(pattern)):
            yield Document(kind, page_text(read(path)))


def _fortunes(unpacked: Path) -> Iterator[Document]:
    for kind, package in _SAYINGS:
        for path in sorted((unpacked / package).rglob("games/fortunes/**/*")):
            if path.is_file() and not path.suffix and "off" not in str(path):
                yield from (Document(kind, text) for text in sayings(read(path)))


def _novels(unpacked: Path) -> Iterator[Document]:
    """Jane Austen's, a chapter a document."""
    for path in sorted((unpacked / "r-cran-janeaustenr").rglob("*.rdb")):
        for lines in strings_of_r(path.read_bytes()):
            for chapter in (
                re.split(r"\n(?=(?:CHAPTER|Chapter|VOLUME) )", "\n".join(lines)) if len(lines) > 3000 else ()
            ):
                yield Document("prose", re.sub(r"(?<=\S)\n(?=\S)", " ", chapter))


def _code(unpacked: Path) -> Iterator[Document]:
    for package in _CODE:
        for path in sorted((unpacked / package).rglob("*.py")):
            text = read(path)
            start = text.find("\n", min(len(text) // 3, _LICENCE)) + 1
            yield Document("code", text[start:])
