"""Multiple choice by hand: the table, where a choice begins, and what is no question."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from workbench.comparison.choices import choice_table, encoded_choices, questions, split_choice
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer


class TestChoices:
    def test_a_table_by_hand(self) -> None:
        asked = questions(
            [
                {"id": "a", "text": "x", "labels": {"choices": '["1", "22", "4444"]', "answer": "22"}},
                {"id": "b", "text": "x", "labels": {"choices": '["1", "2"]', "answer": "1"}},
            ]
        )
        found = choice_table(asked, np.array([-3.0, -4.0, -5.0, -1.0, -1.5])).to_dict("records")
        # by character: -3, -2, -1.25; -1, -1.5
        assert found == [
            {"prompt_id": "a", "answer": 1, "chosen": 0, "chosen_normalised": 2, "right": False, "right_normalised": False,
             "margin_nats": -1.0},
            {"prompt_id": "b", "answer": 0, "chosen": 0, "chosen_normalised": 0, "right": True, "right_normalised": True,
             "margin_nats": 0.5},
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("start", "whole", "parts"),
        [
            ((1, 2), (1, 2, 3), ((1, 2), (3,))),
            ((1, 2), (1, 5, 3), ((1,), (5, 3))),
            ((), (4, 5), ((4,), (5,))),
            ((4, 5), (6, 5), ((6,), (5,))),
            ((1, 2, 3), (1, 2), ((1,), (2,))),
            ((1, 2), (1, 2), ((1,), (2,))),
        ],
    )
    def test_where_the_choice_begins(self, start: Any, whole: Any, parts: Any) -> None:
        assert split_choice(start, whole) == parts

    def test_ids_of_text_and_of_a_chat(self) -> None:
        """Bytes + 3; the end token that this tokenizer appends is left out; a space at the end belongs to the choice."""
        labels = {"choices": '["no", "y"]', "answer": "y"}
        model: Any = SimpleNamespace(tokenizer=tiny_tokenizer(), image_token=None)
        text, chat = questions([{"text": "a ", "labels": labels}, {"prompt": "a", "labels": labels}])
        assert encoded_choices(model, text) == [((100,), (35, 113, 114)), ((100,), (35, 124))]
        opened = tuple(b + 3 for b in b"[user] a\n[assistant] ")
        assert encoded_choices(model, chat) == [(opened, (113, 114)), (opened, (124,))]
        model.tokenizer = None
        with pytest.raises(WorkbenchError, match="loaded without a tokenizer, so choices cannot be read"):
            encoded_choices(model, text)

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            ({"choices": '["a"]'}, "The prompt 'p00000' needs a label \"choices\" with a JSON list of two texts or more, as "
             '["yes", "no"]; it has \'["a"]\'.'),
            ({}, "[\"yes\", \"no\"]; it has 'none'."),
            ({"choices": '["a", ""]'}, "it has '[\"a\", \"\"]'."),
            ({"choices": '["a", 1]'}, "it has '[\"a\", 1]'."),
            ({"choices": '["a", "b"]'}, "The label \"answer\" of the prompt 'p00000' is None; it has to be one of its choices, "
             "'a', 'b', which all differ."),
        ],
    )  # fmt: skip
    def test_what_is_no_question(self, labels: dict[str, str], said: str) -> None:
        with pytest.raises(WorkbenchError) as caught:
            questions([{"text": "x", "labels": labels}])
        assert str(caught.value).endswith(said)
