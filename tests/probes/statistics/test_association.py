"""The p-value of an association with markers, against every shift counted by a loop; signs of markers included."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes import npmi
from tests.support.stores import anatomy
from workbench.store import Store, write_store

# three sequences of words, and the expert of layer 1 that each token selects
WORDS = {"p": "a x b a x x", "q": "x b a x x", "r": "a b x x a b"}
EXPERT = {"p": [0, 2, 1, 0, 2, 2], "q": [2, 1, 0, 2, 0], "r": [0, 1, 2, 1, 0, 2]}
SIGN = {"a": 1.0, "b": -1.0}


def store(path: Path) -> Store:
    tokens = [(p, 0, i, 1, w, "user", False) for p, text in WORDS.items() for i, w in enumerate(text.split())]
    slots = [(p, 0, i, 1, 0, e, 1.0) for p, experts in EXPERT.items() for i, e in enumerate(experts)]
    lengths = [len(experts) for experts in EXPERT.values()]
    tables = {
        "prompts": pd.DataFrame({"prompt_id": list(WORDS), "text": list(WORDS.values()), "n_tokens": lengths}),
        "tokens": pd.DataFrame(
            tokens, columns=["prompt_id", "sample", "position", "token_id", "token", "role", "generated"]
        ),
        "slots": pd.DataFrame(slots, columns=["prompt_id", "sample", "position", "layer", "slot", "expert", "weight"]),
    }
    return write_store(path, anatomy(n_layers=2, n_experts=3, top_k=1), tables)


def statistics(expert: int) -> list[float]:
    """sum over markers of sign * k / M for every way to shift each sequence's markers around it; as observed first."""
    n = {marker: sum(text.split().count(marker) for text in WORDS.values()) for marker in SIGN}
    found = []
    for steps in product(*(range(len(experts)) for experts in EXPERT.values())):
        total = 0.0
        for (name, text), step in zip(WORDS.items(), steps, strict=True):
            for position, word in enumerate(text.split()):
                at = (position + step) % len(EXPERT[name])
                if word in SIGN and EXPERT[name][at] == expert:
                    total += SIGN[word] / n[word]
        found.append(total)
    return found


def test_p_is_the_share_of_shifts_at_least_as_far_from_their_mean(tmp_path: Path) -> None:
    draws = 4000
    frame = npmi(store(tmp_path / "store"), SIGN, n_permutations=draws, n_bootstrap=0, seed=3).frame
    found = frame.set_index("expert")["p"]
    for expert in range(3):
        every = np.array(statistics(expert))
        far = np.abs(every - every.mean())
        exact = (far >= far[0] - 1e-9).mean()
        # the standard error of a share of 4000 draws is at most 0.008
        assert found[expert] == pytest.approx(exact, abs=0.032), expert
    assert found[0] < 0.06, "expert 0 goes with a and keeps from b"


def test_the_other_signs_give_the_same_p_and_the_turned_score(tmp_path: Path) -> None:
    one = npmi(store(tmp_path / "store"), SIGN, n_permutations=200, n_bootstrap=0).frame
    other = npmi(store(tmp_path / "again"), {m: -s for m, s in SIGN.items()}, n_permutations=200, n_bootstrap=0).frame
    one, other = (x.set_index("expert").sort_index() for x in (one, other))
    assert one["p"].tolist() == other["p"].tolist()
    assert one["score"].tolist() == pytest.approx((-other["score"]).tolist())
    assert one["score"].abs().max() > 0.5
