"""A store as plain arrays, tensors or a file of them, under the names of TransformerLens's hooks where it has one.

    arrays = store.export()                          # numpy, rows are those of store.tokens
    cache = store.export("torch", prompt="p1")       # one prompt, as bridge.run_with_cache(its tokens)[1] would hold it
    store.export("refusal.safetensors")              # or .npz

`blocks.N.mlp.hook_expert_indices` [tokens, k] (-1: not routed), `blocks.N.mlp.hook_expert_weights` [tokens, experts] (0
where not selected) and `blocks.N.mlp.gate.hook_out` [tokens, experts] (the router's logits, where they were kept) are
TransformerLens's. It has none for the sizes, which are called `blocks.N.mlp.output_l2` [tokens, k], `..._max_abs`,
`..._argmax`, and `blocks.N.resid_post.l2` [tokens], `.max_abs`, `.median_abs`, `.argmax`, `.routed_change` (N = -1: the
embeddings). Shared experts stay in the tables. Beside them go `tokens`, `prompt` (its number in `prompt_ids`), `sample` and
`position`. What a token or the store does not have is NaN, or -1 among integers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.errors import WorkbenchError
from workbench.paths import given_path
from workbench.store.counts import routing
from workbench.store.token_rows import TokenRows

_SLOTS = ("output_l2", "output_max_abs", "output_argmax")
_RESIDUAL = ("l2", "max_abs", "median_abs", "argmax", "routed_change")
_ROUTER = {"gpt_oss": "router"}  # what TransformerLens calls the router; "gate" everywhere else
Arrays = dict[str, Any]


def export(store: TokenRows, to: str | Path = "numpy", *, prompt: str | None = None, sample: int = 0) -> Arrays | Path:
    """The store's per-token columns by hook name: "numpy" or "torch" as a dict, a path as .npz or .safetensors.

    prompt  one prompt alone (and one `sample` of it), else every token in the order of `store.tokens`
    """
    arrays = _arrays(store) if prompt is None else _of_prompt(store, prompt, sample)
    if to == "numpy":
        return arrays
    if to == "torch":
        import torch

        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    if not isinstance(to, str | Path):
        raise WorkbenchError(f"export(to=...) takes 'numpy', 'torch' or a path, not a {type(to).__name__}.")
    return _written(store, arrays, given_path(to))


def _written(store: TokenRows, arrays: Arrays, path: Path) -> Path:
    if path.suffix not in (".npz", ".safetensors"):
        raise WorkbenchError(
            f"export(to='{path}') is neither numpy nor torch nor a path that ends in .npz or .safetensors."
        )
    if not path.parent.is_dir():
        raise WorkbenchError(f"There is no folder '{path.parent}' to write '{path.name}' into; make it first.")
    about = {
        "model": str(store.plan_json["model"]["name"]),
        "fingerprint": store.anatomy.fingerprint,
        "steering": "nothing" if store.steering is None else str(store.steering),
        "prompt_ids": json.dumps(store.prompt_ids),
    }
    if path.suffix == ".npz":
        np.savez_compressed(path, allow_pickle=False, **arrays, **{k: np.array(v) for k, v in about.items()})
    else:
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, str(path), about)
    return path


def _of_prompt(store: TokenRows, prompt: str, sample: int) -> Arrays:
    if prompt not in store.prompt_ids or not 0 <= sample < store.n_samples:
        raise WorkbenchError(
            f"The store '{store.path}' has no sample {sample} of a prompt '{prompt}'; it has {store.n_prompts} prompts "
            f"('{store.prompt_ids[0]}', ...) with samples 0-{store.n_samples - 1}."
        )
    arrays = _arrays(store)
    rows = (arrays["prompt"] == store.prompt_ids.index(prompt)) & (arrays["sample"] == sample)
    return {name: array[rows] for name, array in arrays.items()}


def _arrays(store: TokenRows) -> Arrays:
    tokens = store.tokens
    found: Arrays = {
        "tokens": tokens["token_id"].fillna(-1).to_numpy(np.int64),
        "prompt": tokens["prompt_id"].cat.codes.to_numpy(np.int64),
        "sample": tokens["sample"].to_numpy(np.int64),
        "position": tokens["position"].to_numpy(np.int64),
    }
    for layer in store.layers:
        found |= _slots(store, layer)
    for name, columns in (("residual", _RESIDUAL), ("logits", ("router_logits",))):
        if store.has(name):
            found |= _per_token(store, name, columns)
    return found


def _slots(store: TokenRows, layer: int) -> Arrays:
    selected = routing(store, layer)
    shape = selected.expert.shape
    name, rows = f"blocks.{layer}.mlp", np.arange(shape[0])[:, None]
    dense = np.zeros((shape[0], store.anatomy.layer(layer).n_experts + 1), np.float32)
    dense[rows, selected.expert] = selected.weight  # -1 lands in the last column, which goes
    found: Arrays = {
        f"{name}.hook_expert_indices": selected.expert.astype(np.int64),
        f"{name}.hook_expert_weights": np.ascontiguousarray(dense[:, :-1]),
    }
    sizes = {column: _empty(shape, column) for column in _SLOTS}
    for batch, at in _batches(store, "slots", ("slot", *_SLOTS), layer):
        slot = batch.column("slot").to_numpy()
        routed = (slot >= 0) & (at >= 0)
        for column, array in sizes.items():
            array[at[routed], slot[routed]] = _filled(batch, column)[routed]
    kept = {column: array for column, array in sizes.items() if (array >= 0).any()}
    return found | {f"{name}.{column}": array for column, array in kept.items()}


def _per_token(store: TokenRows, table: str, columns: tuple[str, ...]) -> Arrays:
    found: Arrays = {}
    n, router = store.token_index.n_rows, _ROUTER.get(store.anatomy.family, "gate")
    for batch, at in _batches(store, table, ("layer", *columns), None):
        layer, kept = batch.column("layer")[0].as_py(), at >= 0
        for column in columns:
            if table == "logits":
                name, values = f"blocks.{layer}.mlp.{router}.hook_out", _lists(batch, column)
            else:
                name, values = f"blocks.{layer}.resid_post.{column}", _filled(batch, column)
            if name not in found:
                found[name] = _empty((n, *values.shape[1:]), column)
            found[name][at[kept]] = values[kept]
    return {name: array for name, array in found.items() if not np.isnan(array).all()}


def _batches(
    store: TokenRows, table: str, columns: tuple[str, ...], layer: int | None
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    index = store.token_index
    keys = ["prompt_id", "sample", "position"]
    for batch in store.scan(table, [*keys, *columns], None if layer is None else [layer]):
        if batch.num_rows:
            yield batch, index.rows(batch)


def _filled(batch: pa.RecordBatch, column: str) -> np.ndarray:
    """The column without nulls: NaN, or -1 for channels."""
    values = batch.column(column)
    return values.fill_null(-1 if pa.types.is_integer(values.type) else float("nan")).to_numpy(zero_copy_only=False)


def _lists(batch: pa.RecordBatch, column: str) -> np.ndarray:
    return batch.column(column).flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)


def _empty(shape: tuple[int, ...], column: str) -> np.ndarray:
    return np.full(shape, -1, np.int64) if "argmax" in column else np.full(shape, np.nan, np.float32)
