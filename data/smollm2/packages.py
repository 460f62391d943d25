"""Debian packages that hold text, by version and SHA-256; fetched and unpacked, never installed."""

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A package of Debian 12, the version that was read, and the SHA-256 of its file."""

    name: str
    version: str
    sha256: str


PACKAGES = tuple(
    Package(*line.split())
    for line in """
anarchism 15.3-3 cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948
debian-handbook 11.20220922 3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa
debian-reference-de 2.100 3b0ce65fd63e75ddf8eb07ca36293425135080e690a07e06a6ac8bc8040ef0aa
developers-reference-de 12.18 281f0c2b24139e0ac83117c3e95b60458a6644fe14c82cf9ea78e87ea8c175d7
fortunes 1:1.99.1-7.3 41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5
fortunes-de 0.35-1 03fe7a7912935bd3d4e02e38d79ef32a289097f8718d4488c409595abce067a0
gnome-user-docs 43.0-2 0d635a840747958ca84da778b40d341f1155603851f922c9a171f5a181d6a39f
python3-networkx 2.8.8-1 69888603d1b54696f5c3d02d05527628d2d18661d845109a62fe24aff241aa7b
python3-nltk 3.8-1 8b27ee6cdac2aadc54c1322cbcf7f4c0d0a591ef4d25eab8b17f84374a927ac7
python3-sqlalchemy 1.4.46+ds1-1 141f3ed680b5de944c82aff900b1aeb4909a5d17ee0ddd3d697e250b5f765468
python3-sympy 1.11.1-1 b437232be31819aafd267ddf2132c16293ef75e02fd58b4ad31eee3ef1d5b49e
r-cran-janeaustenr 1.0.0-1 df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95
""".strip().splitlines()
)


def unpacked(folder: Path) -> Path:
    """The folder that holds each package's files under its name; those that lack are fetched with apt-get.

    Raises `SystemExit` naming a package whose file is not the one that was read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not (folder / package.name).exists():
            file = _fetched(folder, package)
            subprocess.run(["dpkg-deb", "-x", file, folder / package.name], check=True)
            file.unlink()
    return folder


def _fetched(folder: Path, package: Package) -> Path:
    asked = f"{package.name}={package.version}"
    subprocess.run(["apt-get", "download", "-qq", asked], cwd=folder, check=True)
    (file,) = folder.glob(f"{package.name}_*.deb")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{file} has the SHA-256 {found}; {asked} had {package.sha256}. Find that file.")
    return file
