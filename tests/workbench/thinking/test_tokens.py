"""Characters of several tokens, and what was said up to a token."""

from types import SimpleNamespace
from typing import Any, ClassVar

import torch

from workbench.thinking import said, special_ids, token_texts
from workbench.thinking.tokens import grown


class Letters:
    """A tokenizer: letters are themselves, 90 and 91 together are one character, 80 and 81 are special."""

    all_special_ids = (80,)
    added_tokens_decoder: ClassVar = {81: SimpleNamespace(special=True), 82: SimpleNamespace(special=False)}
    words: ClassVar = {
        1: "a",
        2: "b",
        3: "▁c",
        80: "<s>",
        81: "<e>",
        82: "<think>",
        83: "<|channel|>",
        84: "<|message|>",
        85: "<|call|>",
    }

    def decode(self, ids: Any, **_: Any) -> str:
        text, i = "", 0
        while i < len(ids):
            if ids[i] == 90:
                whole = i + 1 < len(ids) and ids[i + 1] == 91
                text, i = text + ("é" if whole else "\ufffd"), i + (2 if whole else 1)
            else:
                word = self.words.get(int(ids[i]), "\ufffd")
                text, i = text + (word[1:] if word[0] == "▁" and not i else word.replace("▁", " ")), i + 1
        return text

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return [self.words.get(int(i), "?") for i in ids] if isinstance(ids, list) else self.words.get(ids, "?")

    def convert_tokens_to_ids(self, token: str) -> int | None:
        return next((i for i, word in self.words.items() if word == token), None)


class TestPieces:
    def test_a_character_of_two_tokens(self) -> None:
        tokenizer = Letters()
        assert grown(tokenizer, [1, 90, 91, 2, 90], True) == ["a", "", "é", "b", "\ufffd"]
        assert grown(tokenizer, [1, 90, 91, 2, 90], False) == ["a", "", "é", "b", ""]
        assert grown(tokenizer, [1] + [95] * 9, False) == ["a", *[""] * 7, "\ufffd" * 8, ""]
        assert token_texts(tokenizer, torch.tensor([3, 1]).numpy()) == [" c", "a"]
        assert special_ids(tokenizer) == {80, 81}

    def test_what_was_said(self) -> None:
        tokenizer = Letters()
        rows, opened = [[80, 82, 1, 81, 83, 84, 85], [1, 2], [82, 1]], ["", "<think>", "<think>"]
        texts = ["<think>a<|channel|><|message|><|call|>", "<think>ab", "<think>a"]
        assert said(tokenizer, rows, opened) == texts
