"""How alike two experts' weights are once the neurons of one are put in the order of the other's, for each pair of a layer."""

from collections.abc import Collection, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from workbench.errors import WorkbenchError
from workbench.parameters.directions import Directions, expert_directions
from workbench.parameters.moe_blocks import moe_blocks

if TYPE_CHECKING:
    from workbench.model import MoEModel

_COLUMNS = ("layer", "expert", "other_expert", "n_neurons", "cosine", "aligned")
_NANOSECONDS = 0.02, 25.0
"""Of a product and sum of the neurons' inner products, and of a cell of the matching: measured with 768 neurons, on one core of
a Zen 5, 2026-11-30; with 48 neurons a cell takes 7."""


@torch.no_grad()
def alignments(model: "MoEModel", layers: Collection[int] | None = None) -> pd.DataFrame:
    """A row for each pair of routed experts of a layer: layer, expert < other_expert, n_neurons, cosine, aligned.

    A neuron is what it reads, its gate where there is one, and what it writes, as one vector [sides x hidden]: V[e] of expert e.

        cosine  = sum over k of <V[i, k], V[j, k]>       / (|V[i]| |V[j]|)      the order of the neurons as it is
        aligned = sum over k of <V[i, k], V[j, perm(k)]> / (|V[i]| |V[j]|)      perm: the order of j's with the largest sum

    Any order of its neurons is the same expert, so `cosine` says nothing of two that were trained apart. M-SMoE aligns so, with
    the Hungarian algorithm (arXiv 2310.01334; code read), each expert to the layer's first; here each to each.
    Null where an expert is nothing but zeros. Raises `WorkbenchError` for weights as `directions` does.
    """
    check_matching()
    hidden = model.anatomy.hidden_size
    rows = [
        (block.layer, *row)
        for block, n_experts in moe_blocks(model, layers)
        for row in _pairs([*expert_directions(block, n_experts, hidden)])
    ]
    return pd.DataFrame(rows, columns=[*_COLUMNS]).astype({"cosine": "float64", "aligned": "float64"})


def alignments_work(model: "MoEModel", layers: Collection[int] | None = None) -> tuple[int, float]:
    """How many pairs `alignments` has, and about how many seconds it takes on one core."""
    pairs, seconds, (product, cell) = 0, 0.0, _NANOSECONDS
    for block, n_experts in moe_blocks(model, layers):
        own = [*expert_directions(block, n_experts, model.anatomy.hidden_size)]
        n = len(own) * (len(own) - 1) // 2
        neurons, width = _vectors(own[0]).shape if n else (0, 0)
        pairs += n
        seconds += n * neurons**2 * (width * product + neurons * cell) / 1e9
    return pairs, seconds


def check_matching() -> None:
    """Raises `WorkbenchError` where scipy, which has the Hungarian algorithm, is not installed."""
    try:
        import scipy.optimize  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise WorkbenchError(
            "Alignments match neurons by scipy, which is not installed; run `pip install scipy`, or leave alignments out of keep."
        ) from error


def _pairs(experts: list[Directions]) -> Iterator[tuple[Any, ...]]:
    from scipy.optimize import linear_sum_assignment

    vectors = [_vectors(own).float() for own in experts]
    sizes = [float(v.double().norm()) for v in vectors]
    for i, j in combinations(range(len(experts)), 2):
        products = (vectors[i] @ vectors[j].T).double().cpu().numpy()
        matched = products[linear_sum_assignment(products, maximize=True)].sum()
        below = sizes[i] * sizes[j]
        both = (np.trace(products) / below, matched / below) if below else (None, None)
        yield experts[i].expert, experts[j].expert, len(products), *both


def _vectors(own: Directions) -> torch.Tensor:
    """[neurons, sides x hidden]."""
    return torch.cat([side for side in (own.read, own.gate, own.write) if side is not None], dim=1)
