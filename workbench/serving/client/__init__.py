"""A model in vLLM behind the workbench's seam of engines.

room.py      which requests may be in the engine together
calls.py     requests in one engine that several callers use at once
portions.py  what is handed over of a batch while it runs
engine.py    the engine
check.py     what a started engine can do with plans, found by trying
starting.py  starts vLLM with the plugin at work in it
"""

from workbench.serving.client.calls import Calls
from workbench.serving.client.check import checked
from workbench.serving.client.engine import Vllm
from workbench.serving.client.room import Place, Room, kept_bytes
from workbench.serving.client.starting import started, unserved

__all__ = ["Calls", "Place", "Room", "Vllm", "checked", "kept_bytes", "started", "unserved"]
