"""Prompts as values: sets, rows of every kind, and the sentence for each mistake."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.refusals import refused
from workbench.errors import listed, suggestion
from workbench.prompts import Prompt, PromptSet, label_text, plain, read_prompts, responses_of, rows_of
from workbench.prompts.rows import unflattened


class TestPrompts:
    def test_a_set(self) -> None:
        rows = [
            {"text": "a", "split": "y", "labels": {"k": "2"}},
            {"prompt": "b", "split": "x", "labels": {"k": True, "j": None}},
        ]
        found = read_prompts(rows)
        assert [p.to_dict() for p in found] == [
            {"id": "p00000", "text": "a", "labels": {"k": "2"}, "split": "y"},
            {"id": "p00001", "messages": [{"role": "user", "content": "b"}], "labels": {"k": "true"}, "split": "x"},
        ]
        assert (found.splits, found.label_values) == (("x", "y"), {"k": ("2", "true")})
        assert repr(found) == f"PromptSet(2 prompts from these prompts, fingerprint {found.fingerprint})"
        assert repr(PromptSet(found.prompts, "f.csv")).startswith("PromptSet(2 prompts from 'f.csv', fingerprint ")
        assert [p.said for p in found] == ["a", "b"]
        assert read_prompts(Prompt("q", text="x")).prompts[0].id == "q"
        assert [label_text(x) for x in (True, "True", 1, 1.5, np.bool_(False))] == ["true", "True", "1", "1.5", "false"]
        assert refused(found.filter, split="x", labels={"k": ["2"]}) == (
            "No prompt of these prompts meets split=x and labels={'k': ('2',)} together."
        )
        assert (
            refused(found.filter, labels={"k": "3"})
            == "No prompt of these prompts has the value of the label 'k' '3'; there is 2, true."
        )
        assert [p.id for p in found.filter(labels={"k": ["true", "2"]}, split="y")] == ["p00000"]

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            (
                {"text": "a", "tools": [{"name": "f"}]},
                "The 'tools' of item 0 of the list are the chat template's affair, and 'text' is",
            ),
            (
                {"text": "a", "chat_template_kwargs": {"x": 1}},
                "The 'chat_template_kwargs' of item 0 of the list is the chat template's",
            ),
            (
                {"text": "a", "labels": {"": 1}},
                "The label '' of item 0 of the list should have a name and one value, not 1.",
            ),
            (
                {"text": "a\ud800"},
                "The 'text' of item 0 of the list holds half of a surrogate pair (or a byte that is not UTF-8), which",
            ),
            ({"text": "a", "id": True}, "The 'id' of item 0 of the list is bool; it should be text."),
        ],
    )
    def test_refused(self, row: Any, said: str) -> None:
        assert refused(read_prompts, [row]).startswith(said)

    def test_rows(self) -> None:
        assert list(rows_of({"text": ["a", "b"], "label.k": [1, 2]})) == [
            ("row 0 of the dict", {"text": "a", "label.k": 1}),
            ("row 1 of the dict", {"text": "b", "label.k": 2}),
        ]
        frame = pd.DataFrame({"text": ["a"], "n": [1]}, index=pd.Index(["q"], name="id"))
        assert list(rows_of(frame)) == [("row 0 of the DataFrame", {"id": "q", "text": "a", "n": 1})]
        assert list(rows_of({"train": frame})) == [
            ("row 0 of the DataFrame of the split 'train'", {"id": "q", "text": "a", "n": 1, "split": "train"})
        ]
        assert list(rows_of(x for x in ["a"])) == [("item 0 of the list", "a")]
        assert unflattened({"text": "a", "label.k": 1, "label.j": 2}) == {"text": "a", "labels": {"k": 1, "j": 2}}
        assert unflattened({"labels": 3, "label.k": 1}) == {"labels": 3, "label.k": 1}
        assert plain({"a": np.array([1, 2]), "b": (float("nan"), pd.NA), "c": np.float32(0.5)}) == {
            "a": [1, 2],
            "b": (None, None),
            "c": 0.5,
        }
        assert responses_of({1: "a", "b": np.array(["c", "d"])}) == {"1": ["a"], "b": ["c", "d"]}
        assert responses_of(pd.Series({"x": "y"})) == {"x": ["y"]}
        for source, said in (
            (b"x", "Prompts cannot be read from the bytes; pass the path of the file, or a list."),
            (3, "Prompts cannot be read from the int; give a path, the name of a bundled file, or a list of prompts."),
            ({"text": ["a"], "id": ["b", "c"]}, "The dict with the keys text, id is read neither by its keys nor as "
             "columns of equal "
             "length; put it into a list."),
            ({"x": "a"}, "The dict with the keys x is read neither by its keys nor as columns of equal length; give a "
             "list of prompts, "
             "and names as their 'id'."),
            ({"messages": [{"role": "user"}]}, "The dict with the keys messages is read neither by its keys"),
            (pd.DataFrame([[1, 2]], columns=["text", "text"]), "The DataFrame has two columns 'text'; name each column once."),
        ):  # fmt: skip
            assert refused(lambda s: list(rows_of(s)), source).startswith(said)
        assert (
            refused(responses_of, {1: "a", "1": "b"})
            == "The prompt '1' is given responses twice; give it a list of them."
        )
        assert (
            refused(responses_of, {"a": [3]})
            == "The response of the prompt 'a' is [3]; it should be text, or a list of it."
        )

    def test_words(self) -> None:
        assert listed(list("abcdefgh")) == "a, b, c, d, e, f, g, h"
        assert listed(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"
        assert (listed([]), listed([1, 2, 3], 2)) == ("nothing", "1, 2 and 1 more")
        assert (suggestion("refusl", ["other", "refusal"]), suggestion("x", ["other"])) == (
            "; did you mean 'refusal'?",
            "",
        )
