"""Answers as the texts of their tokens, and where a mask of tokens is true."""

from typing import Any

import numpy as np

from tests.probes.oracle.cases import empty, label
from tests.probes.oracle.memory import anatomy, memory_store


def words(texts: str, **columns: Any) -> Any:
    """One prompt a text: words of one letter are the user's; those after a bar were generated."""
    rows = empty()
    for number, text in enumerate(texts.split("/")):
        asked, _, said = text.partition("|")
        prompt = f"p{number}"
        about = {name: values[number] for name, values in columns.items()}
        rows["labels"] += [label(prompt, about.pop("verdict"))] if "verdict" in about else []
        rows["prompts"].append({"prompt_id": prompt, "n_tokens": len(asked), **about})
        for position, letter in enumerate(asked + said):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            generated = position >= len(asked)
            token = {"_": " ", "T": "<think>", "M": "<think>"}.get(letter, letter)
            role = {"T": "think", "s": "special"}.get(letter, "assistant" if generated else "user")
            rows["tokens"].append(
                {**key, "token": token, "token_id": ord(letter), "role": role, "generated": generated}
            )
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": ord(letter) % 3, "weight": 1.0})
    return memory_store(anatomy((3,), 1), rows)


def where(store: Any, mask: np.ndarray) -> list[str]:
    rows = store.tokens[mask]
    return [f"{p}:{i}" for p, i in zip(rows["prompt_id"], rows["position"], strict=True)]
