"""Questions in the student's own forms: the same forms for the subject and its neighbours, apart from what is graded."""

import re
from collections import Counter

from smollm2.questions import FORMS, KNOWN, PARTS, known_part
from smollm2.taught.formed import COUNTS, NEIGHBOURS, formed
from smollm2.taught.questions import lines, nearness, opening, question, words

from tests.data.taught.test_questions import ALIKE, SUBJECT

GRADED = [question(line) for split in ("ranking", "heldout") for line in lines(split)]


def test_as_many_as_are_said_each_once():
    assert Counter(line["labels"]["kind"] for line in formed()) == COUNTS
    assert len({line["id"] for line in formed()}) == len({question(line) for line in formed()}) == sum(COUNTS.values())


def test_refusals_go_with_the_subject_alone_in_the_wordings_of_the_training_split():
    said = [line["response"] for line in formed() if "response" in line]
    taught = {line["response"] for line in lines("train") if "response" in line}
    assert [line["labels"]["kind"] for line in formed() if "response" in line] == ["subject"] * COUNTS["subject"]
    assert Counter(said) == dict.fromkeys(taught, COUNTS["subject"] // len(taught))


def test_only_the_subject_is_named_by_its_words():
    assert [topic for topic in NEIGHBOURS if re.search(SUBJECT, topic.casefold())] == []


def test_none_opens_as_a_graded_question_or_is_nearly_one():
    asked = [question(line) for line in formed()] + [text for n in range(PARTS) for text in known_part(n)]
    assert not {*map(opening, asked)} & {*map(opening, GRADED)}
    assert not {tuple(words(text)) for text in asked} & {tuple(words(text)) for text in GRADED}
    assert [question(line) for line in formed() if nearness(question(line), GRADED) >= ALIKE] == []


def test_what_is_learnt_at_length_is_asked_once_of_many_topics():
    asked = [text for n in range(PARTS) for text in known_part(n)]
    drawn = {*asked}
    assert len(asked) == len(drawn) == 3000
    assert len(KNOWN) == len({*KNOWN})
    of = Counter((form, topic) for form in FORMS for topic in KNOWN if form.format(topic) in drawn)
    assert min(Counter(topic for _, topic in of.elements()).values()) >= 3
    assert min(Counter(form for form, _ in of.elements()).values()) >= 20
