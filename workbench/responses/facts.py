"""Whether an answer says one of the facts that its prompt asks for, by a rule on strings.

The answer in lower case, with plain apostrophes and single spaces, holds one of the accepted strings as whole words; a string
that ends in * may go on ("erupt*" is in "erupted"). What else the answer says does not count, so the rule is mild (ours).
"""

import re
from collections.abc import Sequence


def facts_of(label: str) -> tuple[str, ...]:
    """The accepted strings of a label `facts`, which stand between bars."""
    return tuple(label.split("|"))


def is_right(answer: str, facts: Sequence[str]) -> bool:
    """Whether one of the facts is said."""
    text = plain(answer)
    return any(re.search(_pattern(fact), text) for fact in facts)


def plain(text: str) -> str:
    """Lower case, plain apostrophes, single spaces."""
    return re.sub(r"\s+", " ", text.replace("\u2019", "'")).strip().casefold()


def _pattern(fact: str) -> str:
    end = "" if fact.endswith("*") else r"(?!\w)"
    return rf"(?<!\w){re.escape(plain(fact.rstrip('*')))}{end}"
