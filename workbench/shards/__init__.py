"""The tables of a store as files: columns, row groups, one shard at a time, sealed.

schema.py         the tables, with units
parquet.py        row groups of one layer
finite.py         the table of values that are not finite, said in a sentence
table_file.py     one table's file of a shard, row groups as they come together
lanes.py          one table of a shard, by as many threads as it needs
shards.py         one shard: written beside the forward, published whole
small_tables.py   prompts and labels; what is read of the model once
manifest.py       completes and seals a store
"""

from workbench.shards.finite import experts_with, said
from workbench.shards.lanes import Build
from workbench.shards.manifest import check_seal, finish
from workbench.shards.parquet import Part, n_rows, parts, source_of, stored_schema
from workbench.shards.schema import ON_REQUEST, OPTION, READ_ONCE, READABLE, SAMPLED, SCHEMA_VERSION, STREAMED, TABLES
from workbench.shards.shards import ShardWriter, receipt_path
from workbench.shards.small_tables import conform_frame, describe, write_table
from workbench.shards.table_file import conform

__all__ = [
    "ON_REQUEST",
    "OPTION",
    "READABLE",
    "READ_ONCE",
    "SAMPLED",
    "SCHEMA_VERSION",
    "STREAMED",
    "TABLES",
    "Build",
    "Part",
    "ShardWriter",
    "check_seal",
    "conform",
    "conform_frame",
    "describe",
    "experts_with",
    "finish",
    "n_rows",
    "parts",
    "receipt_path",
    "said",
    "source_of",
    "stored_schema",
    "write_table",
]
