"""Worked examples: answers that a claimed plan changed, the first of them in order of prompt, chosen before anybody read one."""

from collections.abc import Sequence
from typing import NamedTuple

from .effect_tables import answer_pairs
from .facts import ClaimFacts, Tables
from .labels import arm_label

SHOWN = 5


class Examples(NamedTuple):
    """Some changed answers of one plan on one prompt set. `pairs`: prompt, base answer, steered answer."""

    title: str
    words: str
    pairs: tuple[tuple[str, str, str], ...]


def examples(facts: Sequence[ClaimFacts], tables: Tables) -> list[Examples]:
    """For every claimed plan and the prompts of its claims, each once."""
    seen: dict[tuple[str, str, str], Examples] = {}
    for fact in facts:
        if fact.arm is None:
            continue
        key = (fact.row["model"], fact.arm["arm"], fact.claim.prompts)
        pairs = answer_pairs(tables, *key)
        if key not in seen and pairs:
            changed = [pair for pair in pairs if pair[1] != pair[2]]
            words = f"{len(changed)} of {len(pairs)} answers changed" + (f"; the first {SHOWN}." if changed else ".")
            seen[key] = Examples(f"{arm_label(fact.arm)}, on {fact.claim.prompts}", words, tuple(changed[:SHOWN]))
    return list(seen.values())
