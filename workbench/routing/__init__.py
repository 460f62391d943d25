"""Logits to chosen experts, and a plan compiled to masks.

rule.py        `route`: one pure function for every router there is
fit.py         which rule a router follows, recognised from its answers
positions.py   which tokens a forward processes: phase, padding, spans
compiled.py    a plan as masks by layer
rows.py        another expert muted in each row of a batch
rerouting.py   a router's choice under edits, the rest bit for bit its own
dose.py        tokens and slots that a plan really changed
"""

from workbench.routing.compiled import CompiledPlan, LayerEdits, Replacement, compile_plan
from workbench.routing.dose import Dose, DoseCounts, Unlike, changed_slots, said_of_unlike, slots_per_token
from workbench.routing.fit import Fit, fit_rule
from workbench.routing.positions import (
    Positions,
    leave_trail,
    note_prompt,
    prompt_length,
    read_positions,
    standing_for,
)
from workbench.routing.rerouting import Router, reroute, unlike
from workbench.routing.rows import muted_in_rows
from workbench.routing.rule import Routing, router_edits, taken

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
    "muted_in_rows",
    "note_prompt",
    "prompt_length",
    "read_positions",
    "reroute",
    "router_edits",
    "said_of_unlike",
    "slots_per_token",
    "standing_for",
    "taken",
    "unlike",
]
