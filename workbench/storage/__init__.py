"""Bytes that survive a crash: files that are whole or not there, and locks that end with their process.

files.py      written under a temporary name, flushed, renamed; read, checksummed, and refused in one sentence
plain_json.py numbers and tables as JSON has them
locks.py      who of several processes is at work on a folder's part
"""

from workbench.storage.files import (
    WRITING,
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
from workbench.storage.locks import held, locked
from workbench.storage.plain_json import jsonable

__all__ = [
    "WRITING",
    "check_spelling",
    "check_writable",
    "create_json",
    "disk_errors",
    "held",
    "jsonable",
    "locked",
    "publish",
    "read_json",
    "replacing",
    "sha256",
    "temporary",
    "tidy",
    "write_json",
    "write_text",
]
