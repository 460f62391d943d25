"""The tables of a store as files: columns, row groups, one shard at a time, sealed.

schema         the tables, with units
parquet        row groups of one layer
finite         the table of values that are not finite, said in a sentence
shards         one shard: written beside the forward, published whole
small_tables   prompts and labels
manifest       completes and seals a store
"""

from workbench.shards.finite import experts_with, said
from workbench.shards.manifest import check_seal, finish
from workbench.shards.parquet import Part, parts, stored_schema
from workbench.shards.schema import SCHEMA_VERSION, STREAMED, TABLES
from workbench.shards.shards import Build, ShardWriter, conform, receipt_path
from workbench.shards.small_tables import conform_frame, describe, write_table

__all__ = [
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
    "parts",
    "receipt_path",
    "said",
    "stored_schema",
    "write_table",
]
