"""Which experts' weights are flat, none standing out: AIMER, of weights alone."""

from typing import TYPE_CHECKING

import numpy as np

from probes.checked import checked
from probes.importance.own_weights import own_weights
from probes.ranking import ExpertScores, assemble

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def aimer(store: "Store") -> ExpertScores:
    """How flat an expert's weights are: their mean size over their root mean square, without any prompt.

        score[e] = (sum |theta| / P) / sqrt(sum theta^2 / P)

    theta  every number in the expert's matrices (gate, up and down, or as many as the family has; no biases)
    P      how many there are, which is n here: no token is read

    Range [0, 1]: 1 where all weights have one size, sqrt(2 / pi) = 0.798 for normally distributed ones, 1 / sqrt(P) where one
    alone is not zero. Null for an expert of zeros, and where a weight is not finite. The same for weights twice as large.
    Identity experts have no weights and are left out, as shared experts are. No interval, no p-value: nothing is sampled.

    Theirs: the score, and that experts with the *largest* can go, so the first rows here (arXiv 2603.18492; the repository's
    code was read). Ours: float64 sums, and one ranking over all layers; layers differ in how flat they are, so to prune as many
    of each, rank within layers.

    Not evidence that an expert does little: it says nothing of how often it is selected, or of what it writes.
    Raises `WorkbenchError` where the store kept no matrices: capture(..., keep={"matrices"}).
    """
    own = own_weights(store)
    mean, square = own.sum_abs / own.n, own.sum_squares / own.n
    score = np.divide(mean, np.sqrt(square), out=np.full(len(mean), np.nan), where=square > 0)
    notes = (
        "weights alone: n is how many an expert has, no token is read, and nothing is sampled: no interval, no p-value",
        "the experts that can go are the first rows",
        *own.notes,
    )
    return assemble(store, "aimer", {}, own.axis, {"score": score, "n": own.n}, notes)
