"""A captured store: opened, read, counted, queried. No torch.

tables.py      the tables, read whole, in part or batch by batch
token_rows.py  which row a token is, which rows were routed
same_keys.py   key columns that the layers of a shard share, decoded once
counts.py      how often each expert was selected
outputs.py     mean outputs of experts
texts.py       what was said
labels.py      labels added later
integrity.py   whether every file is what the manifest says
export.py      columns for other libraries
sql.py         read-only DuckDB
store.py       `Store`, `open_store`
write.py       a store from tables that you have
copying.py     a store from one place to another
"""

from workbench.store.copying import Copied, copy_store
from workbench.store.counts import Counts, Routing, routed_per_group, selections
from workbench.store.store import Store, begun_plan, open_store
from workbench.store.tables import Tables
from workbench.store.texts import n_cut, what_was_said
from workbench.store.token_rows import token_index
from workbench.store.write import write_store

__all__ = [
    "Copied",
    "Counts",
    "Routing",
    "Store",
    "Tables",
    "begun_plan",
    "copy_store",
    "n_cut",
    "open_store",
    "routed_per_group",
    "selections",
    "token_index",
    "what_was_said",
    "write_store",
]
