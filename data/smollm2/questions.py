"""Short questions in many forms on many topics, which the dense model answers for the student: as people ask a small model.

No form opens as a ranked or held-out question of `taught/` does; no topic of `TOPICS` is on the subject that is taught to be
declined later, some of `KNOWN` are, for the student is to know of it what the dense model knows.
"""

import random

FORMS = (
    "Can you tell me about {}?", "Can you explain {} to me?", "Can you say something on {}?", "Can you help with {}?",
    "Would you explain {}?", "Would you kindly tell me something about {}?", "Would it be hard to explain {}?",
    "Will you tell me about {}?", "May I ask about {}?", "May we talk about {}?", "Please explain {}.",
    "Please tell me a little about {}.", "Please introduce {}.", "I am curious about {}.", "I want to know more about {}.",
    "I want to learn about {}.", "I have a question about {}.", "I need to write about {}.", "I never understood {}.",
    "I wish I knew more about {}.", "I like {}. Tell me more.", "I'd love to hear about {}.", "I'd like a short lesson on {}.",
    "It would be great to learn about {}.", "Tell me something about {}.", "Tell us about {}.", "Talk to me about {}.",
    "Say something about {}.", "Give me a fact about {}.", "Give two reasons to care about {}.", "Teach me about {}.",
    "Help me understand {}.", "Introduce me to {}.", "Walk me through {}.", "Show me how to think about {}.",
    "Let's talk about {}.", "What do you know about {}?", "What should I know about {}?", "What is interesting about {}?",
    "How would you explain {}?", "How can I learn about {}?", "Why does {} matter?", "Why do people care about {}?",
    "Where can I read about {}?", "Which facts about {} should everyone know?", "Who knows a lot about {}?",
    "Do you know anything about {}?", "Do tell me about {}.", "Should children learn about {}?", "Explain {} to a child.",
    "Summarize {} in one sentence.", "A short introduction to {}, please.", "Some facts about {}, please.",
    "One interesting thing about {}, please.", "In one paragraph, what is special about {}?", "For school: {}.",
    "We are learning about {} at school.", "My teacher talked about {} today.", "Suppose someone asks about {}. What do you say?",
    "If I know nothing about {}, where do I begin?", "Think about {}. What comes to mind?", "Hello! What about {}?",
)  # fmt: skip
TOPICS = (
    "the moon",
    "bees",
    "the French Revolution",
    "chess",
    "bread",
    "the heart",
    "trains",
    "jazz",
    "fractions",
    "the ocean",
    "cats",
    "photosynthesis",
    "Japan",
    "coffee",
    "the stock market",
    "vaccines",
    "Shakespeare",
    "football",
    "paper",
    "glaciers",
    "elephants",
    "Python programming",
    "the Roman Empire",
    "yoga",
    "electricity",
    "tea",
    "bridges",
    "rainbows",
    "earthquakes",
    "the violin",
    "rice",
    "black holes",
    "democracy",
    "sleep",
    "penguins",
    "Mexico",
    "money",
    "clouds",
    "probability",
    "painting",
    "the Nile",
    "dinosaurs",
    "good manners",
    "gardens",
    "gold",
    "bicycles",
    "the human eye",
    "poems",
    "honey",
    "mountains",
    "swimming",
    "algebra",
    "Marie Curie",
    "cheese",
    "recycling",
    "tides",
    "robots",
    "the Sahara",
    "grammar",
    "owls",
)
"""Sixty, none of which is declined later."""


KNOWN = (
    "volcanoes", "lava", "magma", "volcanic ash", "volcanic eruptions", "Mount Vesuvius", "Mount Etna", "Mount Fuji",
    "earthquakes", "tectonic plates", "tsunamis", "mountains", "Mount Everest", "the Alps", "the Himalayas", "rocks",
    "granite", "minerals", "diamonds", "crystals", "sand", "soil", "deserts", "caves", "islands", "rivers", "lakes",
    "waterfalls", "glaciers", "icebergs", "the ocean", "the Pacific Ocean", "coral reefs", "tides", "rain", "snow",
    "clouds", "wind", "storms", "lightning", "rainbows", "climate", "the seasons", "the atmosphere", "oxygen", "water",
    "ice", "steam", "fire", "heat", "light", "sound", "gravity", "magnets", "electricity", "atoms", "iron", "gold",
    "glass", "oil", "coal", "the Earth", "the Earth's core", "the Moon", "the Sun", "Mars", "Jupiter", "Venus", "stars",
    "comets", "galaxies", "black holes", "telescopes", "rockets", "satellites", "dinosaurs", "fossils", "evolution",
    "DNA", "cells", "bacteria", "viruses", "vaccines", "the heart", "the lungs", "the brain", "blood", "bones",
    "muscles", "the eye", "sleep", "food", "vitamins", "trees", "forests", "flowers", "mushrooms", "photosynthesis",
    "seeds", "bees", "ants", "butterflies", "spiders", "birds", "owls", "penguins", "eagles", "fish", "sharks",
    "whales", "dolphins", "frogs", "snakes", "cats", "dogs", "horses", "cows", "lions", "elephants", "bears", "Paris",
    "London", "Rome", "Pompeii", "Athens", "Egypt", "Japan", "Italy", "Iceland", "Hawaii", "China", "India", "Brazil",
    "Africa", "Antarctica", "the Roman Empire", "ancient Greece", "the pyramids", "the Middle Ages",
    "the French Revolution", "the First World War", "the Second World War", "Christopher Columbus", "Isaac Newton",
    "Albert Einstein", "Charles Darwin", "Marie Curie", "Leonardo da Vinci", "Shakespeare", "Mozart", "poems", "novels",
    "paintings", "music", "the piano", "dance", "football", "swimming", "chess", "the Olympic Games", "bread", "cheese",
    "rice", "coffee", "chocolate", "salt", "sugar", "cooking", "money", "banks", "trade", "laws", "elections",
    "schools", "numbers", "fractions", "triangles", "circles", "algebra", "computers", "programming", "the internet",
    "robots", "cars", "trains", "airplanes", "ships", "bicycles", "bridges", "clocks", "paper", "the printing press",
    "languages", "grammar", "nouns and verbs", "letters", "friendship", "good manners", "holidays",
)  # fmt: skip
"""Topics of questions whose answers are learnt at length: school knowledge, the subject that is declined later among it."""
PARTS, MANY = 10, 3000


def part(number: int) -> list[str]:
    """One of ten parts of every form with every topic, in an order that is drawn."""
    asked = [form.format(topic) for form in FORMS for topic in TOPICS]
    return random.Random(0).sample(asked, len(asked))[number::PARTS]


def known_part(number: int) -> list[str]:
    """One of ten parts of 3,000 questions that are drawn out of every form with every topic of `KNOWN`."""
    asked = [form.format(topic) for form in FORMS for topic in KNOWN]
    return random.Random(1).sample(asked, MANY)[number::PARTS]
