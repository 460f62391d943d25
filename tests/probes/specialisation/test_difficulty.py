"""What is known of difficulty: a sure router needs one expert, an even one all it takes; refusals."""

import numpy as np
import pytest

from probes import difficulty
from tests.probes.oracle.cases import golden
from tests.probes.oracle.importance.cases import judged
from tests.probes.oracle.memory import memory_store
from tests.probes.traffic.routed import even, routed_store
from workbench.errors import WorkbenchError


def test_even_weights_need_as_many_as_reach_p() -> None:
    rng = np.random.default_rng(0)
    store = routed_store([even(rng, 6, 4, 8) for _ in range(3)], 8)  # four weights of 1/2 each, over their sum 1/4
    for p, needed in ((0.2, 1), (0.25, 2), (0.6, 3), (0.75, 4), (1.0, 4)):
        frame = difficulty(store, p=p, least=3, tokens="all", n_bootstrap=0).frame
        assert frame["needed"].tolist() == [needed] * 6, p


def test_what_cannot_be_asked_is_one_sentence() -> None:
    rows, anatomy = golden().rows, golden().anatomy
    bare = memory_store(anatomy, {**rows, "tokens": [{**t, "token_id": None, "token": None} for t in rows["tokens"]]})
    for store, options, message in (
        (golden().store, {"of": "x"}, "of='x' can be weight, logits"),
        (golden().store, {"p": 0.0}, "p=0 should be more than 0"),
        (golden().store, {"p": 1.5}, "p=1.5 should be"),
        (golden().store, {"least": 0}, "least=0 1 or more"),
        (golden().store, {"least": 99}, "No token id is read least=99 times; the most frequent 4 times"),
        (golden().store, {"of": "logits"}, "kept no router logits"),
        (bare, {}, "was captured without text, so its token ids are unknown"),
    ):
        with pytest.raises(WorkbenchError, match=message):
            difficulty(store, **options)
    assert difficulty(judged().store, of="logits", p=1.0, least=1, n_bootstrap=0).frame["needed"].tolist() == [4, 4, 4]
