"""Where a package index has a wheel, asked the way pip is set up: its index, certificate and proxy."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from requests import Session

_PYPI = "https://pypi.org/simple"
_ACCEPTED = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
SECONDS = (10, 60)
"""How long a connection, and a pause within it, may take."""


class Pip(NamedTuple):
    """How pip reaches its packages."""

    indexes: tuple[str, ...]
    certificate: str | None = None
    proxy: str | None = None

    @classmethod
    def asked(cls) -> "Pip":
        """Of pip's configuration files and `PIP_...` variables; where there is no pip, of the variables alone."""
        said = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        found = settings(said.stdout) | {
            name.removeprefix("PIP_").lower().replace("_", "-"): value
            for name, value in os.environ.items()
            if name.startswith("PIP_")
        }
        indexes = [found.get("index-url") or _PYPI, *found.get("extra-index-url", "").split()]
        web = tuple(x for x in indexes if urlsplit(x).scheme in ("http", "https"))
        return cls(web, found.get("cert") or os.environ.get("SSL_CERT_FILE"), found.get("proxy"))


def settings(listed: str) -> dict[str, str]:
    """Of `pip config list`, the values that a download goes by: those of `[global]`, then `[download]`."""
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in found:
            found[section][name] = str(ast.literal_eval(value))
    return found["global"] | found["download"]


def connect(pip: Pip) -> "Session":
    """A session that goes the way pip goes; close it."""
    try:
        from requests import Session
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry
    except ImportError as error:
        raise WorkbenchError(
            "A wheel is fetched with requests, which is not installed: pip install requests, or give the file with --from."
        ) from error
    session = Session()
    session.verify = pip.certificate or True
    once_more = HTTPAdapter(
        max_retries=Retry(2, backoff_factor=0.2)
    )  # a kept connection may have been closed meanwhile
    session.mount("https://", once_more)
    session.mount("http://", once_more)
    if pip.proxy:
        session.proxies = {"http": pip.proxy, "https": pip.proxy}
        session.trust_env = False  # as pip does: variables would win over it
    return session


class Link(NamedTuple):
    """A file of an index: its address, and the SHA-256 that the index says it has."""

    url: str
    sha256: str | None

    @property
    def shown(self) -> str:
        """The address without a password."""
        return shown(self.url)


def wheel_links(
    session: "Session", index: str, package: str, filename: str, sha256: str
) -> tuple[list[Link], str | None]:
    """Where the index has the file, or why it cannot be had there."""
    if urlsplit(index).scheme not in ("http", "https"):
        raise WorkbenchError(
            f"'{shown(index)}' is no address of a package index; give one that begins with https://, or the file with --from."
        )
    page = f"{index.rstrip('/')}/{package}/"
    try:
        with session.get(page, headers={"Accept": _ACCEPTED}, timeout=SECONDS) as answer:
            answer.raise_for_status()
            links = _links(answer.text, answer.headers.get("Content-Type", ""))
    except OSError as error:  # what requests raises, and a certificate file that is not there
        return [], trouble(error, index)
    named = [Link(urljoin(page, x.url), x.sha256) for x in links if _name(x.url) == filename]
    fit = [x for x in named if x.sha256 in (sha256, None)]
    other = f"{shown(index)} has another file of that name" if named else f"{shown(index)} does not have it"
    return fit, None if fit else other


def _name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _links(text: str, kind: str) -> list[Link]:
    """The files of an index page, which is JSON (PEP 691) or HTML (PEP 503)."""
    if "json" not in kind:
        page = _Anchors()
        page.feed(text)
        return page.links
    import json

    try:
        return [Link(str(x["url"]), x.get("hashes", {}).get("sha256")) for x in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") if tag == "a" else None
        if href:
            url, fragment = urldefrag(href)
            self.links.append(Link(url, fragment.removeprefix("sha256=") if "sha256=" in fragment else None))


def trouble(error: OSError, address: str) -> str:
    """What went wrong at an address, in a few words."""
    import requests

    where = shown(address)
    answer: Any = getattr(error, "response", None)
    if answer is not None:
        return f"{where} answers {answer.status_code}"
    kinds: dict[type[Exception], str] = {
        requests.exceptions.SSLError: "has a certificate that is not trusted (PIP_CERT names a file with others)",
        requests.exceptions.ProxyError: "is not reached through the proxy",
        requests.Timeout: "gives no answer",
        requests.ConnectionError: "cannot be reached",
        requests.exceptions.ChunkedEncodingError: "breaks off",
    }
    return f"{where} " + next(
        (said for kind, said in kinds.items() if isinstance(error, kind)), f"cannot be read ({error})"
    )


def shown(address: str) -> str:
    """An address without the name and password that it may hold."""
    return re.sub(r"//[^/@]*@", "//", address)
