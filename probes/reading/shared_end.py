"""The tokens with which the two prompts of a pair both end: the question after a document, say."""

from typing import TYPE_CHECKING

import numpy as np

from probes.reading.classes import prompt_column
from probes.reading.tokens import prompt_length, prompt_of_row
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


def shared_end(store: "Store", of_sequence: np.ndarray) -> np.ndarray:
    """Bool [rows of store.tokens]: the longest run of equal token ids at the end of all compared prompts of a pair.

    of_sequence: class number of every sequence, -1 where it is not compared; a pair needs prompts of two classes.
    """
    prompt, compared = prompt_of_row(store), (of_sequence >= 0).reshape(-1, store.n_samples)
    ids, position = store.tokens["token_id"].to_numpy(), store.tokens["position"].to_numpy()
    inside = position < prompt_length(store)
    mask = np.zeros(len(ids), bool)
    for members in _pairs(store, compared, of_sequence):
        texts = [_text(ids, position, inside & (prompt == p)) for p in members]
        n = common_end(texts)
        for p, text in zip(members, texts, strict=True):
            mask |= (prompt == p) & inside & (position >= len(text) - n)
    if not mask.any():
        raise WorkbenchError(
            f"No pair of '{store.path}' has two compared prompts that end alike; give prompts the same 'pair', or read other "
            f"tokens."
        )
    return mask


def _pairs(store: "Store", compared: np.ndarray, of_sequence: np.ndarray) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for number, pair in enumerate(prompt_column(store, "pair")):
        if pair is not None and compared[number].any():
            found.setdefault(pair, []).append(number)
    sides = of_sequence.reshape(-1, store.n_samples)
    return [m for m in found.values() if len({int(c) for p in m for c in sides[p] if c >= 0}) > 1]


def _text(ids: np.ndarray, position: np.ndarray, rows: np.ndarray) -> list[int]:
    """A prompt's token ids in order (of its first sample)."""
    return [token for _, token in sorted(dict(zip(position[rows].tolist(), ids[rows].tolist(), strict=True)).items())]


def common_end(texts: list[list[int]]) -> int:
    """How many token ids the texts share at their ends."""
    n = 0
    while n < min(map(len, texts)) and len({text[-1 - n] for text in texts}) == 1:
        n += 1
    return n
