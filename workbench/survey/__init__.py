"""One small forward that tells how a model routes, before anybody trusts a number.

suitable.py   whether it is whole and has a head
seen.py       what each layer did
router.py     the router: how many experts, which rule
residual.py   where the residual stream is
forward.py    `survey`: all of it
known.py      runtimes of models that were looked at
sizes.py      how many parameters it and one expert have
"""

from workbench.survey.forward import Survey, described, probe_ids
from workbench.survey.known import anatomy_of, in_bridge, known_runtime, looked_again, new_runtime, runtimes_of
from workbench.survey.seen import Seen
from workbench.survey.sizes import expert_parameters, parameters

__all__ = [
    "Seen",
    "Survey",
    "anatomy_of",
    "described",
    "expert_parameters",
    "in_bridge",
    "known_runtime",
    "looked_again",
    "new_runtime",
    "parameters",
    "probe_ids",
    "runtimes_of",
]
