"""Task files, whole: the prompts that they give and the sentence for what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench.errors import WorkbenchError
from workbench.prompts import read_task

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
