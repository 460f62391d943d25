"""Where a transformers model keeps its experts, and what identifies it.

answered.py      what a module answered, a router in one order
quantised.py     weights that are quantised
placement.py     weights on other devices, or offloaded
adapters.py      families whose blocks have another shape, and your own
pretrained.py    a hub that is not reached, a checkpoint with holes
layout.py        the modules: layers, blocks, routers, experts
wrapped.py       models in a TransformerLens bridge or an nnsight model
plain.py         a plain module as a causal model
fingerprint.py   weights, settings and adapters as a digest
facts.py         what the faces need to know of a model, whichever engine runs it
runtime.py       what hooks must know of one model
eager.py         compiled code runs as written meanwhile
model.py         `MoEModel`, which `load` returns
"""

from workbench.model.adapters import MoEAdapter, rerun
from workbench.model.answered import first, logits_first, numbers_first, swapped
from workbench.model.eager import enter, leave
from workbench.model.facts import Facts, Told
from workbench.model.fingerprint import (
    Weights,
    active_adapters,
    at_work,
    identity,
    read_weights,
    switches,
    weights_digest,
)
from workbench.model.layout import Layout, MoEBlock, find_layout, fused_weights
from workbench.model.model import MoEModel
from workbench.model.placement import brought, forward_is_its_own, missing, value
from workbench.model.plain import PlainModel
from workbench.model.pretrained import check_whole, first_line, hub_unreachable
from workbench.model.quantised import quantised_by, unreadable
from workbench.model.runtime import RouterFacts, Runtime, runtime_of
from workbench.model.wrapped import Opened, as_it_runs, is_wrapped, opened, unwrapped

__all__ = [
    "Facts",
    "Layout",
    "MoEAdapter",
    "MoEBlock",
    "MoEModel",
    "Opened",
    "PlainModel",
    "RouterFacts",
    "Runtime",
    "Told",
    "Weights",
    "active_adapters",
    "as_it_runs",
    "at_work",
    "brought",
    "check_whole",
    "enter",
    "find_layout",
    "first",
    "first_line",
    "forward_is_its_own",
    "fused_weights",
    "hub_unreachable",
    "identity",
    "is_wrapped",
    "leave",
    "logits_first",
    "missing",
    "numbers_first",
    "opened",
    "quantised_by",
    "read_weights",
    "rerun",
    "runtime_of",
    "swapped",
    "switches",
    "unreadable",
    "unwrapped",
    "value",
    "weights_digest",
]
