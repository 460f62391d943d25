"""What is no engine ends `load` in one sentence, wherever it fails: imported, made, or asked what it can."""

import sys
from pathlib import Path
from typing import Any

import pytest

from workbench import WorkbenchError, load


class Takes:
    """No engine: its constructor takes nothing."""


class Raises:
    def __init__(self, *_: Any, **__: Any) -> None:
        raise ValueError("no such device")


class Empty:
    can = facts = None

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def run(self) -> None: ...
    def score(self) -> None: ...


@pytest.mark.parametrize(
    ("engine", "part"),
    [
        (Takes, r"TypeError: Takes\(\) takes no arguments"),
        (Raises, r"ValueError: no such device"),
        (Empty, r"AttributeError: 'NoneType' object has no attribute"),
        (object(), r"an object of type object, which is no engine"),
        ("json:nosuch", r"cannot be imported"),
        ("./engine.py:Mine", r"cannot be imported"),
        ("refused_here:X", r"cannot be imported \(boom\)"),
    ],
)
def test_it_is_one_sentence(engine: Any, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "refused_here.py").write_text("raise RuntimeError('boom')", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(WorkbenchError, match=part) as caught:
        load("demo", engine=engine)
    assert "\n" not in str(caught.value)


def test_the_old_word_is_told_of_before_the_engine_is_made() -> None:
    with pytest.raises(WorkbenchError, match="not a word any more"):
        load("demo", engine=Raises, backend="nnsight")
