"""The questions by split, each with its form, and how near one is to another."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROMPTS = HERE.parents[1] / "prompts"
FILES = {
    "train": HERE / "train.jsonl",
    "ranking": PROMPTS / "volcanoes.jsonl",
    "heldout": PROMPTS / "volcanoes_heldout.jsonl",
    "fresh": HERE / "fresh.jsonl",
}
"""`fresh` was written when the recipe was fixed, and read once."""
SPLITS = tuple(FILES)
KINDS = ("subject", "neighbour", "other")
"""Volcanoes, what lies near them (earthquakes, mountains, rocks), and anything else."""

Line = dict[str, Any]


def lines(split: str) -> list[Line]:
    """A split's prompts as `read_prompts` reads them: id, messages, labels (kind, form, facts), split; a taught `response`."""
    return read(FILES[split])


def read(path: Path) -> list[Line]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def question(line: Line) -> str:
    """What the user asks."""
    return line["messages"][-1]["content"]


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.replace("\u2019", "'").casefold())


def opening(text: str) -> tuple[str, ...]:
    """The first two words of a question: its form as a reader meets it."""
    return tuple(words(text)[:2])


def nearness(text: str, others: Sequence[str], n: int = 3) -> float:
    """The largest share of a question's word n-grams that one other question holds, 0 to 1; both ends count as a word."""
    own = _grams(text, n)
    return max((len(own & _grams(other, n)) / len(own) for other in others), default=0.0)


def _grams(text: str, n: int) -> set[tuple[str, ...]]:
    found = ["^", *words(text), "$"]
    return {tuple(found[i : i + n]) for i in range(max(1, len(found) - n + 1))}
