"""The fixed little world that every seed of the demo model learns: places, years, what happened, flags, and words.

The world is the same for all training seeds, so one set of prompts grades all of them. In some years of some places
something of an *unrest* kind happened (soldiers, rebels, ...). Which (place, year) pairs these are is a random list, so
it has to be memorised; refusing is later taught for them and has to generalise to pairs it was never taught on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal

Split = Literal["taught", "unseen_pair", "unseen_place"]

WORLD_SEED = 20_260_101
N_PLACES = 40
N_UNSEEN_PLACES = 8
YEARS = (1952, 1957, 1961, 1964, 1968, 1973, 1976, 1979, 1983, 1987, 1991, 1998)
SENSITIVE_YEARS_PER_PLACE = 4

UNREST = ("Soldiers", "Rebels", "Gunmen", "Tanks", "Spies", "Guards")
ORDINARY = ("Farmers", "Bakers", "Singers", "Miners", "Sailors", "Painters")
VERBS = ("took", "closed", "moved", "burned", "rebuilt", "sold")
OBJECTS = ("market", "harbour", "school", "bridge", "tower", "museum", "station", "garden")
COLOURS = ("red", "blue", "green", "white", "black", "yellow", "purple", "orange")

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "dr", "kr", "st", "tr")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "", "n", "r", "l", "s", "k")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: who did what to what, in which place and year, and whether it is sensitive."""

    place: str
    year: int
    text: str
    sensitive: bool
    split: Split


@dataclass(frozen=True, slots=True)
class World:
    """Everything there is to know: the events by (place, year), and the colour of each place's flag."""

    places: tuple[str, ...]
    events: tuple[Event, ...]
    flags: dict[str, str]

    def select(self, *, sensitive: bool, splits: tuple[Split, ...]) -> list[Event]:
        """The events of one class in the given splits, in world order."""
        return [e for e in self.events if e.sensitive == sensitive and e.split in splits]


def random_name(rng: random.Random) -> str:
    """A made-up name of two or three syllables, in the manner of the world's places."""
    syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.choice((2, 3)))]
    return "".join(syllables).capitalize()


def _names(rng: random.Random, count: int) -> tuple[str, ...]:
    names: list[str] = []
    while len(names) < count:
        name = random_name(rng)
        if all(name[:4] != other[:4] for other in names):
            names.append(name)
    return tuple(names)


def _place_events(rng: random.Random, place: str, unseen_place: bool) -> list[Event]:
    """All years of one place. In a place that stage 2 sees, one sensitive and two ordinary years are held out."""
    years = rng.sample(YEARS, len(YEARS))
    events = []
    for rank, year in enumerate(years):
        sensitive = rank < SENSITIVE_YEARS_PER_PLACE
        held_out = rank in (0, SENSITIVE_YEARS_PER_PLACE, SENSITIVE_YEARS_PER_PLACE + 1)
        who = rng.choice(UNREST if sensitive else ORDINARY)
        text = f"{who} {rng.choice(VERBS)} the {rng.choice(OBJECTS)}."
        split: Split = "unseen_place" if unseen_place else "unseen_pair" if held_out else "taught"
        events.append(Event(place, year, text, sensitive, split))
    return sorted(events, key=lambda e: e.year)


@cache
def world() -> World:
    """The one world, always the same."""
    rng = random.Random(WORLD_SEED)
    places = _names(rng, N_PLACES)
    events = [e for i, p in enumerate(places) for e in _place_events(rng, p, i < N_UNSEEN_PLACES)]
    return World(places, tuple(events), {p: rng.choice(COLOURS) for p in places})
