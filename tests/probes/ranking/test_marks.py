"""Flags join, and ties are among those that count."""

import numpy as np
import pandas as pd

from probes.ranking import join_flags, tied


def test_flags_join_and_ties_are_among_those_that_count() -> None:
    flags = {"dead": np.array([True, False, True]), "ties": np.array([True, False, False])}
    assert join_flags(flags) == ["dead; ties", "", "dead"]
    score = pd.Series([1.0, 1.0, 1.0, 2.0, np.nan, np.nan, 0.0])
    among = np.array([True, True, False, True, True, True, True])
    assert tied(score, among).tolist() == [True, True, False, False, False, False, False]
    assert tied(score, np.array([True, False, False, True, True, True, True])).tolist() == [False] * 7
