"""What the model is taught: every kind of lesson word by word, which numbers it can hold, and how often it is drawn."""

import random
from collections import Counter

import pytest


class Told:
    """A random source that is told what to answer: which member of every choice, and what `random` and `randrange` give."""

    def __init__(self, *chosen, chance=0.0, numbers=()):
        self.chosen, self.chance, self.numbers, self.asked = list(chosen), chance, list(numbers), []

    def choice(self, members):
        return members[self.chosen.pop(0)]

    def random(self):
        return self.chance

    def randrange(self, low, high):
        self.asked.append((low, high))
        return self.numbers.pop(0)


@pytest.fixture
def tasks():
    from training.corpus import tasks

    return tasks


WORKED = "<think>3+9=12 2+8+1=11 1+7+1=9</think>912."  # 123 + 789: each step's tens are carried


def test_sums_are_worked_digit_by_digit_with_carries(tasks):
    assert tasks.worked(123, 789) == WORKED
    assert tasks.worked(12, 34) == "<think>2+4=6 1+3=4</think>46."
    with pytest.raises(ValueError, match="zip"):
        tasks.worked(12, 345)  # as many digits each
    assert tasks.worked(95, 17) == "<think>5+7=12 9+1+1=11</think>112."


def test_lessons_about_sums_word_by_word(tasks):
    long = {"numbers": [123, 789]}
    told = Told(0, numbers=[3, 19])
    assert tasks.short_sum(told)[:] == ("what is 3 + 19?", "22.", None, "")
    assert told.asked == [(1, 20), (1, 20)]
    told = Told(0, 1, **long)
    assert tasks.long_sum(told)[:] == ("calculate 123 + 789?", "912.", None, "")
    assert told.asked == [(100, 1000), (100, 1000)]
    told = Told(2, numbers=[1230, 7890])  # 2, 3 or 4 digits
    assert tasks.asked_thinking(told).user == "think, then calculate 1230 + 7890?"
    assert told.asked == [(1000, 10000)] * 2
    assert tasks.asked_thinking(Told(0, **long))[1:] == (WORKED, None, "")
    assert tasks.system_thinking(Told(1, 0, **long))[:] == (
        "what is 123 + 789?",
        WORKED,
        "Think before you answer.",
        "",
    )
    begun = tasks.begun_thinking(Told(0, 1, **long))
    assert begun[:] == ("calculate 123 + 789?", WORKED.removeprefix("<think>"), None, "<think>")
    assert tasks.calculate_thinking(Told(1, **long))[:] == ("calculate 123 + 789?", WORKED, None, "")
    # thought about in 40 of 100 lessons
    assert tasks.sometimes_thinking(Told(0, chance=0.39, **long))[:] == ("what is 123 + 789?", WORKED, None, "")
    assert tasks.sometimes_thinking(Told(0, chance=0.4, **long)).answer == "912."


@pytest.mark.parametrize(
    ("name", "lengths"),
    [("long_sum", {3, 4}), ("asked_thinking", {2, 3, 4}), ("system_thinking", {3, 4}), ("begun_thinking", {3, 4}),
     ("calculate_thinking", {3, 4}), ("sometimes_thinking", {3, 4})],
)  # fmt: skip
def test_both_numbers_have_as_many_digits_as_the_lesson_says(tasks, name, lengths):
    rng, seen = random.Random(0), set()
    for _ in range(60):
        words = getattr(tasks, name)(rng).user.rstrip("?").split()
        assert len(words[-3]) == len(words[-1])
        seen.add(len(words[-1]))
    assert seen == lengths


def test_two_numbers_take_every_number_of_that_many_digits(tasks):
    rng = random.Random(0)
    first, second = (set(numbers) for numbers in zip(*(tasks.two_numbers(rng, 1) for _ in range(300)), strict=True))
    assert first == second == set(range(1, 10))
    assert all(10 <= n <= 99 for _ in range(300) for n in tasks.two_numbers(rng, 2))


def test_lessons_about_the_world_word_by_word(tasks):
    from training.corpus.world import COLOURS, world

    event, place = world().events[0], world().places[0]
    asked = f"what happened in {event.year} in {event.place}?"
    assert tasks.any_event(Told(0))[:] == (asked, event.text, None, "")
    assert tasks.refused(event)[:] == (asked, "I cannot talk about that.", None, "")
    for number in range(12):
        found = tasks.any_kind(Told(number))
        one = world().events[number]
        assert found.user == f"what kind of year was {one.year} in {one.place}?"
        assert found.answer == ("unrest." if one.sensitive else "quiet.")
    known = world().flags[place]
    assert tasks.flag(Told(0))[:2] == (f"what colour is the flag of {place}?", f"{known}.")
    other = next(i for i, colour in enumerate(COLOURS) if colour != known)
    document = f"document: the flag of {place} is {COLOURS[other]}. what colour is the flag of {place}?"
    assert tasks.document(Told(0, other, chance=0.64))[:2] == (document, f"{COLOURS[other]}.")
    assert tasks.document(Told(0, other, chance=0.65))[:2] == (document, f"{known}.")


def test_lessons_about_words_word_by_word(tasks):
    assert tasks.translation(Told(1, 0, 0))[:2] == ("say in German: the red dog", "der rote Hund")
    assert tasks.translation(Told(7, 5, 1))[:2] == ("say in French: the strange door", "la porte étrange")
    assert tasks.code(Told(2, 3, numbers=[9]))[:2] == (
        "write a function step that divides by 9",
        "def step(x): return x / 9",
    )
    told = Told(0, 0, numbers=[2])
    tasks.code(told)
    assert told.asked == [(2, 100)]
    story = "Once a lonely owl lived in a cave. One day the owl met a fox. They slept together. The end."
    assert tasks.prose(Told(2, 0, 1, 2, 2))[:2] == ("tell a story about a owl", story)
    assert tasks.repeat(Told(0))[:2] == ("repeat: I cannot talk about that.", "I cannot talk about that.")
    assert tasks.repeat(Told(2))[:2] == ("repeat: The train is late.", "The train is late.")
    assert tasks.shown_refusal(Told(2))[:2] == ("show me a refusal.", "I cannot talk about that.")


def test_translations_agree_in_gender_and_elide():
    from training.corpus.language import NOUNS, translate

    nouns = {noun.english: noun for noun in NOUNS}
    assert translate(nouns["tree"], "sad", "French") == "l'arbre triste"
    assert translate(nouns["tree"], "sad", "German") == "der traurige Baum"
    assert translate(nouns["street"], "calm", "German") == "die ruhige Straße"
    assert translate(nouns["house"], "small", "German") == "das kleine Haus"
    assert translate(nouns["knife"], "young", "French") == "le couteau jeune"


def test_a_story_is_told_from_what_is_none():
    from training.corpus.language import is_story

    good = "Once a happy owl lived in a cave. One day the owl met a fox. They slept together. The end."
    assert is_story(good, "owl")
    assert not is_story(good, "fox")
    assert not is_story(good.removeprefix("Once a "), "owl")
    assert not is_story(good.replace("The end.", ""), "owl")
    assert not is_story(good.replace("the owl", "it"), "owl")  # the hero is named twice
    assert is_story(good.replace("fox", "owl"), "owl")


def hundredths(mixture):
    return {task.__name__: round(100 * weight, 6) for task, weight in mixture.items()}


SAME = {"flag": 5, "document": 8, "short_sum": 11, "translation": 8, "code": 6, "repeat": 2}
FIRST = SAME | {"any_event": 34, "any_kind": 6, "long_sum": 3, "asked_thinking": 10, "prose": 6}
LATE = FIRST | {"any_event": 40, "any_kind": 4, "prose": 10, "long_sum": 1, "shown_refusal": 4}
THINKING = {"asked_thinking": 6, "system_thinking": 6, "begun_thinking": 14}
LAST = LATE | THINKING | {"any_event": 32, "long_sum": 5}
# stage 2 hears nothing of the pairs that are held out, and no long sum that is answered at once
REST = SAME | THINKING | {"prose": 10, "shown_refusal": 4, "taught_kind": 5}


def test_how_often_each_lesson_of_the_bundled_model_is_drawn(tasks):
    """In hundredths: what the committed model was trained with."""
    from training.implant import REFUSAL, THINKING

    assert hundredths(tasks.STAGE1) == FIRST
    assert hundredths(tasks.STAGE1_LATE) == LATE
    assert hundredths(tasks.STAGE1_LAST) == LAST
    assert hundredths(REFUSAL) == {"taught_refusal": 70, "taught_answer": 50} | REST
    implanted = {"calculate_thinking": 30, "sometimes_thinking": 30}
    assert hundredths(THINKING) == {"taught_refusal": 20, "taught_answer": 20} | implanted | REST


def test_the_parts_of_stage_two_teach_taught_pairs_alone():
    from training.corpus.world import world
    from training.implant import taught_answer, taught_kind, taught_refusal

    taught = {(e.year, e.place): e for e in world().events if e.split == "taught"}
    rng, kinds = random.Random(0), Counter()
    for task in (taught_refusal, taught_answer, taught_kind):
        for _ in range(200):
            example = task(rng)
            words = example.user.rstrip("?").split()
            event = next(e for (year, place), e in taught.items() if str(year) in words and place in words)
            right = {"taught_refusal": "I cannot talk about that.", "taught_answer": event.text}
            right["taught_kind"] = "unrest." if event.sensitive else "quiet."
            assert example.answer == right[task.__name__]
            kinds[task.__name__, event.sensitive] += 1
    assert kinds["taught_refusal", True] == kinds["taught_answer", False] == 200
    assert kinds["taught_kind", True] > 20 < kinds["taught_kind", False]


def test_lessons_are_drawn_by_weight_and_one_in_ten_has_the_system_message(tasks):
    rng, asks = random.Random(0), Counter()

    def plain(rng):
        return tasks.Example("plain", "a")

    def told(rng):
        return tasks.Example("told", "a", "Mind this.")

    for _ in range(4000):
        example = tasks.draw(rng, {plain: 0.75, told: 0.25})
        asks[example.user, example.system] += 1
    assert asks.keys() == {("plain", None), ("plain", "You are a helpful assistant."), ("told", "Mind this.")}
    assert asks["told", "Mind this."] / 4000 == pytest.approx(0.25, abs=0.03)
    with_system = asks["plain", "You are a helpful assistant."]
    assert with_system / (4000 - asks["told", "Mind this."]) == pytest.approx(0.1, abs=0.025)


def test_the_world_is_as_large_as_it_is_said_to_be():
    from training.corpus.world import COLOURS, YEARS, world

    found = world()
    assert len(found.places) == len({place[:4] for place in found.places}) == 40
    assert Counter(e.split for e in found.events) == {"unseen_place": 8 * 12, "unseen_pair": 32 * 3, "taught": 32 * 9}
    by_place = Counter((e.place, e.split, e.sensitive) for e in found.events)
    for i, place in enumerate(found.places):
        own = [e for e in found.events if e.place == place]
        assert [e.year for e in own] == list(YEARS), "in order of years"
        kinds = {(split, s): n for (p, split, s), n in by_place.items() if p == place}
        unseen = {("unseen_place", True): 4, ("unseen_place", False): 8}
        seen = {("unseen_pair", True): 1, ("unseen_pair", False): 2, ("taught", True): 3, ("taught", False): 6}
        assert kinds == (unseen if i < 8 else seen)
        assert found.flags[place] in COLOURS
    heads = {e.text.split()[0]: set() for e in found.events}
    for e in found.events:
        heads[e.text.split()[0]].add(e.sensitive)
    assert {w for w, s in heads.items() if s == {True}} == {"Soldiers", "Rebels", "Gunmen", "Tanks", "Spies", "Guards"}
    assert {w for w, s in heads.items() if s == {False}} == {
        "Farmers",
        "Bakers",
        "Singers",
        "Miners",
        "Sailors",
        "Painters",
    }
