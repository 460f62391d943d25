"""Bytes that survive a crash: files that are whole or not there, and locks that end with their process.

files   written under a temporary name, flushed, renamed; read, checksummed, and refused in one sentence
locks   who of several processes is at work on a folder's part
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
from workbench.storage.locks import locked

__all__ = [
    "WRITING",
    "check_spelling",
    "check_writable",
    "create_json",
    "disk_errors",
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
