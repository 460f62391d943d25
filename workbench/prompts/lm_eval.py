"""Tasks of lm-evaluation-harness as prompts: a local YAML file with local data, rendered in a sandbox. Nothing is downloaded.

Read: `output_type` multiple_choice and generate_until, `dataset_path` json, csv, parquet or none, with data files under
`dataset_kwargs`, `test_split`, `validation_split`, `doc_to_text`, `doc_to_choice`, `doc_to_target`, `target_delimiter`,
`description`, `num_fewshot: 0`.
Python functions (`!function`), hub datasets, filters and few-shot examples are refused by name, never left out in silence.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError, listed
from workbench.paths import given_path
from workbench.prompts.prompts import PromptSet, read_prompts

_READ = {
    *("task", "dataset_path", "dataset_name", "dataset_kwargs", "output_type", "test_split", "validation_split"),
    *("doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter", "description", "num_fewshot"),
}
# what is reported, not what is asked: `workbench.comparison.choices` and `exact` score here
_NOTED = {"metadata", "metric_list", "tag", "group", "task_alias", "generation_kwargs", "training_split", "repeats"}
_LOCAL = ("json", "csv", "parquet")


def read_task(path: str | Path) -> PromptSet:
    """The task's documents as prompts of plain text, labelled for `choose` (multiple_choice: "choices",
    "answer") or for the metric "exact" (generate_until: "answer").

    Choices keep the task's target delimiter (a space unless it says otherwise) in front. jinja2 and PyYAML are needed.
    Raises `WorkbenchError` naming the file and what in it cannot be read.
    """
    path = given_path(path)
    task = _task(path)
    documents = _documents(path, task)
    return read_prompts([_prompt(path, task, i, document) for i, document in enumerate(documents)])


def _task(path: Path) -> dict[str, Any]:
    import yaml

    try:
        task = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkbenchError(f"The task file '{path}' cannot be read ({error.strerror}).") from error
    except yaml.constructor.ConstructorError as error:
        raise WorkbenchError(
            f"'{path}' calls Python ({error.problem}), which is not run; write it as a jinja2 template."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(task, dict):
        raise WorkbenchError(f"'{path}' holds {type(task).__name__}, not the keys of a task.")
    _check(path, task)
    return task


def _check(path: Path, task: dict[str, Any]) -> None:
    unread = sorted(set(map(str, task)) - _READ - _NOTED)
    if unread:
        raise WorkbenchError(
            f"'{path}' uses {listed(unread)}, which this reader does not know; it reads {listed(sorted(_READ))}."
        )
    kind = task.get("output_type", "generate_until")
    if kind not in ("multiple_choice", "generate_until"):
        raise WorkbenchError(f"'{path}' has output_type {kind!r}; only multiple_choice and generate_until can be read.")
    if task.get("num_fewshot", 0):
        raise WorkbenchError(
            f"'{path}' asks for {task['num_fewshot']} few-shot examples; only num_fewshot: 0 can be read."
        )
    needed = ["doc_to_text", "doc_to_target"] + ["doc_to_choice"] * (kind == "multiple_choice")
    if missing := [key for key in needed if key not in task]:
        raise WorkbenchError(f"'{path}' lacks {listed(missing)}.")


def _documents(path: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    files = (task.get("dataset_kwargs") or {}).get("data_files")
    if task.get("dataset_path") not in (None, *_LOCAL) or not files:
        raise WorkbenchError(
            f"'{path}' takes its data from {task.get('dataset_path')!r}; only local files can be read: dataset_path: json and "
            f"dataset_kwargs: {{data_files: FILE}}."
        )
    if isinstance(files, dict):
        split = task.get("test_split") or task.get("validation_split") or "test"
        if split not in files:
            raise WorkbenchError(f"'{path}' has no data_files for the split {split!r}; it has {listed(sorted(files))}.")
        files = files[split]
    return [
        row for name in ([files] if isinstance(files, str) else files) for row in _rows(path.parent / given_path(name))
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path).to_dict("records")
        if path.suffix == ".parquet":
            return pd.read_parquet(path).to_dict("records")
        text = path.read_text(encoding="utf-8")
        found = (
            json.loads(text)
            if path.suffix == ".json"
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    except OSError as error:
        raise WorkbenchError(f"The task's data '{path}' cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise WorkbenchError(f"The task's data '{path}' is broken: {error}") from error
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise WorkbenchError(
            f"The task's data '{path}' should be documents: one JSON object a line, or a list of them."
        )
    return found


def _prompt(path: Path, task: dict[str, Any], number: int, document: dict[str, Any]) -> dict[str, Any]:
    where = f"'{path}', document {number}"
    text = str(task.get("description") or "") + str(_value(where, task, "doc_to_text", document))
    target = _value(where, task, "doc_to_target", document)
    labels = {"answer": str(target)}
    if task.get("output_type") == "multiple_choice":
        choices = _choices(where, _value(where, task, "doc_to_choice", document))
        space = str(task.get("target_delimiter", " "))
        labels = {
            "choices": json.dumps([space + c for c in choices], ensure_ascii=False),
            "answer": space + _right(where, target, choices),
        }
    return {"id": f"{task.get('task') or path.stem}-{number}", "text": text, "labels": labels}


def _choices(where: str, value: Any) -> list[str]:
    import ast

    try:
        found = ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        found = None
    if isinstance(found, np.ndarray):
        found = found.tolist()  # a Parquet list column
    if not isinstance(found, list) or len(found) < 2:
        raise WorkbenchError(f"doc_to_choice of {where} gives {value!r}; it should give a list of two choices or more.")
    return [str(c) for c in found]


def _right(where: str, target: Any, choices: list[str]) -> str:
    """The right choice: its number, or the choice itself."""
    text = str(target).strip()
    if text in choices:
        return text
    if text.isdigit() and int(text) < len(choices):
        return choices[int(text)]
    raise WorkbenchError(f"doc_to_target of {where} gives {text!r}; it should be one of {choices} or its number.")


def _value(where: str, task: dict[str, Any], key: str, document: dict[str, Any]) -> Any:
    """A key's value for a document: a list as it is, a column by its name, else a template."""
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    given = task[key]
    if not isinstance(given, str):
        return given
    if given in document:
        return document[given]
    try:
        sandbox = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        return sandbox.from_string(given).render(**document)
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise WorkbenchError(f"{key} of {where} cannot be rendered: {error}") from error
