"""Where forwards run: in this process through hooks, in nnsight's traces here or on NDIF, on an engine of somebody's own.

backend.py    what an engine says and does: `Backend`, `Capabilities`, `Batch`, `Keep`, `Ran`, `TakesPlans`
refusals.py   what an engine cannot do, refused before anything runs
native.py     a transformers model in this process
prefill.py    its prompts: what they share once, the rest a few at a time
nnsight/      nnsight models here and on NDIF
engines.py    an engine by its name; the engine and the compiled plan for a model
contract.py   the tests that every engine passes for what it says it can
served.py     routing that a serving engine returned with its answers, as a store
served_routing.py  the forms in which engines return it

Errors, plans and records come from below; loading, capturing and comparison stand above.
"""

from workbench.backends.backend import Backend, Batch, Capabilities, Keep, Ran, TakesPlans
from workbench.backends.engines import (
    FIRST,
    NAMES,
    OwnEngine,
    anatomy_on,
    arm_of,
    backend_of,
    check_engine,
    compiled_for,
    named,
    told_of,
    was_bare,
)
from workbench.backends.native import Native
from workbench.backends.refusals import check_decoding, check_keep, check_plan, check_scoring
from workbench.backends.served import store_served

__all__ = [
    "FIRST",
    "NAMES",
    "Backend",
    "Batch",
    "Capabilities",
    "Keep",
    "Native",
    "OwnEngine",
    "Ran",
    "TakesPlans",
    "anatomy_on",
    "arm_of",
    "backend_of",
    "check_decoding",
    "check_engine",
    "check_keep",
    "check_plan",
    "check_scoring",
    "compiled_for",
    "named",
    "store_served",
    "told_of",
    "was_bare",
]
