"""A family in a dtype: its model, its oracle and one record of both, made once."""

from functools import cache
from typing import NamedTuple

from torch import Tensor

from tests.conformance.oracle import Layer, Oracle
from workbench import load
from workbench.loading.tiny_configs import FAMILIES
from workbench.model import MoEModel

CLOSE = {"float32": 2e-4, "bfloat16": 4e-2}  # relative to the largest: of a forward through all layers
REFUSED = ("doge", "nllb-moe", "switch_transformers")
SUPPORTED = tuple(f for f in FAMILIES if f not in REFUSED)
TEXT = "Who routes?"
LENGTH = 12  # its tokens: one a byte, and the end


class Case(NamedTuple):
    """A family's tiny model, what workbench says of it, and the oracle."""

    model: MoEModel
    oracle: Oracle
    ids: Tensor

    @property
    def last(self) -> int:
        """The last MoE layer."""
        return self.model.anatomy.moe_layers[-1]

    @property
    def layer(self) -> Layer:
        """The oracle's last MoE layer."""
        return self.oracle.layers[self.last]


@cache
def case(family: str, dtype: str = "float32") -> Case:
    """Built once; nobody changes its weights."""
    model = load(f"tiny/{family}", device="cpu", dtype=dtype)
    ids = model.tokenizer(TEXT, return_tensors="pt").input_ids
    assert ids.shape == (1, LENGTH)
    return Case(model, Oracle(model.hf), ids)


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-9)).item()
