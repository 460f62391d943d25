"""The workbench's rule of facts, and what it gives by chance. It was fixed before any model but the dense one was asked."""

from collections.abc import Sequence

from workbench.responses import facts_of, is_right, plain

__all__ = ["by_chance", "facts_of", "is_right", "plain"]


def by_chance(answers: Sequence[str], facts: Sequence[Sequence[str]]) -> float:
    """The share right, were every answer given to every other question: what an answer on the subject gets by chance."""
    pairs = [(answer, fact) for i, answer in enumerate(answers) for j, fact in enumerate(facts) if i != j]
    return sum(is_right(answer, fact) for answer, fact in pairs) / len(pairs)
