"""Resampling: who hangs together, draws of whole clusters, percentiles, few clusters."""

import math

import numpy as np
import pytest

from tests.workbench.comparison.test_effects_said import NAN
from workbench import resample as r


class TestResampling:
    def test_who_hangs_together(self) -> None:
        pairs, clusters = ["1", "1", None, "2", None, "3", "2"], ["x", "y", "y", None, None, "z", "z"]
        assert r.joined(pairs, clusters).tolist() == [0, 0, 0, 1, 2, 1, 1]
        assert r.joined(["c", "b", "a", "b", "c"]).tolist() == [0, 1, 2, 1, 0]

    def test_draws_are_of_whole_clusters(self) -> None:
        draws = r.cluster_draws(np.array([0, 2, 1, 0, 2]), 4000, np.random.default_rng(0))
        assert draws.shape == (4000, 5)
        assert (draws[:, 0] == draws[:, 3]).all()
        assert (draws[:, 1] == draws[:, 4]).all()
        assert (draws[:, :3].sum(1) == 3).all()
        assert draws.mean(0) == pytest.approx(np.ones(5), abs=0.05)

    def test_percentiles(self) -> None:
        values = np.stack([np.arange(101.0), 10 * np.arange(101.0)], 1)
        low, high = r.percentile_interval(values)
        assert (low.tolist(), high.tolist()) == (pytest.approx([2.5, 25]), pytest.approx([97.5, 975]))
        low, high = r.percentile_interval(values, 0.8)
        assert (low.tolist(), high.tolist()) == (pytest.approx([10, 100]), pytest.approx([90, 900]))
        gaps = np.concatenate([np.stack([np.arange(101.0), np.full(101, NAN), np.ones(101)], 1), [[NAN, NAN, 1]]])
        low, high = r.percentile_interval(gaps)
        assert [low[0], high[0], low[2], high[2]] == pytest.approx([2.5, 97.5, 1, 1])
        assert np.isnan([low[1], high[1]]).all()

    def test_few_clusters(self) -> None:
        assert (r.LEVEL, r.FEW) == (0.95, 10)
        assert r.effective_clusters(np.array([1.0, 2, 3, 4]), np.array([0, 0, 1, 2])) == pytest.approx(100 / 34)
        # Student's t by any table: 12.706, 2.571, 2.201, 2.021; and 1.812 for 90 % of 10
        for freedom, quantile in ((1, 12.706), (5, 2.571), (11, 2.201), (40, 2.021)):
            assert r.student_quantile(0.975, freedom) == pytest.approx(quantile, abs=1e-3)
        assert r.student_quantile(0.95, 10) == pytest.approx(1.812, abs=1e-3)
        # the share of a normal within 2.201 sqrt(12 / 11) = 2.299, within 2.021 sqrt(41 / 40) = 2.046, 1.812 sqrt(1.1) = 1.901
        assert r.widened(12) == pytest.approx(math.erf(2.2989 / math.sqrt(2)), abs=1e-5)
        assert r.widened(41) == pytest.approx(math.erf(2.0462 / math.sqrt(2)), abs=1e-4)
        assert r.widened(11, 0.9) == pytest.approx(math.erf(1.9009 / math.sqrt(2)), abs=1e-4)
        assert r.widened(1.0) == r.widened(1.5) == r.widened(2.0) == pytest.approx(1.0)
