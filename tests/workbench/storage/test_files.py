"""A file is written whole or not at all, refused where it cannot go, and tidied away."""

from pathlib import Path

import pytest

from tests.support.refusals import refused
from workbench import storage


class TestWriting:
    def test_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text("before")

        def fails() -> None:
            with storage.replacing(path) as part:
                assert part.parent == tmp_path
                assert part.suffix == ".json"
                part.write_text("half")
                raise KeyError

        with pytest.raises(KeyError):
            fails()
        assert (path.read_text(), list(tmp_path.iterdir())) == ("before", [path])
        storage.write_text(path, "after\u00e9")
        assert (path.read_text(encoding="utf-8"), list(tmp_path.iterdir())) == ("after\u00e9", [path])
        storage.write_json(tmp_path, "b/c.json", {"k": "\u00e9"})
        assert (tmp_path / "b/c.json").read_text(encoding="utf-8") == '{\n "k": "\u00e9"\n}\n'

    def test_where_a_file_cannot_go(self, tmp_path: Path) -> None:
        storage.check_writable(tmp_path / "new.json")
        assert refused(storage.check_writable, tmp_path) == f"'{tmp_path}' is a folder; name a file to write."
        missing = tmp_path / "no" / "a.json"
        assert refused(storage.check_writable, missing) == (
            f"There is no folder '{tmp_path / 'no'}' to write '{missing}' in; make it, or name another."
        )
        (tmp_path / "l.json").write_text("[1]")
        said = f"'{tmp_path / 'l.json'}' is damaged (it holds no object); it should be JSON that workbench wrote."
        assert refused(storage.read_json, tmp_path / "l.json") == said
        assert "byte that is not UTF-8" in refused(storage.check_spelling, Path("a\udcffb"))

    def test_what_is_tidied(self, tmp_path: Path) -> None:
        folder = tmp_path / storage.WRITING
        folder.mkdir()
        for name in ("slots+00000.parquet.x.part", "manifest.lock", "plan.json.x.part", "other"):
            (folder / name).write_text("")
        storage.tidy(tmp_path)
        assert sorted(file.name for file in folder.iterdir()) == ["other", "plan.json.x.part"]
