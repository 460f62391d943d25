"""Answers that rank no expert: their rows, what they refuse, and files that give them back."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes import ExpertScores, LayerTable, PairTable, SetTable, TokenTable
from probes.ranking import Table
from tests.probes.oracle.cases import golden
from workbench.errors import WorkbenchError
from workbench.plan import Plan

MEMBERS = pd.DataFrame({"set": ["a", "a", "b"], "layer": [1, 2, 1], "expert": [0, 3, 0], "n": [5, 6, 5]})
KINDS = {
    LayerTable: pd.DataFrame({"layer": [1], "n": [2]}),
    PairTable: pd.DataFrame({"layer": [1], "expert": [0], "other_layer": [2], "other_expert": [3], "n": [4]}),
    SetTable: MEMBERS,
    TokenTable: pd.DataFrame({"token_id": [7], "n": [1]}),
}


def layers(**columns: object) -> LayerTable:
    frame = pd.DataFrame({"layer": [1, 2], "n": [12, 0], **columns})
    return LayerTable("locality", {"window": 4, "where": None}, frame, ("a note",), "f" * 16, "test/moe")


def test_a_table_knows_its_store_and_says_what_was_asked() -> None:
    case = golden()
    found = LayerTable.of(case.store, "m", {"x": 1}, KINDS[LayerTable], ("told",))
    assert (found.fingerprint, found.model) == (case.anatomy.fingerprint, case.anatomy.model)
    assert (found.kind, found.asked, found.notes) == ("LayerTable", "m of test/moe, 1 rows (x=1)", ("told",))
    assert not any(hasattr(found, name) for name in ("top", "bottom"))


def test_it_prints_ten_rows_and_what_is_to_be_told() -> None:
    assert repr(layers(share=[0.123456, math.nan], nothing=math.nan)).splitlines() == [
        "locality of test/moe, 2 rows (window=4)",
        "layer   n   share",
        "    1  12  0.1235",
        "    2   0       -",
        "Counted on these prompts; an effect is measured by compare().",
        "- a note",
    ]
    long = TokenTable("m", {}, pd.DataFrame({"token_id": range(12), "n": 1}), (), "f")
    assert "... 2 more" in repr(long)
    assert len(repr(long).splitlines()) == 1 + 11 + 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_columns(kind: type[Table]) -> None:
    for name in kind.columns:
        with pytest.raises(
            WorkbenchError, match=rf"^A {kind.__name__} of m has columns .* and lacks {name}; give it a frame"
        ):
            kind("m", {}, KINDS[kind].drop(columns=name), (), "f")


def test_the_members_of_a_set_are_experts_that_a_plan_takes() -> None:
    found = SetTable("m", {}, MEMBERS, (), "f" * 16)
    assert found.sets == ("a", "b")
    assert [*map(str, found.experts("a"))] == ["L1E0", "L2E3"]
    assert [*map(str, found.experts())] == ["L1E0", "L2E3"], "each once"
    assert Plan.off(found.experts("b")).fingerprint == "f" * 16
    shared = SetTable("m", {}, MEMBERS.assign(is_shared=[True, False, False]), (), "f")
    assert [*map(str, shared.experts())] == ["L1S0", "L2E3", "L1E0"]
    with pytest.raises(WorkbenchError, match="m found no set 'c'; it has a, b"):
        found.experts("c")


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NUMBERS = st.floats() | st.none()


@settings(max_examples=25, deadline=None)
@example([(1, "\r", None, True), (2, '"\r\n', 0.1, False)])
@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), WORDS, NUMBERS, st.booleans()), max_size=4))
def test_files_give_the_same_rows_back(rows: list[tuple[int, str, float | None, bool]]) -> None:
    frame = pd.DataFrame(rows, columns=["token_id", "token", "share", "said"]).assign(n=1)
    frame = frame.astype({"token_id": "int64", "token": "str", "share": "float64", "said": "bool"})
    found = TokenTable("m", {"top": [1]}, frame, ("a", "b\n"), "f" * 16, "test/moe")
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("csv", "parquet", "json"):
            path = Path(folder) / f"t.{ending}"
            getattr(found, f"to_{ending}")(path)
            back = Table.read(path)
            assert type(back) is TokenTable
            pd.testing.assert_frame_equal(back.frame, found.frame)
            assert (back.method, back.options, back.notes) == (found.method, found.options, found.notes)
            assert (back.fingerprint, back.model) == (found.fingerprint, found.model)


def test_words_that_are_missing_are_empty_and_numbers_null() -> None:
    frame = pd.DataFrame({"token_id": [1, 2], "token": ["x", None], "role": pd.Categorical([None, "user"]), "n": 1})
    found = TokenTable("m", {}, frame.assign(share=[np.nan, 0.5]), (), "f")
    assert found.frame["token"].tolist() == ["x", ""]
    assert found.frame["role"].tolist() == ["", "user"]
    assert found.cells(2)[1] == [["1", "x", "", "1", "-"], ["2", "", "user", "1", "0.5"]]


def test_another_file_is_one_sentence(tmp_path: Path) -> None:
    layers().to_csv(tmp_path / "t.csv")
    with pytest.raises(WorkbenchError, match=r"holds no SetTable; it should be what SetTable\.to_csv wrote"):
        SetTable.read(tmp_path / "t.csv")
    with pytest.raises(WorkbenchError, match=r"There is no answer at '.*u.csv'; save one"):
        LayerTable.read(tmp_path / "u.csv")
    with pytest.raises(WorkbenchError, match=r"should end in .csv, .parquet or .json"):
        LayerTable.read(tmp_path / "t.txt")
    for ending, text in (("json", "{}"), ("csv", "x"), ("parquet", "x")):
        (tmp_path / f"bad.{ending}").write_text(text)
        with pytest.raises(WorkbenchError, match="holds no answer of a probe"):
            LayerTable.read(tmp_path / f"bad.{ending}")
    with pytest.raises(WorkbenchError, match="holds no expert scores"):
        ExpertScores.from_csv(tmp_path / "t.csv")
