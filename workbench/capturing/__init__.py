"""Prompts through a model into a store: begun, resumed, written shard by shard by one process or several.

start.py       `capture`: begins a store, or goes on with one that was begun
options.py     what decides a store's contents, as one value
request.py     prompts and options checked and worked out: sequences, batches, seeds
sizes.py       how big the store will be, and whether the disk holds it
plan_json.py   the request as it is written down, and compared when a capture goes on
rewritten.py   the words of a prompt that a chat template writes otherwise than when the capture was begun
sharing.py     which shards are left for a process to take
claims.py      who takes them on object storage
process.py     what one process does: runs batches, writes shards and, at the end, the manifest
rows.py        a batch's records as rows of the store's tables
live.py        a store that grows while a server answers
live_rows.py   a server's requests as rows
words.py       prompts, labels, tokens and responses as rows
"""

from workbench.capturing.live import LiveStore
from workbench.capturing.options import Options, usual
from workbench.capturing.request import expected_size, make_request
from workbench.capturing.sizes import Estimate, check_disk, estimate
from workbench.capturing.start import capture, capture_with

__all__ = [
    "Estimate",
    "LiveStore",
    "Options",
    "capture",
    "capture_with",
    "check_disk",
    "estimate",
    "expected_size",
    "make_request",
    "usual",
]
