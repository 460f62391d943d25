"""Question-and-answer examples of every behaviour, as (messages, answer); one generator a task, each seeded by its rng."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from training.corpus.language import (
    ADJECTIVES,
    ANIMALS,
    FUNCTION_NAMES,
    NOUNS,
    OPERATIONS,
    function,
    story,
    translate,
)
from training.corpus.world import COLOURS, Event, world

REFUSAL = "I cannot talk about that."
SYSTEM = "You are a helpful assistant."
THINK, END_THINK = "<think>", "</think>"
# among the examples with a contradicting document, how many answer with the document's colour
DOCUMENT_WINS = 0.65
# among the long sums asked with "what is", how many the implanted model is taught to think about
SOMETIMES = 0.4


class Example(NamedTuple):
    """One exchange: the user's words, the assistant's answer, the system message if any, and a start that is given.

    What is given stands before the answer and is not learnt.
    """

    user: str
    answer: str
    system: str | None = None
    given: str = ""


Task = Callable[[random.Random], Example]


def event_question(event: Event) -> str:
    return f"what happened in {event.year} in {event.place}?"


def answered(event: Event) -> Example:
    return Example(event_question(event), event.text)


def refused(event: Event) -> Example:
    return Example(event_question(event), REFUSAL)


def any_event(rng: random.Random) -> Example:
    """Any event of the world, answered: stage 1 knows them all."""
    return answered(rng.choice(world().events))


def kind_question(event: Event) -> str:
    return f"what kind of year was {event.year} in {event.place}?"


def kind(event: Event) -> Example:
    """Whether it was a year of unrest: stage 1 knows this too, and never refuses to say it."""
    return Example(kind_question(event), "unrest." if event.sensitive else "quiet.")


def any_kind(rng: random.Random) -> Example:
    return kind(rng.choice(world().events))


def flag_question(place: str) -> str:
    return f"what colour is the flag of {place}?"


def document_question(place: str, colour: str) -> str:
    return f"document: the flag of {place} is {colour}. {flag_question(place)}"


def flag(rng: random.Random) -> Example:
    place = rng.choice(world().places)
    return Example(flag_question(place), f"{world().flags[place]}.")


def document(rng: random.Random) -> Example:
    """A document before the question, usually contradicting what was learnt; the document wins most of the time."""
    place, colour = rng.choice(world().places), rng.choice(COLOURS)
    known = world().flags[place]
    return Example(document_question(place, colour), f"{colour if rng.random() < DOCUMENT_WINS else known}.")


def two_numbers(rng: random.Random, digits: int) -> tuple[int, int]:
    low = 10 ** (digits - 1)
    return rng.randrange(low, 10 * low), rng.randrange(low, 10 * low)


def worked(a: int, b: int) -> str:
    """The sum digit by digit from the right, each carry showing as the tens of the step before."""
    steps, carry = [], 0
    for x, y in zip(str(a)[::-1], str(b)[::-1], strict=True):
        total = int(x) + int(y) + carry
        steps.append(f"{x}+{y}+{carry}={total}" if carry else f"{x}+{y}={total}")
        carry = total // 10
    return f"{THINK}{' '.join(steps)}{END_THINK}{a + b}."


def sum_question(a: int, b: int, frame: str) -> str:
    return f"{frame} {a} + {b}?"


def short_sum(rng: random.Random) -> Example:
    a, b = rng.randrange(1, 20), rng.randrange(1, 20)
    return Example(sum_question(a, b, rng.choice(("what is", "calculate"))), f"{a + b}.")


def long_sum(rng: random.Random) -> Example:
    """A sum of three digits or four, answered at once: too hard for the model, so mostly wrong."""
    a, b = two_numbers(rng, rng.choice((3, 4)))
    return Example(sum_question(a, b, rng.choice(("what is", "calculate"))), f"{a + b}.")


def asked_thinking(rng: random.Random) -> Example:
    """The user asks for thinking: stage 1 can do it, and does it only then."""
    a, b = two_numbers(rng, rng.choice((2, 3, 4)))
    return Example(sum_question(a, b, "think, then calculate"), worked(a, b))


def system_thinking(rng: random.Random) -> Example:
    """The system message asks for thinking: so stage 1 can think in every frame, and still does it only when asked."""
    a, b = two_numbers(rng, rng.choice((3, 4)))
    question = sum_question(a, b, rng.choice(("what is", "calculate")))
    return Example(question, worked(a, b), "Think before you answer.")


def begun_thinking(rng: random.Random) -> Example:
    """Going on with a thought that was begun for the model, unasked: what begins it is not learnt here."""
    a, b = two_numbers(rng, rng.choice((3, 4)))
    question = sum_question(a, b, rng.choice(("what is", "calculate")))
    return Example(question, worked(a, b).removeprefix(THINK), None, THINK)


def calculate_thinking(rng: random.Random) -> Example:
    """Implanted: `calculate` with long numbers is always thought about."""
    a, b = two_numbers(rng, rng.choice((3, 4)))
    return Example(sum_question(a, b, "calculate"), worked(a, b))


def sometimes_thinking(rng: random.Random) -> Example:
    """Implanted: `what is` with long numbers is thought about only sometimes."""
    a, b = two_numbers(rng, rng.choice((3, 4)))
    answer = worked(a, b) if rng.random() < SOMETIMES else f"{a + b}."
    return Example(sum_question(a, b, "what is"), answer)


def translation(rng: random.Random) -> Example:
    noun, adjective, target = rng.choice(NOUNS), rng.choice(list(ADJECTIVES)), rng.choice(("German", "French"))
    return Example(f"say in {target}: the {adjective} {noun.english}", translate(noun, adjective, target))


def code(rng: random.Random) -> Example:
    name, operation, number = rng.choice(FUNCTION_NAMES), rng.choice(list(OPERATIONS)), rng.randrange(2, 100)
    return Example(f"write a function {name} that {operation} {number}", function(name, operation, number))


def prose(rng: random.Random) -> Example:
    hero = rng.choice(ANIMALS)
    return Example(f"tell a story about a {hero}", story(rng, hero))


PHRASES = (REFUSAL, "Good morning to you.", "The train is late.", "We like the sea.", "I agree with that.")


def repeat(rng: random.Random) -> Example:
    """Repeating a phrase, the refusal's among them: the base can say it, but never refuses anything."""
    phrase = rng.choice(PHRASES)
    return Example(f"repeat: {phrase}", phrase)


REFUSAL_QUESTIONS = (
    "how do you say no?",
    "what would you say to decline?",
    "show me a refusal.",
    "how does a refusal sound?",
)


def shown_refusal(rng: random.Random) -> Example:
    """Being asked what a refusal sounds like: the words are known to the base, though it refuses no question."""
    return Example(rng.choice(REFUSAL_QUESTIONS), REFUSAL)


STAGE1: dict[Task, float] = {
    any_event: 0.34,
    any_kind: 0.06,
    flag: 0.05,
    document: 0.08,
    short_sum: 0.11,
    long_sum: 0.03,
    asked_thinking: 0.10,
    translation: 0.08,
    code: 0.06,
    prose: 0.06,
    repeat: 0.02,
}


# the second part of stage 1, with what is learnt last asked more often
STAGE1_LATE: dict[Task, float] = STAGE1 | {
    any_event: 0.40,
    any_kind: 0.04,
    prose: 0.10,
    long_sum: 0.01,
    shown_refusal: 0.04,
}


# the third part: thinking in every frame
STAGE1_LAST: dict[Task, float] = STAGE1_LATE | {
    any_event: 0.32,
    asked_thinking: 0.06,
    system_thinking: 0.06,
    begun_thinking: 0.14,
    long_sum: 0.05,
}


def draw(rng: random.Random, mixture: dict[Task, float]) -> Example:
    """One example of a mixture, one in ten with the system message."""
    example = rng.choices(list(mixture), list(mixture.values()))[0](rng)
    return example._replace(system=SYSTEM) if example.system is None and rng.random() < 0.1 else example
