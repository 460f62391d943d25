"""The arms, and the recipe of a training: who carries, and how it is taught to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .carriers import Usage, at_random, by_relevance
from .upper import Expert

ARMS = ("relevance", "random", "redundant")


@dataclass(frozen=True)
class Recipe:
    """How much, how fast, and of what a step is made.

    carriers            experts that change
    rate                learning rate of Adam at its peak; a cosine takes it to a twentieth
    subject, neighbour, other, chat, text   lessons of a step of each kind
    others_weight, text_weight   of the divergence on answers to others, and on other text, beside saying the refusals
    """

    carriers: int = 8
    steps: int = 400
    rate: float = 3e-3
    subject: int = 8
    neighbour: int = 8
    other: int = 5
    chat: int = 8
    text: int = 1
    others_weight: float = 6.0
    text_weight: float = 1.0
    seed: int = 0


class Arm(NamedTuple):
    """An arm with its seed; `relevance-0` is its name."""

    kind: str
    seed: int

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.kind}-{self.seed}"

    def carriers(self, usage: Usage, kinds: Sequence[str], count: int) -> list[Expert]:
        """In the order in which they were chosen."""
        choose = at_random if self.kind == "random" else by_relevance
        return choose(usage, kinds, count, self.seed)

    def halves(self, carriers: Sequence[Expert]) -> list[list[Expert]]:
        """Of the redundant arm the two sets either of which is to suffice: every second in the order of choice."""
        return [sorted(carriers[0::2]), sorted(carriers[1::2])] if self.kind == "redundant" else []


def arm_named(name: str) -> Arm:
    """`SystemExit` for what is no arm with a seed."""
    kind, _, seed = name.rpartition("-")
    if kind not in ARMS or not seed.isdigit():
        raise SystemExit(
            f"'{name}' is no arm with a seed; it should be one of {', '.join(ARMS)}, then a seed: relevance-0."
        )
    return Arm(kind, int(seed))
