"""What one forward tells: records as values, from the hooks that see them to the rows that a store keeps.

forward   the record of a forward: layers, shared experts, the residual stream
harvest   a batch's forwards joined on their way to host memory, padding left out
finite    values in them that are not finite, counted
"""

from workbench.records.finite import logits_not_finite, not_finite
from workbench.records.forward import ForwardRecord, LayerRecord, OutputRows, ResidualRecord, SharedRecord
from workbench.records.harvest import Chunk, Harvest, Step, decode_step, prompt_step

__all__ = [
    "Chunk",
    "ForwardRecord",
    "Harvest",
    "LayerRecord",
    "OutputRows",
    "ResidualRecord",
    "SharedRecord",
    "Step",
    "decode_step",
    "logits_not_finite",
    "not_finite",
    "prompt_step",
]
