"""One small forward that tells how a model routes, before anybody trusts a number.

suitable.py   whether it is whole and has a head
seen.py       what each layer did
router.py     the router: how many experts, which rule
residual.py   where the residual stream is
forward.py    `survey`: all of it
known.py      runtimes of models that were looked at
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
