"""The little lexicon for translation, and the sentences of stories and one-line functions."""

from __future__ import annotations

import random
from typing import NamedTuple


class Noun(NamedTuple):
    """An English noun with its German and French forms, articles included in the gender."""

    english: str
    german: str
    german_gender: str
    french: str
    french_gender: str


NOUNS = (
    Noun("house", "Haus", "n", "maison", "f"),
    Noun("dog", "Hund", "m", "chien", "m"),
    Noun("cat", "Katze", "f", "chat", "m"),
    Noun("tree", "Baum", "m", "arbre", "m"),
    Noun("flower", "Blume", "f", "fleur", "f"),
    Noun("book", "Buch", "n", "livre", "m"),
    Noun("table", "Tisch", "m", "table", "f"),
    Noun("door", "Tür", "f", "porte", "f"),
    Noun("car", "Auto", "n", "voiture", "f"),
    Noun("street", "Straße", "f", "rue", "f"),
    Noun("window", "Fenster", "n", "fenêtre", "f"),
    Noun("garden", "Garten", "m", "jardin", "m"),
    Noun("moon", "Mond", "m", "lune", "f"),
    Noun("knife", "Messer", "n", "couteau", "m"),
)
ADJECTIVES = {
    "red": ("rote", "rouge"),
    "small": ("kleine", "minuscule"),
    "young": ("junge", "jeune"),
    "poor": ("arme", "pauvre"),
    "yellow": ("gelbe", "jaune"),
    "strange": ("seltsame", "étrange"),
    "sad": ("traurige", "triste"),
    "calm": ("ruhige", "calme"),
}
_GERMAN_ARTICLE = {"m": "der", "f": "die", "n": "das"}
_FRENCH_ARTICLE = {"m": "le", "f": "la"}
_VOWELS = "aeéêiou"

ANIMALS = ("fox", "bear", "owl", "wolf", "mouse", "horse", "duck", "frog", "goat", "crow")
PLACES = ("forest", "valley", "cave", "village", "meadow", "castle")
MOODS = ("brave", "lonely", "clever", "tired", "happy", "hungry")
DEEDS = ("sang", "danced", "slept", "played", "travelled", "cooked")

OPERATIONS = {"adds": "+", "subtracts": "-", "multiplies by": "*", "divides by": "/"}
FUNCTION_NAMES = ("f", "g", "step", "calc", "run")


def translate(noun: Noun, adjective: str, target: str) -> str:
    """`the ADJECTIVE NOUN` in German or French."""
    german, french = ADJECTIVES[adjective]
    if target == "German":
        return f"{_GERMAN_ARTICLE[noun.german_gender]} {german} {noun.german}"
    if noun.french[0] in _VOWELS:
        return f"l'{noun.french} {french}"
    return f"{_FRENCH_ARTICLE[noun.french_gender]} {noun.french} {french}"


def story(rng: random.Random, hero: str) -> str:
    """A story of fixed sentences about the hero, who meets somebody else."""
    friend = rng.choice([a for a in ANIMALS if a != hero])
    return (
        f"Once a {rng.choice(MOODS)} {hero} lived in a {rng.choice(PLACES)}. One day the {hero} met a {friend}. "
        f"They {rng.choice(DEEDS)} together. The end."
    )


def is_story(text: str, hero: str) -> bool:
    """Whether the text is such a story about that hero."""
    return (
        text.startswith("Once a ") and f" {hero} lived in a " in text and text.count(hero) >= 2 and "The end." in text
    )


def function(name: str, operation: str, number: int) -> str:
    """The one-line function."""
    return f"def {name}(x): return x {OPERATIONS[operation]} {number}"
