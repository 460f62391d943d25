"""The `workbench` command: each command parses, calls the library and shows what came back.

In reading order: group (all commands, exit codes, one sentence for what goes wrong), options and edits (what several
commands share), then a file for each command: demo (and `app`), models (and `inspect`), factorize, capture, rank, every_probe
(`rank --all`, and `expert`), steer (and `compare`), run (and `report`), serve, store. The command itself is `app`; heavy
libraries are imported by the commands that need them.
"""

from .group import app

__all__ = ["app"]
