"""Where a transformers model keeps its experts, and what identifies it.

answered      what a module answered
quantised     weights that are quantised
placement     weights on other devices, or offloaded
adapters      families whose blocks have another shape, and your own
layout        the modules: layers, blocks, routers, experts
wrapped       models in a TransformerLens bridge or an nnsight model
plain         a plain module as a causal model
fingerprint   weights, settings and adapters as a digest
runtime       what hooks must know of one model
eager         compiled code runs as written meanwhile
model         `MoEModel`, which `load` returns
"""

from workbench.model.adapters import MoEAdapter, rerun
from workbench.model.answered import first
from workbench.model.eager import enter, leave
from workbench.model.fingerprint import Weights, active_adapters, identity, read_weights, switches, weights_digest
from workbench.model.layout import Layout, MoEBlock, find_layout, fused_weights
from workbench.model.model import MoEModel
from workbench.model.placement import brought, forward_is_its_own, missing, value
from workbench.model.plain import PlainModel
from workbench.model.quantised import quantised_by, unreadable
from workbench.model.runtime import RouterFacts, Runtime, runtime_of
from workbench.model.wrapped import Opened, as_it_runs, is_wrapped, opened, unwrapped

__all__ = [
    "Layout",
    "MoEAdapter",
    "MoEBlock",
    "MoEModel",
    "Opened",
    "PlainModel",
    "RouterFacts",
    "Runtime",
    "Weights",
    "active_adapters",
    "as_it_runs",
    "brought",
    "enter",
    "find_layout",
    "first",
    "forward_is_its_own",
    "fused_weights",
    "identity",
    "is_wrapped",
    "leave",
    "missing",
    "opened",
    "quantised_by",
    "read_weights",
    "rerun",
    "runtime_of",
    "switches",
    "unreadable",
    "unwrapped",
    "value",
    "weights_digest",
]
