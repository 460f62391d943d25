"""Plans inside vLLM: a plugin that edits and records routing in the engine's own processes, and the engine in front of them.

plugin.py    what vLLM calls in each process
names.py     the private names of vLLM that this depends on
worker.py    wraps them
requests.py  a request on its way in
steps.py     the requests that a worker runs, before and after each forward
doses.py     what plans changed, by request
scopes.py    which edits hold for which positions
ledger.py    which row of the tables holds which edits
tables.py    all edits in force, on the device
binding.py   finds the MoE layers
layer.py     one of them: its router's answer under the edits
rules.py     the rule of each router
taken.py     what a worker hands over
client/      the engine behind the workbench's seam; server/ is vLLM's own server, whose requests carry plans; online/ asks one
"""

__all__ = []  # importing this imports nothing else: every process of vLLM does
