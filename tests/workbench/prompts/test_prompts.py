"""Prompts: what is accepted, what comes back, and one sentence per mistake."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.prompts import Prompt, PromptSet, read_prompts

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(str.strip)
messages = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["system", "user"]), words),
    min_size=1,
    max_size=3,
)
prompts = st.builds(
    lambda text, chat, rest: Prompt(text=None if chat else text, messages=tuple(chat) if chat else None, **rest),
    words,
    st.none() | messages,
    st.fixed_dictionaries(
        {
            "id": words,
            "response": st.none() | words,
            "labels": st.dictionaries(words, words, max_size=2),
            "pair": st.none() | words,
            "split": st.none() | words,
            "cluster": st.none() | words,
        }
    ),
)
prompt_sets = st.lists(prompts, min_size=1, max_size=4, unique_by=lambda p: p.id).map(lambda ps: PromptSet(tuple(ps)))


@given(prompt_sets)
@settings(max_examples=30, deadline=None)
def test_jsonl_round_trip(tmp_path_factory: Any, some: PromptSet) -> None:
    path = tmp_path_factory.mktemp("prompts") / "some.jsonl"
    path.write_text("\n".join(json.dumps(p.to_dict(), ensure_ascii=False) for p in some) + "\n", encoding="utf-8")
    assert read_prompts(path) == some
    assert read_prompts(path).fingerprint == some.fingerprint


@given(prompt_sets)
@settings(max_examples=20, deadline=None)
def test_csv_round_trip(tmp_path_factory: Any, some: PromptSet) -> None:
    path = tmp_path_factory.mktemp("prompts") / "some.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, ["id", "text", "messages", "response", "labels", "pair", "split", "cluster"])
        out.writeheader()
        for prompt in some:
            row = prompt.to_dict()
            out.writerow(row | {k: json.dumps(row[k]) for k in ("messages", "labels") if k in row})
    assert read_prompts(path) == some


@given(prompt_sets)
@settings(max_examples=20, deadline=None)
def test_list_and_parquet_round_trip(tmp_path_factory: Any, some: PromptSet) -> None:
    rows = [p.to_dict() for p in some]
    assert read_prompts(rows) == some
    assert read_prompts(list(some)) == some
    path = tmp_path_factory.mktemp("prompts") / "some.parquet"
    flat = [row | {k: json.dumps(row[k]) for k in ("messages", "labels") if k in row} for row in rows]
    names = sorted({name for row in flat for name in row})
    pq.write_table(pa.table({name: pa.array([row.get(name) for row in flat], pa.string()) for name in names}), path)
    assert read_prompts(path) == some


def test_strings_are_text_and_prompt_is_a_message() -> None:
    plain, chat = read_prompts(["  as it is "]).prompts[0], read_prompts([{"prompt": "Hi"}]).prompts[0]
    assert (plain.text, plain.messages, plain.is_chat, plain.id) == ("  as it is ", None, False, "p00000")
    assert chat.messages == ({"role": "user", "content": "Hi"},)
    assert chat.is_chat


def test_label_columns_and_label_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label.topic,label.hard\nhello,war,\n")
    assert read_prompts(tmp_path / "a.csv").prompts[0].labels == {"topic": "war"}
    assert read_prompts([{"text": "a", "labels": {"x": True, "y": 2, "z": None}}]).prompts[0].labels == {
        "x": "true",
        "y": "2",
    }


def test_fingerprint_sees_every_field() -> None:
    base: dict[str, Any] = {"id": "a", "text": "t"}
    changed = [{"id": "b"}, {"text": "u"}, {"pair": "1"}, {"split": "s"}, {"cluster": "c"}, {"labels": {"x": "1"}}]
    prints = {read_prompts([base | change]).fingerprint for change in [{}, *changed, {"response": "r"}]}
    assert len(prints) == len(changed) + 2


def test_filter_by_split_and_labels() -> None:
    some = read_prompts([{"text": str(i), "split": "ab"[i % 2], "labels": {"n": i % 3}} for i in range(12)])
    kept = some.filter(split="a", labels={"n": ["0", "2"]})
    assert [p.text for p in kept] == ["0", "2", "6", "8"]
    assert some.splits == ("a", "b")
    assert some.label_values == {"n": ("0", "1", "2")}


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"split": "aa"}, r"has the split 'aa'; there is a, b; did you mean 'a'\?"),
        ({"labels": {"m": "1"}}, r"has the label 'm'; there is n\."),
        ({"labels": {"n": "9"}}, r"has the value of the label 'n' '9'; there is 0, 1\."),
        ({"split": "b", "labels": {"n": "0"}}, "meets split=b and labels={'n': .* together"),
    ],
)
def test_filter_refuses(wanted: Any, sentence: str) -> None:
    some = read_prompts(
        [{"text": "x", "split": "a", "labels": {"n": 0}}, {"text": "y", "split": "b", "labels": {"n": 1}}]
    )
    with pytest.raises(WorkbenchError, match=sentence):
        some.filter(**wanted)


def test_bundled_prompts_by_name() -> None:
    assert read_prompts("refusal") == read_prompts("data/prompts/refusal.jsonl") == read_prompts("refusal.jsonl")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "The list holds no prompts"),
        ([""], "The 'text' of item 0 of the list is empty"),
        (["a", "  \n"], "The 'text' of item 1 of the list is empty"),
        ([3], "Item 0 of the list is int; it should be text or an object"),
        ([{"text": 3}], "The 'text' of item 0 of the list is int"),
        ([{"txt": "a"}], r"Item 0 of the list has the unknown key 'txt'; the keys are .*; did you mean 'text'\?"),
        ([{"text": "a", "prompt": "b"}], "has 'text' and 'prompt'; give one of"),
        ([{"id": "a"}], "has none of them; give one of"),
        ([{"text": "a", "id": "1"}, {"text": "b", "id": 1}], "Item 1 of the list has the id '1' a second time"),
        (["a", {"text": "b", "id": "p00000"}], "has the id 'p00000' a second time"),
        ([{"text": "a", "id": " "}], "The 'id' of item 0 of the list is empty"),
        ([{"text": "a", "pair": ["b"]}], "The 'pair' of item 0 of the list is list"),
        ([{"text": "a", "labels": ["b"]}], "The 'labels' of item 0 of the list should be an object"),
        (
            [{"text": "a", "labels": {"b": [1]}}],
            r"The label 'b' of item 0 of the list should have a name and one value",
        ),
        ([{"messages": []}], "The 'messages' of item 0 of the list should be a list"),
        ([{"messages": "not json"}], "The 'messages' of item 0 of the list should be JSON"),
        ([{"messages": [{"role": "user"}]}], "should be an object with 'role' and 'content', both text"),
        ([{"messages": [{"role": "usr", "content": "a"}]}], r"has the role 'usr'; .*; did you mean 'user'\?"),
    ],
)
def test_a_list_is_refused(rows: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        read_prompts(rows)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', r"Line 2 of '.*a\.jsonl' is not JSON"),
        ("a.jsonl", "\n \n", r"'.*a\.jsonl' holds no prompts"),
        ("a.jsonl", "", r"'.*a\.jsonl' holds no prompts"),
        ("a.jsonl", '{"text": "a"}\n\n{"txt": "b"}\n', r"Line 3 of '.*a\.jsonl' has the unknown key 'txt'"),
        ("a.csv", "text\na,b\n", r"Line 2 of '.*a\.csv' has more cells than the header"),
        ("a.csv", 'text\n"a\n', r"of '.*a\.csv' is not CSV"),
        ("a.csv", "text,labels\na,{\n", "The 'labels' of line 2 of .* should be JSON"),
        ("a.csv", "text\n", "holds no prompts"),
        ("a.parquet", "PAR", r"'.*a\.parquet' is not a Parquet file"),
        ("a.txt", "a", r"ends in '\.txt'; prompts are read from \.jsonl, \.csv, \.parquet files"),
    ],
)
def test_a_file_is_refused(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(WorkbenchError, match=sentence):
        read_prompts(tmp_path / name)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"There is no prompt file .*no\.jsonl'; give a path"):
        read_prompts(tmp_path / "no.jsonl")
    with pytest.raises(WorkbenchError, match=r"There is no prompt file 'refusl'.*did you mean 'refusal'\?"):
        read_prompts("refusl")
    with pytest.raises(WorkbenchError, match="is a folder; name a prompt file in it"):
        read_prompts(tmp_path)
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xff"}')
    with pytest.raises(WorkbenchError, match=r"is not UTF-8 text \(byte 10\)"):
        read_prompts(tmp_path / "latin.jsonl")


def test_labels_as_a_parquet_map_come_as_pairs() -> None:
    """A map column of Parquet gives a list of (name, value); anything else that is a list is refused."""
    (prompt,) = read_prompts([{"text": "a", "labels": [("topic", "war"), ("n", 1)]}])
    assert prompt.labels == {"topic": "war", "n": "1"}
    for wrong in ([("topic", "war", 1)], [["topic", "war"]], ["topic"]):
        with pytest.raises(WorkbenchError, match="should be an object of names and values"):
            read_prompts([{"text": "a", "labels": wrong}])
