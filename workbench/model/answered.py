"""What a module answered, without what some families put beside it, and a router's answer in one order."""

from typing import Any

from torch import Tensor


def first(answer: Any) -> Any:
    """The answer, or the first part of one that has several (hidden states and router logits, say)."""
    return answer[0] if isinstance(answer, tuple | list) else answer


def logits_first(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """A router's logits, weights and expert numbers, and what else it answers; of transformers up to 5.22 granitemoe's router
    begins with the numbers.
    """
    return swapped(answer) if numbers_first(answer) else answer


def numbers_first(answer: tuple[Any, ...]) -> bool:
    """Whether a router's answer begins with the numbers of experts and ends with the logits."""
    if len(answer) != 3 or not all(isinstance(part, Tensor) for part in answer):
        return False
    return not answer[0].is_floating_point() and answer[2].is_floating_point()


def swapped(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """From one order to the other."""
    logits, weights, index, *rest = answer
    return (index, weights, logits, *rest)
