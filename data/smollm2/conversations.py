"""Conversations that the dense model has with itself: a user's turn drawn after the chat template, then its answer.

So the student reads what the model says and is asked, in its own words, and as many tokens of it as are wanted.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .decoder import Decoder

ROWS, ASKED, ANSWERED, BEGUN, FIRST = 256, 70, 330, 48, 24
"""Sequences of a batch; tokens of a question and of an answer at most, of one that is only begun, and of one to
a given question."""
SHORT = 4
"""From this seed on answers are only begun: what is said first decides the rest, and whole answers hold it once in 300 tokens."""
GIVEN, LONGER = 10, 20
"""From the first of these seeds on questions are given (`questions.py`), from the second on with answers of `BEGUN` tokens,
nearer to the likeliest ones."""
STARTS = (
    "What", "How", "Why", "Explain", "Write", "Can", "I", "Give", "Tell", "Describe", "List", "Sum", "Who", "When", "Is", "Was",
    "Ich", "Compare", "Please", "Help", "Create", "Calculate", "Let", "Imagine", "Do", "Which", "The", "My",
)  # fmt: skip
"""How the questions of every second batch begin, a token each; in the others the first token is drawn as well."""
MORE_STARTS = (
    *STARTS, "Could", "Would", "Where", "Question", "Define", "Name", "Are", "Does", "Did", "Should", "Show", "In", "If", "Some",
    "One", "Make", "Find", "Say", "There", "It", "Has", "Think", "Suppose", "Answer", "A", "Are", "For", "With", "On", "We",
)  # fmt: skip
"""Of those whose answers are only begun."""


def conversations(model: Any, tokenizer: Any, seed: int) -> list[list[int]]:
    """Token ids of a batch of whole conversations, drawn from the likeliest 95 % at temperature 0.8, or 1 from seed 2 on."""
    torch.manual_seed(seed)
    template: str = tokenizer.apply_chat_template([{"role": "user", "content": "@@"}], tokenize=False)
    head = tokenizer(template.split("@@")[0], add_special_tokens=False).input_ids
    short = seed >= SHORT
    words = MORE_STARTS if short else STARTS
    starts = [ids for start in words if len(ids := tokenizer(start, add_special_tokens=False).input_ids) == 1]
    answer = tokenizer("\n<|im_start|>assistant\n", add_special_tokens=False).input_ids
    first = [head + (starts[row % len(starts)] if seed % 2 else []) for row in range(ROWS)]
    between = _Between(answer, tokenizer.convert_tokens_to_ids("<|im_end|>"), BEGUN if short else ANSWERED)
    columns = len(first[0]) + ASKED + between.most + len(answer) + 2
    return _batch(model, [_Talk(ids, between) for ids in first], columns, 0.8 if seed < 2 else 1.0)


def answered(model: Any, tokenizer: Any, questions: list[str], seed: int) -> list[list[int]]:
    """Token ids of conversations whose questions are given, with answers that are only begun, drawn as above at temperature 1, or
    0.6 where they are longer.
    """
    torch.manual_seed(seed)
    made = [[{"role": "user", "content": question}] for question in questions]
    chats = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in made]
    asked = [tokenizer(chat, add_special_tokens=False).input_ids for chat in chats]
    shared = min(map(len, asked)) // 2  # the template's head, alike in all of them
    first, temperature = (BEGUN, 0.6) if seed >= LONGER else (FIRST, 1.0)
    between = _Between([], tokenizer.convert_tokens_to_ids("<|im_end|>"), first)
    talks = [_Talk(ids[:shared], between, ids[shared:]) for ids in asked]
    return _batch(model, talks, max(map(len, asked)) + first + 1, temperature)


class _Between(NamedTuple):
    """The tokens between a question and its answer, the one that ends both, and how many an answer has at most."""

    answer: list[int]
    end: int
    most: int


def _batch(model: Any, talks: list["_Talk"], columns: int, temperature: float) -> list[list[int]]:
    decoder = Decoder(model, len(talks), columns)
    ids, at = torch.tensor([talk.ids for talk in talks]), 0
    while at + ids.shape[1] < columns and sum(talk.is_over for talk in talks) < 0.97 * len(talks):
        drawn = _drawn(decoder.next(ids, at), temperature)
        at += ids.shape[1]
        ids = torch.tensor([[talk.add(token)] for talk, token in zip(talks, drawn.tolist(), strict=True)])
    return [talk.ids for talk in talks]


class _Talk:
    """A conversation as it grows: the question until it ends, the template between, the answer until it ends.

    given: what is asked, with the template after it, where the question is not drawn
    """

    def __init__(self, first: list[int], template: _Between, given: list[int] | None = None) -> None:
        self.ids, self.between, self.end, self.template = list(first), list(given or ()), template.end, template
        self.left, self.is_answer, self.is_over = template.most if given else ASKED, bool(given), False

    def add(self, token: int) -> int:
        """The token that really comes, given the one that was drawn."""
        if self.is_over:
            return self.end
        token = self.between.pop(0) if self.between else self._said(token)
        self.ids.append(token)
        return token

    def _said(self, token: int) -> int:
        self.left -= 1
        if token != self.end and self.left:
            return token
        if self.is_answer:
            self.is_over = True
        else:
            self.between, self.left, self.is_answer = list(self.template.answer), self.template.most, True
        return self.end


def _drawn(logits: Tensor, temperature: float, kept: float = 0.95, most: int = 400) -> Tensor:
    shares, ids = (logits.float() / temperature).softmax(-1).topk(most, -1)
    shares = shares.masked_fill(shares.cumsum(-1) - shares > kept, 0)
    return ids.gather(-1, torch.multinomial(shares, 1))[:, 0]
