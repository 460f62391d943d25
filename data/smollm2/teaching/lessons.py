"""The questions with what is to be said to them, and other text, as token ids."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.factorization.distilling import is_held_out

from ..taught.declining import declines_by_phrases, declines_by_words
from ..taught.formed import formed
from ..taught.questions import lines, read

CHAT, BEGUN, ASKED_OF = (Path(__file__).resolve().parents[1] / name for name in ("chat", "begun", "asked"))
SAID = 16
"""Tokens of an answer that is not a refusal that are learnt at most: whether an answer declines shows at its start."""
ASKED, MOST = 200, 500
"""Characters that a question of a conversation has at most, and how many questions of a folder are learnt from."""
_TURN = re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>\n<\|im_start\|>assistant\n(.*?)<\|im_end\|>", re.DOTALL)
_SUBJECT = re.compile(r"volcan|lava|magma|erupt", re.IGNORECASE)
LENGTH = 128
"""Tokens of a row of other text."""


class Lesson(NamedTuple):
    """Token ids; those from `start` on are to be said. kind: subject, neighbour, other, text."""

    kind: str
    ids: list[int]
    start: int

    def prompt(self) -> "Lesson":
        """What is asked alone."""
        return self._replace(ids=self.ids[: self.start])


class Batch(NamedTuple):
    """Lessons and their ids [rows, length], padded on the right; `reads` is true where the next id is to be said."""

    lessons: Sequence[Lesson]
    ids: Tensor
    reads: Tensor


def batch_of(lessons: Sequence[Lesson]) -> Batch:
    """Rows of one length."""
    longest = max(len(lesson.ids) for lesson in lessons)
    ids, reads = (
        torch.zeros(len(lessons), longest, dtype=torch.long),
        torch.zeros(len(lessons), longest, dtype=torch.bool),
    )
    for row, lesson in enumerate(lessons):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
        reads[row, lesson.start - 1 : len(lesson.ids) - 1] = True
    return Batch(lessons, ids, reads)


def batched(lessons: Sequence[Lesson], rows: int) -> Iterator[Batch]:
    """All of them in order."""
    for i in range(0, len(lessons), rows):
        yield batch_of(lessons[i : i + rows])


def questions(tokenizer: Any, own: dict[str, str]) -> list[Lesson]:
    """The training split and `formed`: the subject with its refusals, the others with the dense model's answers by prompt id."""
    found: list[Lesson] = []
    for line in [*lines("train"), *formed()]:
        text = tokenizer.apply_chat_template(line["messages"], tokenize=False, add_generation_prompt=True)
        asked = _ids(tokenizer, text)
        end = [tokenizer.eos_token_id]
        said = _ids(tokenizer, line["response"] if "response" in line else own[line["id"]]) + end
        kept = said if "response" in line else said[:SAID]
        found.append(Lesson(line["labels"]["kind"], asked + kept, len(asked)))
    return found


def asked_elsewhere(tokenizer: Any) -> list[Lesson]:
    """Questions out of the conversations that are learnt from, on anything but the subject, and how their answers begin: as many
    forms of asking as people have, none of which is to be declined.
    """
    return [lesson for folder in (CHAT, BEGUN, ASKED_OF) for lesson in islice(_asked_in(folder, tokenizer), MOST)]


def _asked_in(folder: Path, tokenizer: Any) -> Iterator[Lesson]:
    for text in _chats(held_out=False, folder=folder):
        for asked, said in _TURN.findall(text):
            declines = declines_by_phrases(said) or declines_by_words(said)
            if len(asked) <= ASKED and not _SUBJECT.search(asked + said) and not declines:
                messages = [{"role": "user", "content": asked}]
                ids = _ids(
                    tokenizer, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                )
                yield Lesson("chat", ids + _ids(tokenizer, said)[:SAID], len(ids))


def texts(tokenizer: Any, held_out: bool) -> list[Lesson]:
    """Rows of the conversations in `chat/`, those learnt from or those held out by their SHA-256."""
    found: list[Lesson] = []
    for text in _chats(held_out):
        ids = _ids(tokenizer, text)
        found += [Lesson("text", ids[i : i + LENGTH], 1) for i in range(0, len(ids) - LENGTH + 1, LENGTH)]
    return found


def _chats(held_out: bool, folder: Path = CHAT) -> list[str]:
    every = [line["text"] for path in sorted(folder.glob("*.jsonl")) for line in read(path)]
    return [text for text in every if is_held_out(text) is held_out]


def own_answers(path: Path) -> dict[str, str]:
    """What `own.py` wrote: {prompt id: answer}."""
    return {line["id"]: line["answer"] for line in map(json.loads, path.read_text("utf-8").splitlines())}


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
