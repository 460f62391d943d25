"""How the weights of words were fitted: a logistic regression on refusals and answers about anything but volcanoes.

`declining_texts.jsonl` holds them: refusals that we wrote apart from the taught ones, answers of the dense model to questions
that are not held out, some of them begun for it with a refusal's first words and labelled by reading, and answers of ours that
sound like refusals. The file is the record; the draws that filled it are not kept as a script.
"""

import json

import numpy as np

from .declining import features
from .questions import HERE, read

STEPS, RATE, DECAY = 3000, 0.5, 1e-3
TWICE = 2
"""Texts that a feature is in at least; rarer ones have no weight."""


def fitted(texts: list[str], declines: list[bool]) -> dict[str, float]:
    """Weights by feature, the bias under the empty name; both classes count alike. Without chance: full steps from zero."""
    held = [features(text) for text in texts]
    names = sorted({name for found in held for name in found})
    x = np.array([[name in found for name in names] for found in held], np.float64)
    common = x.sum(0) >= TWICE
    names, x = [name for name, kept in zip(names, common, strict=True) if kept], x[:, common]
    y = np.array(declines, np.float64)
    weight, bias = _descended(x, y, np.where(y == 1, 0.5 / y.sum(), 0.5 / (1 - y).sum()))
    rounded = dict(zip(names, weight.round(3).tolist(), strict=True))
    return {"": round(bias, 3), **{name: value for name, value in rounded.items() if value}}


def _descended(x: np.ndarray, y: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, float]:
    weight, bias = np.zeros(x.shape[1]), 0.0
    for _ in range(STEPS):
        missed = share * (1 / (1 + np.exp(-(x @ weight + bias))) - y)
        weight -= RATE * (missed @ x + DECAY * weight)
        bias -= RATE * missed.sum()
    return weight, float(bias)


def write() -> None:
    """`weights.json`, from the texts that lie beside it."""
    found = read(HERE / "declining_texts.jsonl")
    made = fitted([line["text"] for line in found], [line["declines"] for line in found])
    (HERE / "weights.json").write_text(json.dumps(made, indent=0, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":  # from data/: python -m smollm2.taught.weighing
    write()
