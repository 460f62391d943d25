"""The tables of a run as Arrow schemas: the contract between the engine (writes) and the report (reads).

Every table lies in `tables/NAME.parquet` of the run, sorted by its key. An arm is one way to run the model: the bare model
(`base`), a plan, or a control. Arms are numbered over the recipe's grid, so `P03` is the same cell for every model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from workbench import WorkbenchError
from workbench.paths import given_path
from workbench.storage import publish, temporary

TEXT, NUMBER, WHOLE, YES = pa.string(), pa.float64(), pa.int64(), pa.bool_()

TABLES: dict[str, pa.Schema] = {
    "scores": pa.schema(
        {
            "model": TEXT,
            "ranking": TEXT,
            "method": TEXT,
            "rank": WHOLE,  # from 1
            "layer": pa.int32(),
            "expert": pa.int32(),
            "is_shared": YES,
            "score": NUMBER,
            "n": WHOLE,
            "low": NUMBER,
            "high": NUMBER,
            "p": NUMBER,
            "p_adjusted": NUMBER,
            "flags": TEXT,
        }
    ),
    "arms": pa.schema(
        {
            "model": TEXT,
            "arm": TEXT,
            "kind": TEXT,  # base | plan | explicit | bottom | random
            "name": TEXT,  # a plan's name, where the recipe gives one
            "of": TEXT,  # the plan's arm that a control belongs to
            "match": TEXT,  # of random: count | layer | usage
            "draw": WHOLE,  # of random: from 0
            "ranking": TEXT,
            "end": TEXT,  # top | bottom | least | least_by_layer; of parts joined by +
            "edit": TEXT,  # of parts joined by +
            "value": TEXT,  # strength as written, "mean"; of parts joined by +
            "n": WHOLE,  # experts in all
            "phase": TEXT,  # all | prompt | generated
            "plan": TEXT,  # as Plan.parse reads it
            "experts": pa.list_(TEXT),
            "super_experts": pa.list_(TEXT),  # those of the plan's experts that are flagged
            "reason": TEXT,  # why this model cannot run it; null where it can
        }
    ),
    "values": pa.schema(
        {
            "model": TEXT,
            "arm": TEXT,
            "prompts": TEXT,
            "prompt_id": TEXT,
            "cluster": TEXT,
            "metric": TEXT,
            "value": NUMBER,  # null leaves the prompt out
        }
    ),
    "answers": pa.schema(
        {"model": TEXT, "arm": TEXT, "prompts": TEXT, "prompt_id": TEXT, "prompt": TEXT, "answer": TEXT}
    ),
    "effects": pa.schema(
        {
            "model": TEXT,
            "arm": TEXT,
            "prompts": TEXT,
            "role": TEXT,
            "metric": TEXT,
            "base": NUMBER,
            "steered": NUMBER,
            "difference": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
            "n": WHOLE,
            "n_clusters": WHOLE,
            "p": NUMBER,
            "p_adjusted": NUMBER,
            "random_median_count": NUMBER,
            "random_median_layer": NUMBER,
            "random_median_usage": NUMBER,
            "beats_random": NUMBER,
        }
    ),
    "doses": pa.schema(
        {
            "model": TEXT,
            "arm": TEXT,
            "prompts": TEXT,
            "tokens": WHOLE,
            "tokens_changed": WHOLE,
            "slots": WHOLE,
            "slots_changed": WHOLE,
        }
    ),
    "distributions": pa.schema(
        {
            "model": TEXT,
            "arm": TEXT,
            "prompts": TEXT,
            "prompt_id": TEXT,
            "kl_first_nats": NUMBER,
            "kl_nats": NUMBER,
            "nll_nats": NUMBER,  # of the base's answer; of the given text on the perplexity set
            "n_tokens": WHOLE,
        }
    ),
    "residuals": pa.schema(
        {
            "model": TEXT,
            "prompts": TEXT,  # a ranking set, as it was captured
            "layer": pa.int32(),  # -1: the embedding
            "largest": NUMBER,  # absolute value of the residual stream after the layer
        }
    ),
    "sinks": pa.schema({"model": TEXT, "arm": TEXT, "layer": pa.int32(), "share": NUMBER, "decay": NUMBER}),
    "claims": pa.schema(
        {
            "name": TEXT,
            "model": TEXT,
            "text": TEXT,
            "prompts": TEXT,
            "metric": TEXT,
            "direction": TEXT,
            "arm": TEXT,
            "base": NUMBER,
            "steered": NUMBER,
            "difference": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
            "p_adjusted": NUMBER,
            "random_low": NUMBER,
            "random_median": NUMBER,
            "random_high": NUMBER,
            "n_draws": WHOLE,
            "verdict": TEXT,  # appears | does not appear | undecided
            "why": TEXT,
            "paper_model": TEXT,
            "paper_base": NUMBER,
            "paper_steered": NUMBER,
            "paper_what": TEXT,
            "paper_grade": TEXT,
        }
    ),
    # what a reader has to be told: rankings' notes, impossible plans, lowered controls, prompts left out
    "notes": pa.schema({"model": TEXT, "about": TEXT, "text": TEXT}),
    # every planned piece of work and what became of it
    "units": pa.schema(
        {
            "model": TEXT,
            "arm": TEXT,
            "prompts": TEXT,
            "what": TEXT,  # answers | distributions | choice | perplexity | sinks
            "outcome": TEXT,  # run | shared | impossible
            "shared_with": TEXT,  # the arm with an equal plan that was run
        }
    ),
}
KEYS: dict[str, tuple[str, ...]] = {
    "scores": ("model", "ranking", "rank"),
    "arms": ("model", "arm"),
    "values": ("model", "arm", "prompts", "metric", "prompt_id"),
    "answers": ("model", "arm", "prompts", "prompt_id"),
    "effects": ("model", "arm", "prompts", "metric"),
    "doses": ("model", "arm", "prompts"),
    "distributions": ("model", "arm", "prompts", "prompt_id"),
    "residuals": ("model", "prompts", "layer"),
    "sinks": ("model", "arm", "layer"),
    "claims": ("name", "model"),
    "notes": ("model", "about", "text"),
    "units": ("model", "arm", "prompts", "what"),
}


def write_table(run: Path, name: str, rows: Any) -> None:
    """Writes `tables/NAME.parquet` of the run, whole or not at all: a frame or a list of rows, sorted by the table's key.

    A column that is missing is null; one that the schema does not know raises ValueError.
    """
    import pyarrow.parquet as pq

    part = temporary(run, f"tables/{name}.parquet")
    pq.write_table(as_table(name, rows), part, compression="zstd")
    publish(run, part, f"tables/{name}.parquet")


def as_table(name: str, rows: Any) -> pa.Table:
    """The rows as an Arrow table in the schema, sorted by key; not-a-number is null."""
    schema = TABLES[name]
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    if unknown := sorted(set(frame.columns) - set(schema.names)):
        raise ValueError(f"The table {name} has no columns {unknown}.")
    columns: Mapping[str, Any] = {
        field.name: pa.array(_plain(frame[field.name]), field.type, from_pandas=True)
        if field.name in frame
        else pa.nulls(len(frame), field.type)
        for field in schema
    }
    table = pa.table(columns, schema=schema)
    return table.sort_by([(key, "ascending") for key in KEYS[name]])


def _plain(column: Any) -> Any:
    return column.astype(object).where(column.notna(), None) if column.dtype == object else column


def read_table(run: str | Path, name: str) -> pd.DataFrame:
    """A table of a finished run. Nullable integers come as pandas' Int64. Raises `WorkbenchError` when missing or damaged."""
    import pyarrow.parquet as pq

    path = given_path(run) / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise WorkbenchError(f"There is no table '{path}'; `workbench run` writes it when a run is finished.")
    found = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    try:
        return pq.read_table(path, schema=TABLES[name]).to_pandas(types_mapper=found.get)
    except (pa.ArrowException, OSError) as error:
        raise WorkbenchError(
            f"The table '{path}' is damaged ({error}); delete the folder '{path.parent}' and `workbench run` the recipe again: "
            f"tables are made from units, nothing is measured twice."
        ) from error


def read_tables(run: str | Path) -> dict[str, pd.DataFrame]:
    """Every table of a finished run, but `claims` where it is not written yet, and what an earlier version did not write."""
    may_lack = ("claims", "residuals")
    there = [n for n in TABLES if (given_path(run) / "tables" / f"{n}.parquet").is_file() or n not in may_lack]
    return {name: read_table(run, name) for name in there}
