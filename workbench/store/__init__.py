"""A captured store: opened, read, counted, queried. No torch.

tables      the tables, read whole, in part or batch by batch
counts      how often each expert was selected
outputs     mean outputs of experts
texts       what was said
labels      labels added later
integrity   whether every file is what the manifest says
export      columns for other libraries
sql         read-only DuckDB
store       `Store`, `open_store`
write       a store from tables that you have
"""

from workbench.store.counts import Counts, Routing, finite_weights, routed_tokens, token_index
from workbench.store.store import Store, open_store
from workbench.store.tables import Tables
from workbench.store.texts import n_cut, what_was_said
from workbench.store.write import write_store

__all__ = [
    "Counts",
    "Routing",
    "Store",
    "Tables",
    "finite_weights",
    "n_cut",
    "open_store",
    "routed_tokens",
    "token_index",
    "what_was_said",
    "write_store",
]
