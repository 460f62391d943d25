"""Stores for the tests: random synthetic ones, the content of one in a comparable order, prompts for tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.store import Store, write_store

KEY = ("prompt_id", "sample", "position", "layer", "slot", "name", "what", "expert")


def anatomy(n_layers: int = 3, n_experts: int = 5, top_k: int = 2, n_shared: int = 0, weights: str = "w") -> Anatomy:
    """Layer 0 dense, the others with routed experts."""
    moe = [LayerAnatomy(n, n_experts, top_k, n_shared) for n in range(1, n_layers)]
    return Anatomy("synthetic", "none", 4, 50, weights, (LayerAnatomy(0), *moe))


def random_tables(
    seed: int = 0, n_prompts: int = 4, samples: int = 1, n_shared: int = 0, shape: Anatomy | None = None
) -> dict[str, pd.DataFrame]:
    """Prompts of random lengths, half of each a response whose last token was never forwarded."""
    draw, shape = np.random.default_rng(seed), shape or anatomy(n_shared=n_shared)
    prompts, tokens, slots = [], [], []
    for p in draw.permutation(n_prompts):
        n_prompt, n_response = int(draw.integers(1, 6)), int(draw.integers(1, 4))
        prompts.append((f"p{p}", "some text", "even" if p % 2 == 0 else "odd", n_prompt))
        for sample in range(samples):
            for position in range(n_prompt + n_response):
                said = position >= n_prompt
                role = "assistant" if said else "user" if position else "special"
                tokens.append((f"p{p}", sample, position, int(draw.integers(9)), role, said))
                if position < n_prompt + n_response - 1:
                    slots += _slots_of(draw, shape, (f"p{p}", sample, position))
    return {
        "prompts": pd.DataFrame(prompts, columns=["prompt_id", "text", "split", "n_tokens"]),
        "tokens": pd.DataFrame(tokens, columns=["prompt_id", "sample", "position", "token_id", "role", "generated"]),
        "slots": pd.DataFrame(slots, columns=["prompt_id", "sample", "position", "layer", "slot", "expert", "weight"]),
    }


def _slots_of(draw: np.random.Generator, shape: Anatomy, key: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for layer in shape.moe_layers:
        found = shape.layer(layer)
        chosen = draw.permutation(found.n_experts)[: found.top_k]
        rows += [(*key, layer, slot, int(e), float(np.float32(draw.random()))) for slot, e in enumerate(chosen)]
        rows += [(*key, layer, -1 - s, -1 - s, 1.0) for s in range(found.n_shared)]
    return rows


def random_store(path: Path, n_shards: int = 1, **how: Any) -> Store:
    """A synthetic store of `random_tables`."""
    shape = anatomy(n_shared=how.get("n_shared", 0))
    return write_store(path, shape, random_tables(**how, shape=shape), n_shards=n_shards)


def content(store: Store) -> dict[str, pd.DataFrame]:
    """Every table that the store has, sorted by key, with plain prompt ids."""
    names = [
        name
        for name in ("prompts", "labels", "tokens", "slots", "residual", "logits", "outputs", "nonfinite")
        if store.has(name)
    ]
    return {name: _in_order(store.table(name)) for name in names}


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(prompt_id=frame["prompt_id"].astype(str))
    return frame.sort_values([k for k in KEY if k in frame], ignore_index=True)


def assert_same_content(a: Store, b: Store) -> None:
    """Equal to the last bit, whatever the order of rows."""
    left, right = content(a), content(b)
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True, check_categorical=False)
