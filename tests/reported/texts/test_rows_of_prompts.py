"""Whatever holds prompts is read by its rows; what would be read by its keys or columns is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.support import families
from workbench import WorkbenchError, capture, compare, read_prompts
from workbench.answering import stream
from workbench.loading import tiny_tokenizer
from workbench.plan import Plan
from workbench.prompts import encode

ROWS = [
    {"text": "first prompt", "label.topic": "a", "pair": None},
    {"text": "second", "label.topic": None, "pair": "1"},
]
FRAME = pd.DataFrame(ROWS)
TABLE = pa.Table.from_pylist(ROWS)
WANTED = [("first prompt", {"topic": "a"}, None), ("second", {}, "1")]


class Polars:
    """A Polars DataFrame: iterating gives columns, `to_dicts` rows."""

    columns = ("text", "label.topic", "pair")

    def __iter__(self) -> Any:
        return iter([["first prompt", "second"], ["a", None], [None, "1"]])

    def to_dicts(self) -> list[dict[str, Any]]:
        return ROWS


class Lazy:
    """A lazy table: it has columns, and no rows before somebody collects it."""

    columns = ("text",)

    def collect(self) -> None:
        raise AssertionError("nobody asked for that")

    def __iter__(self) -> Any:
        return iter(self.columns)


class Dataset:
    """A dataset of Hugging Face's `datasets`: rows as dicts, one by one."""

    column_names = ("text", "label.topic", "pair")

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return iter(self.rows)


class DatasetDict(dict[str, Dataset]):
    """Splits by name."""


HOLDERS: dict[str, Any] = {
    "DataFrame": lambda: FRAME,
    "DataFrame with labels in its index": lambda: FRAME.set_index("label.topic"),
    "list of dicts": lambda: FRAME.to_dict("records"),  # with NaN for what is missing
    "generator": lambda: (row for row in ROWS),
    "dict of columns": lambda: {name: [row[name] for row in ROWS] for name in ROWS[0]},
    "dict of arrays": lambda: {name: FRAME[name].to_numpy() for name in FRAME},
    "Arrow table": lambda: TABLE,
    "Arrow batch": lambda: TABLE.to_batches()[0],
    "Arrow reader": lambda: TABLE.to_reader(),
    "Polars": Polars,
    "Dataset": lambda: Dataset(ROWS),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_tables_are_read_by_rows(holder: str) -> None:
    found = [(p.text, dict(p.labels), p.pair) for p in read_prompts(HOLDERS[holder]())]
    assert found == WANTED


@pytest.mark.parametrize(
    "texts",
    [
        pd.Series(["x", "y"], index=["text", "id"]),
        np.array(["x", "y"]),
        pa.array(["x", "y"]),
        iter(["x", "y"]),
        ("x", "y"),
    ],
)
def test_one_column_is_its_texts(texts: Any) -> None:
    assert [p.text for p in read_prompts(texts)] == ["x", "y"]


def test_splits_are_said_unless_a_row_says_otherwise() -> None:
    splits = DatasetDict(train=Dataset(ROWS), test=Dataset([{"text": "third", "split": "held out"}]))
    assert [(p.text, p.split) for p in read_prompts(splits)] == [
        ("first prompt", "train"),
        ("second", "train"),
        ("third", "held out"),
    ]
    frames = read_prompts({"a": FRAME, "b": FRAME.head(1)})
    assert [(p.id, p.text, p.split) for p in frames] == [
        ("p00000", "first prompt", "a"),
        ("p00001", "second", "a"),
        ("p00002", "first prompt", "b"),
    ]


def test_cells_are_pythons_own() -> None:
    chat = {"role": "user", "content": "hi"}
    frame = pd.DataFrame({"messages": [np.array([chat], object)], "label.n": [3], "label.yes": [True], "id": [7]})
    (prompt,) = read_prompts(frame)
    assert (prompt.messages, prompt.labels, prompt.id) == ((chat,), {"n": "3", "yes": "true"}, "7")
    assert [p.text for p in read_prompts([np.str_("x")])] == ["x"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"p1": "hello", "p2": "bye"}, "The dict with the keys p1, p2 is read neither by its keys nor as columns"),
        ({"text": "hello"}, "put it into a list"),
        ({"text": ["a", "b"], "id": ["1"]}, "columns of equal length"),
        ({"messages": [{"role": "user", "content": "a"}]}, "put it into a list"),
        ({}, "is read neither"),
        (Lazy(), "The Lazy is no table whose rows can be read"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "two columns 'text'"),
        (pd.DataFrame(["a"]), "Row 0 of the DataFrame has the unknown key '0'"),
        (pd.Series(["a", np.nan]), "Item 1 of the Series is float"),
        (FRAME.head(0), "The DataFrame holds no prompts"),
        (np.array([["a"]]), "is ndarray; it should be text"),
        (b"a", "cannot be read from the bytes"),
        (5, "cannot be read from the int"),
        (None, "cannot be read from the NoneType"),
    ],
)
def test_what_has_no_rows_is_refused(source: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        read_prompts(source)


def test_an_open_file_is_refused(tmp_path: Any) -> None:
    (tmp_path / "p.jsonl").write_text('{"text": "a"}\n')
    with (tmp_path / "p.jsonl").open() as file, pytest.raises(WorkbenchError, match="pass the path of the file"):
        read_prompts(file)


def test_everything_that_takes_prompts_takes_a_frame(tmp_path: Any) -> None:
    model, frame = (
        families.get("olmoe"),
        pd.DataFrame({"text": ["ab", "c"], "id": ["x", "y"], "label.topic": ["s", "t"]}),
    )
    assert [e.text for e in encode(tiny_tokenizer(), frame)] == ["ab", "c"]
    store = capture(model, frame, tmp_path / "s", progress=False)
    assert store.prompt_ids == ["x", "y"]
    assert sorted(store.labels["value"]) == ["s", "t"]
    found = compare(
        model, frame, Plan.mute(["L0E1"]), metrics={"n": lambda r: 1.0}, controls=0, max_new_tokens=1, progress=False
    )
    assert found.responses["prompt"].tolist() == ["ab", "c"]
    assert len(list(stream(model, frame, max_new_tokens=2))) <= 2  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "responses",
    [
        {"x": "yes", "y": "no"},
        {"x": ["yes"], "y": ("no",)},
        {"x": np.array(["yes"]), "y": pd.Series(["no"])},
        pd.Series({"y": "no", "x": "yes"}),
    ],
)
def test_responses_by_prompt(responses: Any, tmp_path: Any) -> None:
    frame = pd.DataFrame({"text": ["ab", "c"], "id": ["x", "y"]})
    store = capture(families.get("olmoe"), frame, tmp_path / "s", responses=responses, progress=False)
    tokens = store.tokens.merge(store.prompts[["prompt_id", "n_tokens"]].astype({"prompt_id": str}), on="prompt_id")
    said = tokens[tokens["position"] >= tokens["n_tokens"]].groupby("prompt_id")["token"].agg("".join)
    assert said.to_dict() == {"x": "yes", "y": "no"}


@pytest.mark.parametrize(
    ("responses", "sentence"),
    [
        (pd.DataFrame({"x": ["yes"], "y": ["no"]}), "not as the DataFrame"),
        (["yes", "no"], "not as the list"),
        ({"x": {"yes": 1}, "y": "no"}, "response of the prompt 'x' is"),
        ({"x": 5, "y": "no"}, "response of the prompt 'x' is 5"),
        ({0: "yes", "y": "no"}, "for the prompt '0', which is not asked"),
        (pd.Series(["yes", "no"], index=["x", "x"]), "'x' is given responses twice"),
    ],
)
def test_other_responses_are_refused(responses: Any, sentence: str, tmp_path: Any) -> None:
    frame = pd.DataFrame({"text": ["ab", "c"], "id": ["x", "y"]})
    with pytest.raises(WorkbenchError, match=sentence):
        capture(families.get("olmoe"), frame, tmp_path / "s", responses=responses, progress=False)
    assert not (tmp_path / "s").exists()


VALUES = {"prompt_id": ["x", "y"], "value": [1, "b"]}


@pytest.mark.parametrize(
    "values",
    [
        {"x": 1, "y": "b"},
        pd.Series({"x": 1, "y": "b"}),
        pd.DataFrame(VALUES),
        VALUES,
        [{"prompt_id": "x", "value": 1}, {"prompt_id": "y", "value": "b"}],
        pa.table({"prompt_id": ["x", "y"], "value": ["1", "b"]}),
    ],
)
def test_labels_out_of_any_table(values: Any, tmp_path: Any) -> None:
    frame = pd.DataFrame({"text": ["ab", "c"], "id": ["x", "y"]})
    store = capture(families.get("olmoe"), frame, tmp_path / "s", progress=False)
    store.add_labels("verdict", values, "me")
    assert dict(zip(store.labels["prompt_id"], store.labels["value"], strict=True)) == {"x": "1", "y": "b"}
    for wrong in ({"x": [1, 2]}, ["x", "y"], 5, "xy"):
        with pytest.raises(WorkbenchError, match="Labels 'more' "):
            store.add_labels("more", wrong, "me")  # pyright: ignore[reportArgumentType]
