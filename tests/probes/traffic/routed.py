"""Stores whose routing is given token by token."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.probes.oracle.cases import empty
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.anatomy import Anatomy
from workbench.store import Store


def routed_store(prompts: Sequence[np.ndarray], n_experts: int) -> Store:
    """One layer; of each prompt [tokens, k] which experts its tokens select. Nothing was generated."""
    rows, made = routed_rows(prompts, n_experts)
    return memory_store(made, rows)


def routed_rows(prompts: Sequence[np.ndarray], n_experts: int) -> tuple[dict[str, list[dict[str, Any]]], Anatomy]:
    """The same as rows of tables, to which more can be added, and the model's map."""
    rows = empty()
    for number, routes in enumerate(prompts):
        name = f"p{number:04d}"
        rows["prompts"].append({"prompt_id": name, "text": name, "pair": None, "n_tokens": len(routes)})
        for position, chosen in enumerate(routes.tolist()):
            key = {"prompt_id": name, "sample": 0, "position": position}
            about = {"token_id": position, "token": "x", "role": "user", "generated": False}
            rows["tokens"].append({**key, **about})
            slots = ({"layer": 0, "slot": s, "expert": e, "weight": 0.5} for s, e in enumerate(chosen))
            rows["slots"] += [{**key, **slot} for slot in slots]
    return rows, anatomy((n_experts,), prompts[0].shape[1])


def even(rng: np.random.Generator, n_tokens: int, k: int, n_experts: int) -> np.ndarray:
    """[tokens, k] experts drawn evenly, each token by itself."""
    return rng.random((n_tokens, n_experts)).argsort(axis=1)[:, :k]
