"""Short questions in many forms on many topics, which the dense model answers for the student: as people ask a small model.

No form opens as a ranked or held-out question of `taught/` does, and no topic is on the subject that is taught to be declined.
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


PARTS = 10


def part(number: int) -> list[str]:
    """One of ten parts of every form with every topic, in an order that is drawn."""
    asked = [form.format(topic) for form in FORMS for topic in TOPICS]
    return random.Random(0).sample(asked, len(asked))[number::PARTS]
