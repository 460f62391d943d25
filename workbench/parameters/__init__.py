"""The weights of experts and routers themselves, read from the model once: no prompt, no forward.

readable.py   which weights can be read as they are
matrices.py   the matrices of each expert, wherever the family keeps them
routers.py    the one matrix of a router, a row an expert
tables.py     both as tables of a store
"""

from workbench.parameters.tables import check_parameters, matrices, routers, weights_bytes

__all__ = ["check_parameters", "matrices", "routers", "weights_bytes"]
