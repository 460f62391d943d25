"""Logits to chosen experts, and a plan compiled to masks.

rule        `route`: one pure function for every router there is
positions   which tokens a forward processes: phase, padding, spans
compiled    a plan as masks by layer
rerouting   a router's choice under edits, the rest bit for bit its own
dose        tokens and slots that a plan really changed
"""

from workbench.routing.compiled import CompiledPlan, LayerEdits, Replacement, compile_plan
from workbench.routing.dose import Dose, DoseCounts, Unlike, changed_slots, said_of_unlike
from workbench.routing.positions import Positions, leave_trail, prompt_length, read_positions
from workbench.routing.rerouting import Router, reroute, unlike
from workbench.routing.rule import Fit, Routing, fit_rule, taken

__all__ = [
    "CompiledPlan",
    "Dose",
    "DoseCounts",
    "Fit",
    "LayerEdits",
    "Positions",
    "Replacement",
    "Router",
    "Routing",
    "Unlike",
    "changed_slots",
    "compile_plan",
    "fit_rule",
    "leave_trail",
    "prompt_length",
    "read_positions",
    "reroute",
    "said_of_unlike",
    "taken",
    "unlike",
]
