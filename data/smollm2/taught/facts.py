"""Whether an answer says one of the facts that its question asks for.

The rule, fixed before any model but the dense one was asked: the answer in lower case, with plain apostrophes and single
spaces, holds one of the strings of the label `facts` as whole words; a string that ends in * may go on ("erupt*" is in
"erupted"). What else the answer says does not count: it is a mild rule, whose chance `by_chance` measures.
"""

import re
from collections.abc import Sequence


def facts_of(label: str) -> tuple[str, ...]:
    """The accepted strings of a label, which stand between bars."""
    return tuple(label.split("|"))


def is_right(answer: str, facts: Sequence[str]) -> bool:
    """Whether one of the facts is said."""
    text = plain(answer)
    return any(re.search(_pattern(fact), text) for fact in facts)


def by_chance(answers: Sequence[str], facts: Sequence[Sequence[str]]) -> float:
    """The share right, were every answer given to every other question: what an answer on the subject gets by chance."""
    pairs = [(answer, fact) for i, answer in enumerate(answers) for j, fact in enumerate(facts) if i != j]
    return sum(is_right(answer, fact) for answer, fact in pairs) / len(pairs)


def plain(text: str) -> str:
    """Lower case, plain apostrophes, single spaces."""
    return re.sub(r"\s+", " ", text.replace("\u2019", "'")).strip().casefold()


def _pattern(fact: str) -> str:
    end = "" if fact.endswith("*") else r"(?!\w)"
    return rf"(?<!\w){re.escape(plain(fact.rstrip('*')))}{end}"
