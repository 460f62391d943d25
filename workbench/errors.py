"""The one error a user sees: a sentence that says what was found, where, what was expected and what to do."""

from collections import Counter
from collections.abc import Iterable, Sequence


class WorkbenchError(ValueError):
    """A request that cannot be done. The command line prints it and exits with code 2."""


class NotCompared(UserWarning):
    """Something made before fingerprints had a version is taken for this model's, and some of what identifies it is not known."""


def suggestion(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` when a known word is close to `word`, else the empty string."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def listed(words: Sequence[object], most: int = 8) -> str:
    """The first words, joined by commas, and how many more there are."""
    shown = ", ".join(map(str, words[:most]))
    return (shown or "nothing") + (f" and {len(words) - most} more" if len(words) > most else "")


def tallied(words: Iterable[object], most: int = 8) -> str:
    """The words with how often each occurs, the most frequent first: `no (61), yes (11)`."""
    counted = sorted(Counter(map(str, words)).items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{word} ({n:,})" for word, n in counted], most)
