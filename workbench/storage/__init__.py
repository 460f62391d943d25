"""Bytes that survive a crash: files that are whole or not there, and locks that end with their process.

disk.py       what every disk can do: read a range, write if absent, list, delete
folder.py     a folder of this machine as a disk
bucket.py     a part of a bucket of object storage as a disk
clients.py    reaching object storage, and waiting out its outages
profiles.py   keys, region and endpoint out of ~/.aws, where the environment is silent
refusals.py   what it says when it cannot do what it was asked
disks.py      which disk a place is on
files.py      written under a temporary name, flushed, renamed; read, checksummed, and refused in one sentence
plain_json.py numbers and tables as JSON has them
locks.py      who of several processes is at work on a folder's part
"""

from workbench.storage.bucket import Bucket
from workbench.storage.clients import RETRY, Outage, Waiting, reached_before
from workbench.storage.disk import Disk, Entry
from workbench.storage.disks import disk_of
from workbench.storage.files import (
    check_spelling,
    check_writable,
    create_json,
    disk_errors,
    publish,
    read_json,
    replacing,
    sha256,
    temporary,
    tidy,
    write_json,
    write_text,
)
from workbench.storage.folder import WRITING, Folder
from workbench.storage.locks import held, locked
from workbench.storage.plain_json import jsonable

__all__ = [
    "RETRY",
    "WRITING",
    "Bucket",
    "Disk",
    "Entry",
    "Folder",
    "Outage",
    "Waiting",
    "check_spelling",
    "check_writable",
    "create_json",
    "disk_errors",
    "disk_of",
    "held",
    "jsonable",
    "locked",
    "publish",
    "reached_before",
    "read_json",
    "replacing",
    "sha256",
    "temporary",
    "tidy",
    "write_json",
    "write_text",
]
