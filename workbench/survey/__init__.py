"""One small forward that tells how a model routes, before anybody trusts a number.

suitable   whether it is whole and has a head
seen       what each layer did
router     the router: how many experts, which rule
residual   where the residual stream is
forward    `survey`: all of it
known      runtimes of models that were looked at
"""

from workbench.survey.forward import Survey, described, probe_ids
from workbench.survey.known import anatomy_of, in_bridge, known_runtime, looked_again, new_runtime, runtimes_of
from workbench.survey.seen import Seen

__all__ = [
    "Seen",
    "Survey",
    "anatomy_of",
    "described",
    "in_bridge",
    "known_runtime",
    "looked_again",
    "new_runtime",
    "probe_ids",
    "runtimes_of",
]
