"""What a module answered, without what some families put beside it."""

from typing import Any


def first(answer: Any) -> Any:
    """The answer, or the first part of one that has several (hidden states and router logits, say)."""
    return answer[0] if isinstance(answer, tuple | list) else answer
