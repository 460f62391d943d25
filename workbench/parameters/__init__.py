"""The weights of experts and routers themselves, read from the model once: no prompt, no forward.

readable.py   which weights can be read as they are
matrices.py   the matrices of each expert, wherever the family keeps them
routers.py    the one matrix of a router, a row an expert
neurons.py    what the neurons of an expert make of what it is given
moe_blocks.py the layers whose weights are read
directions.py what neurons and experts read and write in the stream
alignments.py how alike the weights of two experts are, whatever the order of their neurons
words.py      the words that each of these stands for, as a table of a store
tables.py     matrices and routers as tables of a store
"""

from workbench.parameters.alignments import alignments, alignments_work
from workbench.parameters.neurons import check_inner, n_neurons, neurons
from workbench.parameters.tables import check_parameters, matrices, routers, weights_bytes
from workbench.parameters.words import N_WORDS, directions, n_directions

__all__ = [
    "N_WORDS",
    "alignments",
    "alignments_work",
    "check_inner",
    "check_parameters",
    "directions",
    "matrices",
    "n_directions",
    "n_neurons",
    "neurons",
    "routers",
    "weights_bytes",
]
