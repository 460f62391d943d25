"""Forwards as nnsight traces, here or on NDIF's servers, where models run that are too large to load.

runner.py        a batch as one trace: the engine
in_trace.py      what runs inside a trace, here or there
ndif.py          what must hold before anything is sent; errors on the way as sentences
remote_model.py  what `load` needs to know of a model whose weights are there
"""

from workbench.backends.nnsight.ndif import check_ndif
from workbench.backends.nnsight.remote_model import look, traced
from workbench.backends.nnsight.runner import Nnsight, check_traceable

__all__ = ["Nnsight", "check_ndif", "check_traceable", "look", "traced"]
