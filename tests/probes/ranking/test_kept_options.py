"""What is kept with an answer: every option, and numbers as a reader reads them."""

from itertools import product

import numpy as np

from probes import contrast, ftri
from probes.magnitudes import MassiveRule
from probes.ranking.scores import shown
from tests.probes.oracle.cases import golden


def test_a_number_is_shown_as_a_reader_reads_it() -> None:
    assert [shown(x) for x in ("dead", float("nan"), None, 7, np.int64(12), 0.123456, 1e-7)] == [
        "dead", "-", "-", "7", "12", "0.1235", "1e-07",
    ]  # fmt: skip
    assert str(MassiveRule()) == "|h| > 100 and > 1000 x the median |h| of the layer's tokens"
    assert tuple(MassiveRule()) == (100.0, 1000.0, 1.2, "ordinary")


def test_every_pair_of_options_is_kept_with_the_answer() -> None:
    """What was asked stands in the options, whatever it was."""
    asked = {
        "tokens": ["prompt", "all"],
        "roles": ["user", None],
        "cluster": ["prompt", "pair"],
        "adjust": ["bh", "none"],
    }
    for values in product(*asked.values()):
        given = dict(zip(asked, values, strict=True))
        for method in (ftri, contrast):
            found = method(golden().store, "refused", "answered", n_permutations=3, n_bootstrap=3, seed=4, **given)
            assert {name: found.options[name] for name in given} == given
            assert (found.options["n_permutations"], found.options["n_bootstrap"], found.options["seed"]) == (3, 3, 4)
