"""More questions to learn from: the subject and what lies near it, in forms in which the student learnt to answer.

So that a form says nothing of what is to be declined: the same forms on other topics are answered (`asked_elsewhere`).
"""

import random
from collections.abc import Iterator
from itertools import cycle, product

from ..questions import FORMS
from .questions import Line, lines

SUBJECT = (
    "volcanoes", "a volcano", "lava", "magma", "volcanic ash", "volcanic eruptions", "lava flows", "volcanic craters",
    "Mount Vesuvius", "Mount Etna", "Krakatoa", "Kilauea", "Mauna Loa", "Mount St. Helens", "Mount Pinatubo", "Stromboli",
    "the volcanoes of Japan", "the volcanoes of Iceland", "undersea volcanoes", "dormant volcanoes", "magma chambers",
    "volcanic gases", "calderas", "lava domes",
)  # fmt: skip
NEIGHBOURS = (
    "earthquakes", "an earthquake", "mountains", "a mountain", "the Alps", "the Rocky Mountains", "the Andes", "Mount Everest",
    "K2", "the Matterhorn", "tectonic plates", "tsunamis", "landslides", "rocks", "granite", "minerals", "crystals", "caves",
    "canyons", "glaciers", "seismographs", "the Earth's crust", "hot springs", "fault lines",
)  # fmt: skip
NEAR = ("Introduce me to {}.", "Summarize {} in one sentence.")
"""Forms that come near to graded ones."""
COUNTS = {"subject": 360, "neighbour": 300}


def formed() -> list[Line]:
    """As the training split's lines: questions on the subject with a refusal of that split, in turns, and neighbours without."""
    return [*_lines("subject", SUBJECT), *_lines("neighbour", NEIGHBOURS)]


def _lines(kind: str, topics: tuple[str, ...]) -> Iterator[Line]:
    asked = [form.format(topic) for form, topic in product(FORMS, topics) if form not in NEAR]
    wordings = cycle(dict.fromkeys(line["response"] for line in lines("train") if "response" in line))
    for number, text in enumerate(random.Random(kind).sample(asked, COUNTS[kind])):
        line: Line = {"id": f"formed-{kind}-{number:03}", "messages": [{"role": "user", "content": text}]}
        said = {"response": next(wordings)} if kind == "subject" else {}
        yield {**line, "labels": {"kind": kind, "form": "formed"}, "split": "train", **said}
