"""What one forward tells: records as values, from the hooks that see them to the rows that a store keeps.

magnitudes.py   how large vectors are
forward.py      the record of a forward: layers, shared experts, the residual stream
recorder.py     collects the running forward
tap.py          routing weights that show each expert's output
harvest.py      a batch's forwards joined on their way to host memory, padding left out
finite.py       values in them that are not finite, counted
"""

from workbench.records.finite import logits_not_finite, not_finite
from workbench.records.forward import ForwardRecord, LayerRecord, OutputRows, ResidualRecord, SharedRecord
from workbench.records.harvest import Chunk, Harvest, Step, decode_step, prompt_step
from workbench.records.magnitudes import Magnitude, magnitude, median_abs, routed_change
from workbench.records.recorder import KEEPS, Inner, Recorder
from workbench.records.tap import SlotWeights

__all__ = [
    "KEEPS",
    "Chunk",
    "ForwardRecord",
    "Harvest",
    "Inner",
    "LayerRecord",
    "Magnitude",
    "OutputRows",
    "Recorder",
    "ResidualRecord",
    "SharedRecord",
    "SlotWeights",
    "Step",
    "decode_step",
    "logits_not_finite",
    "magnitude",
    "median_abs",
    "not_finite",
    "prompt_step",
    "routed_change",
]
