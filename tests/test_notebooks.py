"""The notebooks run from top to bottom on the bundled model, and what is committed is what they print."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import FOLDER, run

NAMES = (
    "01_first_capture",
    "02_find_experts",
    "03_super_experts",
    "04_steer_and_measure",
    "05_your_model",
    "06_sql_on_activations",
)
SMALL = 400_000
"""Bytes of a notebook that a code host still renders."""
DIGITS = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


def read(name: str) -> Any:
    return pytest.importorskip("nbformat").read(FOLDER / f"{name}.ipynb", as_version=4)


def printed(notebook: Any) -> list[str]:
    """What each cell prints, without numbers: their last digits differ between processors."""
    texts = [
        "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", []))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return [DIGITS.sub("#", re.sub(r"[ -]+", " ", text)) for text in texts]


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
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom_and_prints_what_is_committed(name, tmp_path):
    pytest.importorskip("nbclient", reason="the extra 'dev' is not installed (nbclient)")
    if name == "05_your_model":
        pytest.importorskip("transformer_lens", reason="the extra 'interop' is not installed (TransformerLens)")
        pytest.importorskip("nnsight", reason="the extra 'interop' is not installed (nnsight)")
    assert printed(run(FOLDER / f"{name}.ipynb", tmp_path)) == printed(read(name))
