"""A text with its routing, layer by layer, made by hand."""

import numpy as np
from workbench_app.dashboard.texts import trace

from tests.app.dashboard.rankings.made import NAN


def text_of(layers, tokens=("a", " b", "\n", "<d>"), n_prompt=2, dose=None):
    roles = ("system", "user", "assistant", "assistant")[: len(tokens)]
    return trace.Trace(tuple(tokens), roles, n_prompt, layers, dose)


def layer_of(expert, weight, l2=None, most=None):
    expert, weight = np.array(expert), np.array(weight)
    filled = np.full(weight.shape, NAN)
    return trace.LayerTrace(
        expert, weight, filled if l2 is None else np.array(l2), filled if most is None else np.array(most)
    )


LAYERS = {
    0: layer_of([[3, 1], [1, 3], [2, 1], [-1, -1]], [[0.75, 0.25], [0.5, 0.5], [1.0, 0.0], [0.0, 0.0]],
                [[1.0, 9.0], [4.0, 3.0], [2.0, NAN], [NAN, NAN]]),
    1: layer_of([[0, 2], [2, 0], [0, 1], [-1, -1]], [[0.25, 0.75], [0.125, 0.875], [0.5, 0.5], [0.0, 0.0]]),
}  # fmt: skip
