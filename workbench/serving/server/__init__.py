"""`workbench serve`: vLLM's OpenAI-compatible server, in which each request may carry a plan.

options.py   the command line of vLLM's server, and what of it is refused
bridge.py    its engine as the start-up check calls it
service.py   the plan of a request, its room in the engine, its dose
live.py      what of its requests is captured, and brought from the engine to a store
wording.py   what is said of plans and doses, as JSON
gate.py      stands in front of vLLM's routes: which are open, plans in, refusals out
reply.py     an answer on its way out, whole or as a stream of events
running.py   starts it
"""

from workbench.serving.plugin import Settings
from workbench.serving.server.live import Captured, Sink
from workbench.serving.server.options import server_options
from workbench.serving.server.running import serve

__all__ = ["Captured", "Settings", "Sink", "serve", "server_options"]
