"""Answers made by hand: scores with flags, ties and a dead expert; a table of layers."""

import pandas as pd

from probes.ranking import ExpertScores, LayerTable
from tests.app.world import SHAPE

NAN = float("nan")


def scores(rows, method="ftri", notes=("note \x07",), fingerprint=SHAPE.fingerprint, **options):
    columns = ["layer", "expert", "score", "n", "p", "p_adjusted", "flags"]
    frame = pd.DataFrame(rows, columns=columns).assign(low=NAN, high=NAN)
    return ExpertScores(method, options, frame, notes, fingerprint)


FOUND = scores(
    [(0, 1, 0.5, 1200, 0.001, 0.01, "super expert; ties"), (1, 2, 0.25, 20, 0.01, 0.25, "<ties>"),
     (0, 3, 0.1, 9, 0.05, 0.05, ""), (1, 0, -0.5, 5, 0.5, 0.75, ""), (1, 3, NAN, 0, NAN, NAN, "dead")],
    n_permutations=999, target="a\x07", roles=None,
)  # fmt: skip

OTHER = scores([(1, 2, 4.0, 1, 1.0, 1.0, ""), (0, 1, 3.0, 1, 1.0, 1.0, ""), (0, 3, 3.0, 1, 1.0, 1.0, ""),
                (1, 0, NAN, 1, NAN, NAN, "")], "usage")  # fmt: skip

LAYERS = LayerTable("usage", {"window": 4, "where": None},
                    pd.DataFrame({"layer": [0, 1], "text": ["a\x07", "<b>"], "n": [3, 4], "share": [0.125, NAN], "low": NAN}),
                    ("note \x07",), SHAPE.fingerprint)  # fmt: skip
