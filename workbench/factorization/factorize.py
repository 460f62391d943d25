"""A dense checkpoint into a folder of an MoE architecture: `factorize`, and `write_model` for groups and routers of one's own."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.paths import Given, given_path
from workbench.progress import Meter, ProgressLines, Report, duration, megabytes

from .card import card, plan_of
from .folder import check_free, claim, pace, write_rest, write_shards
from .groups import Groups, Router, deal
from .rewriting import checked_fit
from .sizes import Sizes
from .source import Dense, check_tokenizer, dense_config, open_dense
from .targets import check_config

_SEEDS_APART = 1000


def factorize(
    source: str,
    out: Given,
    sizes: Sizes,
    *,
    seed: int = 0,
    kept: Mapping[int, Sequence[int]] | None = None,
    revision: str | None = None,
    progress: bool | Report = False,
) -> Path:
    """The same function as a mixture of experts whose experts are all on, written to the folder `out`; returns it.

    source    a folder, a Hugging Face id or a GGUF file
    sizes     into how many groups; its top_k is not asked for
    seed      deals the neurons
    kept      by layer, neurons that lie in routed expert 0 together
    progress  True: lines on stderr

    Raises `WorkbenchError` before any weights are read where no architecture holds the model, where the groups cannot be equal,
    and where `out` holds something else. A run that was killed goes on.
    """
    path = given_path(out)
    check_free(path)
    config = dense_config(source, revision)
    check_config(config)
    sizes.check(config.intermediate_size)
    dense = open_dense(source, revision)
    groups = [
        deal(
            config.intermediate_size,
            sizes.routed,
            sizes.shared,
            seed + _SEEDS_APART * layer,
            (kept or {}).get(layer, ()),
        )
        for layer in range(config.num_hidden_layers)
    ]
    made = f"The neurons were dealt into groups at random (seed {seed}); nothing was trained."
    return write_model(dense, groups, None, sizes, path, made=made, seed=seed, revision=revision, progress=progress)


def write_model(
    dense: Dense,
    groups: Sequence[Groups],
    routers: Sequence[Router] | None,
    sizes: Sizes,
    out: Path,
    *,
    made: str,
    seed: int | None = None,
    revision: str | None = None,
    progress: bool | Report = False,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the rewrite of a dense model to the folder `out`; a run that was killed goes on, a layer at a time.

    routers  None: every expert is on, which is the same function
    made     how groups and routers were found, a sentence for the card
    facts    of what they were learned on, for factorization.json

    Raises `WorkbenchError` as `factorize` does, and for an architecture that cannot have such routers.
    """
    model, exact = dense.model, routers is None
    found = checked_fit(model, groups, routers)
    check_tokenizer(dense.tokenizer, found.architecture.name)
    digests = {"weights": digest(model.state_dict()), "parts": digest(_parts(groups, routers))}
    if claim(out, {**plan_of(dense.name, revision, sizes, exact, seed, digests), **(facts or {})}):
        return out
    meter = Meter(len(groups) + 1, ProgressLines() if progress is True else progress or None, "shards")
    dtype = found.dtype(model.dtype, sizes.routed)
    size = sum(x.numel() for x in model.parameters()) * dtype.itemsize
    meter.say(
        f"{megabytes(size)} to write as {found.architecture.name} in {str(dtype).removeprefix('torch.')}, about "
        f"{duration(size / pace(out))} at the pace of this disk."
    )
    write_shards(out, model, found, groups, routers, meter)
    text = card(dense.name, type(model).__name__, found.architecture.name, sizes, exact, sorted(dense.licences), made)
    texts = {**dense.licences, "README.md": text.encode()}
    top_k = None if exact else sizes.top_k
    write_rest(out, model, found, groups[0], top_k, texts, dense.tokenizer, dense.name)
    return out


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values, as 16 hex digits."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data if tensor.ndim else b"")
    return sha.hexdigest()[:16]


def _parts(groups: Sequence[Groups], routers: Sequence[Router] | None) -> dict[str, Any]:
    parts = {f"{i} {name}": getattr(x, name) for i, x in enumerate(groups) for name in ("routed", "shared")}
    return parts | {f"{i} {name}": getattr(x, name) for i, x in enumerate(routers or ()) for name in ("weight", "bias")}
