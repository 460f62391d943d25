"""The notebooks run from top to bottom on the bundled model, and what is committed is what they print."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.notebooks import FOLDER, run

NAMES = (
    "01_first_capture",
    "02_find_experts",
    "03_super_experts",
    "04_steer_and_measure",
    "05_your_model",
    "06_sql_on_activations",
    "07_a_real_model",
)
REAL = ("03_super_experts", "07_a_real_model")
"""Run by `make real`, for they fetch a model (tests/real/test_notebooks.py)."""
DATA = FOLDER.parent / "data"
SMALL = 400_000
"""Bytes of a notebook that a code host still renders."""
FINGERPRINT = re.compile(r"\b(?:\d:)?[0-9a-f]{16}\b")
DIGITS = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


def read(name: str) -> Any:
    return pytest.importorskip("nbformat").read(FOLDER / f"{name}.ipynb", as_version=4)


def said() -> re.Pattern[str]:
    """How an answer of the bundled model begins: its refusal, and the first words that the prompt file teaches it."""
    lines = (DATA / "prompts" / "refusal.jsonl").read_text("utf-8").splitlines()
    first = sorted({json.loads(line)["labels"]["answer"].split()[0] for line in lines})
    return re.compile(rf"\b(?:{'|'.join(first)}|I cannot talk about that)\b|(?<=')I(?=')")


def printed(notebook: Any) -> list[str]:
    """What each cell prints, without what differs between processors: last digits, and greedy answers near a tie."""
    texts = [
        "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", []))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return [
        DIGITS.sub("#", re.sub(r"[ -]+", " ", _without_answers(FINGERPRINT.sub("fingerprint", text)))) for text in texts
    ]


def _without_answers(text: str) -> str:
    """A line that shows an answer ends where it begins; a list of first words keeps its shape."""
    lines = [re.sub(r"^( +(?:base|steered) ).*", r"\1~", line) for line in text.splitlines()]
    return "\n".join(re.sub(r"~[^'|<]*", "~", said().sub("~", line)) for line in lines)


def test_a_notebook_is_compared_by_what_it_says_and_not_by_this_processors_last_digit() -> None:
    def cell(text: str) -> Any:
        return SimpleNamespace(cells=[SimpleNamespace(cell_type="code", get=lambda *_: [{"text": text}])])

    first = "refused  0.375 L2E8\n    base    Painters took the school.\noff L2E8 ['<|assistant|>', 'I', 'Painters']"
    same = "refused -0.374 L2E20\n    base    I3 took.\noff L2E8 ['<|assistant|>', 'Sailors', 'Gunmen']"
    assert printed(cell(first)) == printed(cell(same))
    # random weights, and so what they are told by, are another processor's own
    assert printed(cell("weights='2:0a1b2c3d4e5f6a7b' x")) == printed(cell("weights='2:ffffffffffffffff' x"))
    assert printed(cell("weights='2:0a1b2c3d4e5f6a7b' x")) != printed(cell("weights='2:0a1b2c3d4e5f6a7b' y"))
    for old, new in (
        ("refused", "declined"),
        ("base", "steered"),
        ("off", "mute"),
        ("<|assistant|>", "<|user|>"),
        ("\n", " "),
    ):
        assert printed(cell(first)) != printed(cell(first.replace(old, new, 1))), new


def test_every_notebook_is_named_here():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_answers_and_warns_and_is_small(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    for part in ("**Question.**", "**Answer.**", "**Caveat.**"):
        assert text.count(part) == 1
    outputs = [o for cell in read(name).cells for o in cell.get("outputs", [])]
    assert any("image/png" in o.get("data", {}) for o in outputs), "a notebook shows a plot"
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert Path(FOLDER / f"{name}.ipynb").stat().st_size < SMALL


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in REAL])
def test_a_notebook_runs_from_top_to_bottom_and_prints_what_is_committed(name, tmp_path):
    pytest.importorskip("nbclient", reason="the extra 'dev' is not installed (nbclient)")
    if name == "05_your_model":
        pytest.importorskip("transformer_lens", reason="the extra 'interop' is not installed (TransformerLens)")
        pytest.importorskip("nnsight", reason="the extra 'interop' is not installed (nnsight)")
    assert printed(run(FOLDER / f"{name}.ipynb", tmp_path)) == printed(read(name))
