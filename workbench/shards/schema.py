"""The store's tables as Arrow schemas: the contract between capture (writes) and every probe (reads).

Shared experts are slots of their own kind: `slot = expert = -1 - s` for shared expert s. Columns that a capture did not
keep are null, never absent and never NaN.
"""

import pyarrow as pa

SCHEMA_VERSION = 2
"""Of what is written: 2 since `matrices`, `routers`, `directions`, `router_inputs` and `inner`, which version 1 lacks."""
READABLE = (1, 2)
"""Versions that are read, and gone on with."""

_KEY = [("prompt_id", pa.string()), ("sample", pa.int32()), ("position", pa.int32())]

TABLES: dict[str, pa.Schema] = {
    "prompts": pa.schema(
        [(n, pa.string()) for n in ("prompt_id", "text", "pair", "split", "cluster")] + [("n_tokens", pa.int32())]
    ),
    "labels": pa.schema(
        [("prompt_id", pa.string()), ("sample", pa.int32())] + [(n, pa.string()) for n in ("name", "value", "source")]
    ),
    "tokens": pa.schema(
        [
            *_KEY,
            ("token_id", pa.int32()),
            ("token", pa.string()),
            ("role", pa.string()),
            ("generated", pa.bool_()),
            ("logprob", pa.float32()),
        ]
    ),
    # what was said, decoded as a whole; stores of before, and those without text, lack it
    "responses": pa.schema([("prompt_id", pa.string()), ("sample", pa.int32()), ("text", pa.string())]),
    "slots": pa.schema(
        [
            *_KEY,
            ("layer", pa.int32()),
            ("slot", pa.int32()),
            ("expert", pa.int32()),
            ("weight", pa.float32()),
            ("output_l2", pa.float32()),
            ("output_max_abs", pa.float32()),
            ("output_argmax", pa.int32()),
        ]
    ),
    # layer -1 is the embedding output (the input of layer 0); layer l is the output of decoder layer l
    "residual": pa.schema(
        [
            *_KEY,
            ("layer", pa.int32()),
            ("l2", pa.float32()),
            ("max_abs", pa.float32()),
            ("median_abs", pa.float32()),
            ("argmax", pa.int32()),
            ("routed_change", pa.float32()),
        ]
    ),
    "logits": pa.schema([*_KEY, ("layer", pa.int32()), ("router_logits", pa.list_(pa.float32()))]),
    "outputs": pa.schema(
        [
            *_KEY,
            ("layer", pa.int32()),
            ("slot", pa.int32()),
            ("expert", pa.int32()),
            ("output", pa.list_(pa.float32())),
        ]
    ),
    # what a layer's router was given, [hidden], and what each selected expert's neurons were, act(gate x) * up x, [neurons]:
    # routed experts alone, and none of experts without neurons (identity)
    "router_inputs": pa.schema([*_KEY, ("layer", pa.int32()), ("router_input", pa.list_(pa.float32()))]),
    "inner": pa.schema(
        [
            *_KEY,
            ("layer", pa.int32()),
            ("slot", pa.int32()),
            ("expert", pa.int32()),
            ("neurons", pa.list_(pa.float32())),
        ]
    ),
    # where values were not finite, by sequence: what is out of workbench.shards.finite.STAGES; expert is null for what is no
    # expert's; n_own (outputs alone): tokens whose routing weights were finite, so that the expert itself made the values.
    # A shard without such values has no file of it, nor has a store of an earlier version
    "nonfinite": pa.schema(
        [
            ("prompt_id", pa.string()),
            ("sample", pa.int32()),
            ("layer", pa.int32()),
            ("what", pa.string()),
            ("expert", pa.int32()),
            ("n_tokens", pa.int64()),
            ("n_own", pa.int64()),
            ("first_position", pa.int32()),
        ]
    ),
    # read from the model's weights once: each weight matrix of each routed expert, sums in float64
    "matrices": pa.schema(
        [
            ("layer", pa.int32()),
            ("expert", pa.int32()),
            ("matrix", pa.string()),
            ("n_values", pa.int64()),
            ("sum_abs", pa.float64()),
            ("sum_squares", pa.float64()),
        ]
    ),
    # the routers' rows, [hidden]: what a router is given, times its expert's row, plus the bias (null: none), is the logit
    "routers": pa.schema(
        [("layer", pa.int32()), ("expert", pa.int32()), ("row", pa.list_(pa.float32())), ("bias", pa.float32())]
    ),
    # the words that what an expert or a neuron reads, gates or writes stands for; neuron is null for the expert as a whole
    "directions": pa.schema(
        [
            ("layer", pa.int32()),
            ("expert", pa.int32()),
            ("neuron", pa.int32()),
            ("side", pa.string()),
            ("token_ids", pa.list_(pa.int32())),
            ("words", pa.list_(pa.string())),
            ("logits", pa.list_(pa.float32())),
            ("share", pa.float32()),
        ]
    ),
    # two experts of a layer: cosine of their weights with their neurons as they are, and in the order that fits best
    "alignments": pa.schema(
        [
            ("layer", pa.int32()),
            ("expert", pa.int32()),
            ("other_expert", pa.int32()),
            ("n_neurons", pa.int32()),
            ("cosine", pa.float64()),
            ("aligned", pa.float64()),
        ]
    ),
}

STREAMED = ("tokens", "responses", "slots", "residual", "logits", "outputs", "router_inputs", "inner", "nonfinite")
"""The tables that lie in shards, a folder each."""
READ_ONCE = ("matrices", "routers", "directions", "alignments")
"""The tables that are about the model alone, a file each."""
ON_REQUEST = ("residual", "logits", "outputs", "router_inputs", "inner", *READ_ONCE)
"""The tables that `keep` decides about; `slots` are always kept."""
OPTION = {name: name for name in ON_REQUEST} | {"router_inputs": "router_input"}
"""What `keep` calls each of them."""
SAMPLED = ("outputs", "router_input", "inner")
"""What `keep` may hold of a share of the tokens: outputs:0.1."""
