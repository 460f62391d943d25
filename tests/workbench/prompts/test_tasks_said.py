"""Task files, the judge, multiple choice: whole prompts, whole requests, whole tables and sentences, by hand."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.comparison.choices import _encoded, _split, _table, questions
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer
from workbench.prompts import read_task
from workbench.responses import QUESTION, Response, judge
from workbench.responses import llm_judge as judging

TASK: dict[str, Any] = {
    "task": "flags",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": ["a.jsonl", "b.json"], "validation": "c.csv"}},
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{q}}?\n",
    "doc_to_choice": ["red", "blue"],
    "doc_to_target": "r",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text('{"q": "one", "r": 1}\n\n{"q": "two", "r": " red "}\n')
    (tmp_path / "b.json").write_text('[{"q": "three", "r": "0"}]')
    (tmp_path / "c.csv").write_text("q,r\nfour,blue\n")
    pd.DataFrame({"q": ["five"], "r": [0], "c": [["x", "y"]]}).to_parquet(tmp_path / "d.parquet")
    for name, text in (("empty.json", "[]"), ("list.json", "[1]"), ("object.json", "{}"), ("bad.jsonl", "{")):
        (tmp_path / name).write_text(text)
    return tmp_path


def task(folder: Path, **changes: Any) -> Any:
    """As JSON, which is YAML; keys that are None go."""
    keys = {k: v for k, v in (TASK | changes).items() if v is not None}
    (folder / "t.yaml").write_text(json.dumps(keys))
    return read_task(folder / "t.yaml")


def data(name: Any) -> dict[str, Any]:
    return {"dataset_kwargs": {"data_files": name}}


class TestTasks:
    def test_the_prompts(self, folder: Path) -> None:
        choices = '[" red", " blue"]'
        assert [p.to_dict() for p in task(folder)] == [
            {"id": "flags-0", "text": "Q: one?\n", "labels": {"choices": choices, "answer": " blue"}},
            {"id": "flags-1", "text": "Q: two?\n", "labels": {"choices": choices, "answer": " red"}},
            {"id": "flags-2", "text": "Q: three?\n", "labels": {"choices": choices, "answer": " red"}},
        ]
        found = task(folder, description="Say. ", target_delimiter="\n", task=None, validation_split="validation")
        labels = {"choices": '["\\nred", "\\nblue"]', "answer": "\nblue"}
        assert [p.to_dict() for p in found] == [{"id": "t-0", "text": "Say. Q: four?\n", "labels": labels}]
        both = task(folder, test_split="test", validation_split="validation", num_fewshot=0, metadata={"version": 1})
        assert len(both) == 3
        listed = {"doc_to_choice": "c", "dataset_path": "parquet"} | data("d.parquet")
        assert [p.labels["choices"] for p in task(folder, **listed)] == ['[" x", " y"]']
        free = task(folder, output_type=None, doc_to_choice=None, dataset_path=None, **data("a.jsonl"))
        assert [dict(p.labels) for p in free] == [{"answer": "1"}, {"answer": " red "}]
        assert (
            task(folder, doc_to_choice="{{ ['red', 'blue', q] }}").prompts[0].labels["choices"]
            == '[" red", " blue", " one"]'
        )

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"num_fewshot": 1}, "'T' asks for 1 few-shot examples; only num_fewshot: 0 can be read."),
            ({"output_type": "x"}, "'T' has output_type 'x'; only multiple_choice and generate_until can be read."),
            ({"doc_to_text": None, "doc_to_choice": None}, "'T' lacks doc_to_text, doc_to_choice."),
            ({"dataset_path": "mmlu"}, "'T' takes its data from 'mmlu'; only local files can be read: dataset_path: json and "
             "dataset_kwargs: {data_files: FILE}."),
            ({"dataset_kwargs": None}, "'T' takes its data from 'json'; only local files"),
            ({"test_split": "dev"}, "'T' has no data_files for the split 'dev'; it has test, validation."),
            (data("empty.json"), "The task's data 'F/empty.json' should be documents: one JSON object a line, or a "
             "list of them."),
            (data("list.json"), "The task's data 'F/list.json' should be documents"),
            (data("object.json"), "The task's data 'F/object.json' should be documents"),
            (data("bad.jsonl"), "The task's data 'F/bad.jsonl' is broken: "),
            (data("no.jsonl"), "The task's data 'F/no.jsonl' cannot be read (No such file or directory)."),
            ({"doc_to_choice": ["red"]}, "doc_to_choice of 'T', document 0 gives ['red']; it should give a list of "
             "two choices or"),
            ({"doc_to_choice": "{{ q "}, "doc_to_choice of 'T', document 0 cannot be rendered: "),
            ({"doc_to_choice": "no list"}, "doc_to_choice of 'T', document 0 gives 'no list'; it should"),
            ({"doc_to_choice": "{1: 2, 3: 4}"}, "doc_to_choice of 'T', document 0 gives '{1: 2, 3: 4}'; it should"),
            ({"doc_to_target": "2"}, "doc_to_target of 'T', document 0 gives '2'; it should be one of ['red', 'blue'] "
             "or its number."),
            ({"doc_to_target": "{{ ['1', '-1', 'x'][loop] }}"}, "doc_to_target of 'T', document 0 cannot be rendered"),
            ({"filter_list": 1, "x": 2}, "'T' uses filter_list, x, which this reader does not know; it reads dataset_kwargs"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read(self, folder: Path, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(WorkbenchError) as caught:
            task(folder, **changes)
        found = str(caught.value).replace(str(folder / "t.yaml"), "T").replace(str(folder), "F")
        assert found == said if said.endswith((".", "number.")) else found.startswith(said)

    def test_a_file_that_is_no_task(self, folder: Path) -> None:
        (folder / "l.yaml").write_text("[1]")
        with pytest.raises(WorkbenchError, match=r"l\.yaml' holds list, not the keys of a task\.$"):
            read_task(folder / "l.yaml")
        with pytest.raises(
            WorkbenchError, match=r"^The task file '.*n\.yaml' cannot be read \(No such file or directory\)\.$"
        ):
            read_task(folder / "n.yaml")


class TestJudge:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What was sent; the answer is whatever stands in the question behind a colon."""
        monkeypatch.delenv("WORKBENCH_JUDGE_KEY", raising=False)
        sent = list[Any]()

        def urlopen(request: Any, timeout: float) -> io.BytesIO:
            body = json.loads(request.data)
            sent.append((request.full_url, dict(request.header_items()), body, timeout))
            said = body["messages"][0]["content"].rpartition(":")[2]
            return io.BytesIO(json.dumps({"choices": [{"message": {"content": said}}]}).encode())

        monkeypatch.setattr(judging, "urlopen", urlopen)
        return sent

    def test_what_is_sent(self, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        metric = judge("https://h/v1/", "guard", "{response}|{thought}|{whole}|{prompt_id}|{topic}|{x}:yes")
        response = Response("<think>hm</think>I will", "p7", 0, {"topic": "war", "response": "label"})
        assert metric(response) == 1
        content = "I will|hm|<think>hm</think>I will|p7|war|{x}:yes"
        body = {
            "model": "guard",
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 8,
        }
        assert asked == [("https://h/v1/chat/completions", {"Content-type": "application/json"}, body, 60.0)]
        monkeypatch.setenv("WORKBENCH_JUDGE_KEY", "env")
        for key, bearer in ((None, "Bearer env"), ("own", "Bearer own")):
            judge("http://h", "g", key=key, seconds=2)(Response("a"))
            assert (asked[-1][1]["Authorization"], asked[-1][3]) == (bearer, 2)
        assert asked[-1][2]["messages"][0]["content"] == QUESTION.replace("{response}", "a")
        assert metric.__name__ == "judged"

    @pytest.mark.parametrize(
        ("said", "value"),
        [
            ("YES", 1),
            (" **No**, it", 0),
            ("yesterday", None),
            ("it says yes", None),
            ("no.", 0),
            ("", None),
            ("'yes'", 1),
        ],
    )
    def test_yes_no_and_neither(self, asked: list[Any], said: str, value: float | None) -> None:
        assert judge("http://h", "g", "{response}:" + said)(Response("a")) == value

    def test_an_unfinished_response_is_asked_about_only_without_its_answer(self, asked: list[Any]) -> None:
        unfinished = Response("<think>hm")
        assert judge("http://h", "g", "{response}:yes")(unfinished) is None
        assert asked == []
        assert judge("http://h", "g", "{thought}|{whole}:no")(unfinished) == 0
        assert asked[0][2]["messages"][0]["content"] == "hm|<think>hm:no"


class TestChoices:
    def test_a_table_by_hand(self) -> None:
        asked = questions(
            [
                {"id": "a", "text": "x", "labels": {"choices": '["1", "22", "4444"]', "answer": "22"}},
                {"id": "b", "text": "x", "labels": {"choices": '["1", "2"]', "answer": "1"}},
            ]
        )
        found = _table(asked, np.array([-3.0, -4.0, -5.0, -1.0, -1.5])).to_dict("records")
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
        assert _split(start, whole) == parts

    def test_ids_of_text_and_of_a_chat(self) -> None:
        """Bytes + 3; the end token that this tokenizer appends is left out; a space at the end belongs to the choice."""
        labels = {"choices": '["no", "y"]', "answer": "y"}
        model: Any = SimpleNamespace(tokenizer=tiny_tokenizer(), image_token=None)
        text, chat = questions([{"text": "a ", "labels": labels}, {"prompt": "a", "labels": labels}])
        assert _encoded(model, text) == [((100,), (35, 113, 114)), ((100,), (35, 124))]
        opened = tuple(b + 3 for b in b"[user] a\n[assistant] ")
        assert _encoded(model, chat) == [(opened, (113, 114)), (opened, (124,))]
        model.tokenizer = None
        with pytest.raises(WorkbenchError, match="loaded without a tokenizer, so choices cannot be read"):
            _encoded(model, text)

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
