"""Rows of files of every kind, and the line of what is broken in one."""

from pathlib import Path

import pandas as pd
import pytest

from tests.support.refusals import refused
from workbench import read_prompts
from workbench.prompts.files import read_rows


class TestRows:
    def test_rows_of_every_kind(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('\ufeff{"text": "x"}\n\n{"text": "y"}\n', encoding="utf-8")
        (tmp_path / "b.csv").write_text('text,pair\n"two\nlines",\nz,1\n')
        pd.DataFrame({"text": ["x", "y"]}).to_parquet(tmp_path / "c.parquet")
        assert list(read_rows(tmp_path / "a.jsonl")) == [("line 1", {"text": "x"}), ("line 3", {"text": "y"})]
        assert list(read_rows(tmp_path / "b.csv")) == [
            ("line 3", {"text": "two\nlines"}),
            ("line 4", {"text": "z", "pair": "1"}),
        ]
        assert list(read_rows(tmp_path / "c.parquet")) == [("row 0", {"text": "x"}), ("row 1", {"text": "y"})]

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            (
                "a.jsonl",
                '{"text": "a"}\n{"text" 1}\n',
                "Line 2 of 'F/a.jsonl' is not JSON (Expecting ':' delimiter at column 9); each",
            ),
            (
                "a.jsonl",
                "[" * 100_000,
                "Line 1 of 'F/a.jsonl' is nested too deep or holds too long a number; each line holds one",
            ),
            ("a.csv", "text,text\na,b\n", "'F/a.csv' has two columns 'text'; name each column once."),
            ("a.csv", "text\na\nb,c\n", "Line 3 of 'F/a.csv' has more cells than the header has columns."),
        ],
    )
    def test_broken_files(self, tmp_path: Path, name: str, text: str, said: str) -> None:
        (tmp_path / name).write_text(text)
        assert refused(read_prompts, tmp_path / name).replace(str(tmp_path), "F").startswith(said)
