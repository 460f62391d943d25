"""Routing that a serving engine sent flat, or with rows that may be empty, is read as it was meant or refused."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import families
from workbench import WorkbenchError
from workbench.anatomy import Anatomy
from workbench.backends import store_served


def served(anatomy: Anatomy, into: Path, experts: Any, n_prompt: int, n_response: int = 1, **more: Any) -> list[int]:
    """The experts of the store in order of tokens, layers and slots."""
    filled = more.pop("filled", False)
    request = {"id": "a", "prompt_ids": [5] * n_prompt, "response_ids": [6] * n_response, "routed_experts": experts}
    store = store_served(anatomy, [request | more], into, filled=filled)
    rows = store.table("slots").sort_values(["position", "layer", "slot"])
    return rows["expert"].tolist()


def flat(experts: np.ndarray) -> str:
    return base64.b64encode(experts.astype(np.int32).tobytes()).decode()


def routing(n_tokens: int, n_layers: int, k: int) -> np.ndarray:
    """[tokens, layers, k]: other experts in every layer, none of them twice in a row."""
    token, layer, slot = np.indices((n_tokens, n_layers, k))
    return (token + 2 * layer + slot) % 8


@pytest.mark.parametrize(
    "n_tokens", [1, 3, 6, 20, 21]
)  # 3, 6, 21: their integers would be cut into all three layers, too
def test_flat_integers_are_cut_by_the_tokens(n_tokens: int, tmp_path: Path) -> None:
    anatomy = families.get("deepseek_v3").anatomy  # three layers, two of which route, three experts a token
    assert (len(anatomy.layers), anatomy.moe_layers) == (3, (1, 2))
    experts = routing(n_tokens, 2, 3)
    assert served(anatomy, tmp_path / "moe", flat(experts), n_tokens) == experts.reshape(-1).tolist()
    whole = np.concatenate([np.zeros((n_tokens, 1, 3), int), experts], 1)
    assert served(anatomy, tmp_path / "all", flat(whole), n_tokens) == experts.reshape(-1).tolist()
    assert served(anatomy, tmp_path / "list", whole.reshape(-1).tolist(), n_tokens) == experts.reshape(-1).tolist()


def test_a_row_for_the_last_token_may_be_there(tmp_path: Path) -> None:
    anatomy, experts = families.get("deepseek_v3").anatomy, routing(9, 2, 3)
    for name, sent in (("with", experts), ("without", experts[:8])):
        assert served(anatomy, tmp_path / name, flat(sent), 5, 4) == experts[:8].reshape(-1).tolist()


def test_the_prompts_part_is_cut_by_its_own_tokens(tmp_path: Path) -> None:
    anatomy, experts = families.get("deepseek_v3").anatomy, routing(12, 2, 3)
    more = {"prompt_routed_experts": flat(experts[:9])}
    found = served(anatomy, tmp_path / "s", flat(experts[9:]), 9, 4, **more)
    assert found == experts.reshape(-1).tolist()


def test_two_shapes_that_fit_are_told_apart_by_what_can_be(tmp_path: Path) -> None:
    """Two tokens forwarded: 3 rows of 2 layers are as many integers as 2 rows of 3."""
    anatomy = families.get("deepseek_v3").anatomy
    experts = routing(3, 2, 3) + 1  # nothing is zero, so no layer is dense
    assert served(anatomy, tmp_path / "three", flat(experts), 1, 2) == experts[:2].reshape(-1).tolist()
    whole = np.concatenate([np.zeros((2, 1, 3), int), routing(2, 2, 3)], 1)
    assert served(anatomy, tmp_path / "two", flat(whole), 1, 2) == routing(2, 2, 3).reshape(-1).tolist()


def test_a_shape_that_cannot_be_known_is_refused(tmp_path: Path) -> None:
    """One expert a token: zeros are experts as well, and both shapes could be."""
    anatomy = families.get("deepseek_v3").anatomy
    one = replace(anatomy, layers=tuple(replace(x, top_k=1) if x.is_moe else x for x in anatomy.layers))
    both = np.array([0, 3, 4, 0, 5, 6])  # (2, 3, 1) with a dense first layer, or (3, 2, 1)
    with pytest.raises(WorkbenchError, match=r"may be \(3, 2, 1\) or \(2, 3, 1\) .* send them as an array"):
        served(one, tmp_path / "s", flat(both), 1, 2)
    assert served(one, tmp_path / "s", both.reshape(2, 3, 1), 1, 2) == [3, 4, 5, 6]


ZEROS = {
    "all": np.zeros((9, 2, 1), int),
    "a prefix": np.concatenate([np.zeros((4, 2, 1), int), routing(5, 2, 1) + 1]),
    "one token": np.concatenate([routing(8, 2, 1) + 1, np.zeros((1, 2, 1), int)]),
    "a layer": np.stack([np.zeros((9, 1), int), routing(9, 1, 1)[:, 0] + 1], 1),
}


@pytest.mark.parametrize("rows", ZEROS)
def test_zeros_of_one_expert_are_refused_unless_every_row_was_filled(rows: str, tmp_path: Path) -> None:
    anatomy, experts = families.get("llama4_text").anatomy, ZEROS[rows]
    with pytest.raises(WorkbenchError, match="zeros throughout, and tiny/llama4_text selects one expert a layer"):
        served(anatomy, tmp_path / "s", experts, 9)
    assert not (tmp_path / "s").exists()
    assert served(anatomy, tmp_path / "s", experts, 9, filled=True) == experts.reshape(-1).tolist()


def test_some_zeros_of_one_expert_are_that_expert(tmp_path: Path) -> None:
    anatomy, experts = families.get("llama4_text").anatomy, routing(9, 2, 1)
    experts[0], experts[4] = [[0], [3]], [[2], [0]]
    assert (experts == 0).any()
    assert served(anatomy, tmp_path / "s", experts, 9) == experts.reshape(-1).tolist()


@pytest.mark.parametrize(
    ("experts", "more", "sentence"),
    [
        (flat(routing(9, 2, 3))[:64], {}, r"are int32 \(\d+,\)"),
        ([[[0, 1, 2], [0, 1]]] * 9, {}, "should be integers"),
        (routing(9, 2, 3), {"prompt_ids": [[1], [2, 3]]}, "should be a list of token ids"),
        (routing(9, 2, 3), {"text": 5}, "The text of 'a' is int"),
        (routing(9, 2, 3), {"labels": ["x"]}, "'labels' of the request 'a' should be an object"),
        (routing(1, 2, 2), {"prompt_routed_experts": routing(8, 2, 3)}, "different numbers of experts"),
    ],
)
def test_what_does_not_fit_is_one_sentence(experts: Any, more: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        served(families.get("deepseek_v3").anatomy, tmp_path / "s", experts, 9, **more)
