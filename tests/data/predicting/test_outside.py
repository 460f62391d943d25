"""Which effects of single experts are no noise, and what a score can tell of them at best, on numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from predicting.outside import intervals, matrix, outside, reliability, spearman, told

DOCUMENTS = 24


def noise(experts, seed=0):
    return np.random.default_rng(seed).normal(size=(experts, DOCUMENTS))


def test_effects_by_expert_and_document():
    rows = [
        (0, 3, "code", 0, 0.1),
        (0, 3, "code", 1, 0.2),
        (1, 2, "code", 0, 0.3),
        (1, 2, "code", 1, 0.4),
        (0, 3, "prose", 0, 9),
    ]
    experts, nats = matrix(pd.DataFrame(rows, columns=["layer", "expert", "kind", "document", "nats"]), "code")
    assert experts == [(0, 3), (1, 2)]
    assert nats.tolist() == [[0.1, 0.2], [0.3, 0.4]]


def test_an_effect_that_every_document_has_is_outside_and_none_is_not():
    assert outside(np.array([[0.5] * DOCUMENTS, [0.0] * DOCUMENTS])) == 0.5


def test_of_noise_about_a_twentieth_is_outside():
    assert 0.01 <= outside(noise(400)) <= 0.10


def test_an_interval_is_that_of_the_mean_over_documents():
    nats = noise(50)
    low, high = intervals(nats)
    error = nats.std(1, ddof=1) / math.sqrt(DOCUMENTS)
    # Student's t with 23 degrees of freedom is 2.069 at 97.5 %
    assert ((high - low) / (2 * 2.069 * error)).mean() == pytest.approx(1, abs=0.05)


def test_effects_that_documents_share_are_reliable_and_noise_is_not():
    shared = np.arange(60.0)[:, None]
    assert reliability(shared + 0.001 * noise(60)) > 0.99
    assert reliability(noise(60)) < 0.4


def test_half_of_the_variance_shared():
    # variance 1 of experts, 1 of the mean over all documents: the halves have 2, r = 1/3, stepped up to 1/2
    shared = np.random.default_rng(1).normal(size=(600, 1))
    assert reliability(shared + math.sqrt(DOCUMENTS) * noise(600)) == pytest.approx(0.5, abs=0.07)


def test_a_score_that_is_the_effect_its_negative_and_one_that_is_constant():
    nats = np.arange(40.0)[:, None] + 0.01 * noise(40)
    assert told(nats.mean(1), nats) == pytest.approx((1, 1, 1))
    assert told(-nats.mean(1), nats) == pytest.approx((-1, -1, -1))
    assert all(math.isnan(x) for x in told(np.zeros(40), nats))


def test_the_interval_of_a_correlation_is_over_experts():
    score = np.random.default_rng(2).normal(size=100)
    rho, low, high = told(score, noise(100))
    assert low < rho < high
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(99), rel=0.25)  # the standard error of a correlation of 0


def test_ties_take_their_mean_rank():
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    assert spearman(np.array([1, 2, 2, 3]), np.array([1, 2, 3, 4])) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
