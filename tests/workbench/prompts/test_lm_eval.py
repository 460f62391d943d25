"""Task files of lm-evaluation-harness: what is read, what is refused, and that templates stay in their sandbox."""

import json

import pytest

from tests.support import families
from workbench import Plan, WorkbenchError
from workbench.comparison import choose
from workbench.prompts import read_task

TASK = """
task: flags
dataset_path: json
dataset_kwargs: {data_files: {test: flags.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: what colour is the flag of {{place}}?\\nA:"
doc_to_choice: "{{colours}}"
doc_to_target: "{{colours.index(right)}}"
metric_list: [{metric: acc}]
"""
ROWS = [
    {"place": "Bigar", "colours": ["red", "blue"], "right": "red"},
    {"place": "Oz", "colours": ["a", "b"], "right": "b"},
]


@pytest.fixture
def task(tmp_path):
    (tmp_path / "flags.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")

    def write(text):
        (tmp_path / "flags.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "flags.yaml"

    return write


def test_a_task_becomes_questions_that_can_be_scored(task):
    prompts = read_task(task(TASK))
    assert [p.id for p in prompts] == ["flags-0", "flags-1"]
    assert prompts.prompts[0].text == "Q: what colour is the flag of Bigar?\nA:"
    assert dict(prompts.prompts[1].labels) == {"choices": '[" a", " b"]', "answer": " b"}
    assert len(choose(families.get("demo"), prompts, [Plan()])[0]) == 2


def test_columns_by_name_and_answers_to_generate(task):
    found = read_task(
        task(TASK.replace("multiple_choice", "generate_until").replace('"{{colours.index(right)}}"', "right"))
    )
    assert dict(found.prompts[0].labels) == {"answer": "red"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dataset_path: json", "dataset_path: cais/mmlu", "only local files"),
        ("test_split: test", "test_split: dev", "no data_files for the split 'dev'"),
        ("flags.jsonl", "nothing.jsonl", "cannot be read"),
        ("multiple_choice", "loglikelihood", "only multiple_choice"),
        ("metric_list: [{metric: acc}]", "num_fewshot: 5", "few-shot"),
        ("metric_list: [{metric: acc}]", "process_docs: !function u.f", "calls Python"),
        ("metric_list: [{metric: acc}]", "process_results: x", "does not know"),
        ("{{place}}", "{{town}}", "cannot be rendered"),
        ("{{place}}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be rendered"),
        ("{{colours.index(right)}}", "7", "one of"),
        ('"{{colours}}"', '"red"', "list of two choices"),
        ("doc_to_choice: ", "doc_to_decontamination: ", "does not know"),
        ("task: flags", "task: [", "is not YAML"),
    ],
)
def test_what_cannot_be_read_is_named(task, old, new, said):
    assert old in TASK
    with pytest.raises(WorkbenchError, match=said):
        read_task(task(TASK.replace(old, new)))
