"""A small capture: four prompts of every kind, and the forwards that it takes."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench import Store, capture
from workbench.model import MoEModel
from workbench.paths import Address

PROMPTS = [
    {"id": "long", "text": "a considerably longer text"},
    {"id": "chat", "prompt": "hi", "labels": {"kind": "chat"}, "pair": "1", "split": "s", "cluster": "c"},
    {"id": "one", "text": "x", "response": "given"},
    {"id": "two", "text": "another text"},
]

EVERYTHING = frozenset({"norms", "residual", "logits", "outputs"})


def quiet(model: MoEModel, into: Path | Address, prompts: Any = PROMPTS, **how: Any) -> Store:
    return capture(model, prompts, into, progress=False, **how)


@contextmanager
def counted(model: MoEModel) -> Iterator[list[int]]:
    """The sizes of the forwards that run."""
    seen: list[int] = []
    handle = model.hf.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()


def answers(store: Store) -> dict[str, list[list[int]]]:
    said = store.tokens[store.tokens["generated"]]
    grouped = said.groupby(["prompt_id", "sample"], observed=True)["token_id"].apply(list)
    return {p: [grouped[p, s] for s in range(store.n_samples)] for p in store.prompt_ids}


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.rglob("*")) if f.is_file()}
