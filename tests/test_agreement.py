"""The judge of contract 7 notices one planted flip, and forgives what another processor's rounding may do."""

import pytest
import torch

from tests.support.agreement import Routed, compare, judge, moved

TOKENS, EXPERTS = 6, 4


def run(gap: float = 5.0) -> list[dict[int, Routed]]:
    """Two sequences in two layers: experts 0 and 1 where the plan takes 2 away, which the bare rule would give."""
    expected = torch.tensor([[0.75, 0.25, 0.0, 0.0]], dtype=torch.float64).repeat(TOKENS, 1)
    bare = torch.tensor([[0.5, 0.0, 0.5, 0.0]], dtype=torch.float64).repeat(TOKENS, 1)
    return [{n: Routed(expected.clone(), expected, bare, torch.full((TOKENS,), gap)) for n in (1, 2)} for _ in range(2)]


def flip(runs: list[dict[int, Routed]], token: int, layer: int = 2, sequence: int = 1) -> list[dict[int, Routed]]:
    """One token received expert 3 in place of expert 1."""
    row = runs[sequence][layer].received[token]
    row[3], row[1] = row[1].item(), 0.0
    return runs


def test_a_run_that_does_what_the_rule_says_is_judged_whole() -> None:
    assert judge("left padding", run(), 1e-6) == 1.0
    assert moved(run(), 1) == 2 * TOKENS


def test_one_clear_token_elsewhere_is_noticed_in_whichever_layer_and_sequence() -> None:
    for layer, sequence, token in ((1, 0, 0), (2, 1, TOKENS - 1), (1, 1, 3)):
        with pytest.raises(AssertionError, match=f"left padding, layer {layer}: 1 of 12 clear"):
            judge("left padding", flip(run(), token, layer, sequence), 1e-6)


def test_a_weight_is_noticed() -> None:
    runs = run()
    runs[0][1].received[2, 0] += 1e-4
    with pytest.raises(AssertionError, match=r"weights off by 0\.00013"):
        judge("left padding", runs, 1e-5)


def test_a_flip_at_a_tie_is_forgiven_and_hardly_any_clear_token_is_not() -> None:
    runs = flip(run(), 2)
    runs[1][2].gaps[2] = 0.5
    assert judge("left padding", runs, 1e-6) == 11 / 12
    for layers in runs:
        layers[1].gaps[:4] = 0.5
    with pytest.raises(AssertionError, match="layer 1: only 33% of 12 tokens have a clear margin"):
        judge("left padding", runs, 1e-6)


def test_a_plan_that_moves_nothing_is_seen() -> None:
    same = [{n: r._replace(bare=r.expected) for n, r in layers.items()} for layers in run()]
    assert moved(same, 1) == 0


def test_ways_are_compared_up_to_where_the_bare_model_parts_and_a_clear_flip_is_noticed() -> None:
    assert compare("decoded", (run(), run()), (run(), run())) == (24, 24, 0)
    with pytest.raises(AssertionError, match="decoded: sequence 1, layer 2: 1 flipped"):
        compare("decoded", (run(), run()), (run(), flip(run(), 4)))
    parted = compare("decoded", (run(), flip(run(), 3, layer=1)), (run(), flip(run(), 4)))
    assert parted == (24, 2 * TOKENS + 2 * 3, 0)  # three tokens of the second sequence, in both layers


def test_what_comes_behind_an_unclear_flip_is_not_judged() -> None:
    other = flip(flip(run(), 2, layer=1), 4, layer=2)
    other[1][1].gaps[2] = 0.5
    found = compare("decoded", (run(), run()), (run(), other))
    assert found == (24, 2 * TOKENS + (TOKENS - 1) + 2, 1)


def test_the_bare_models_own_differences_say_what_is_clear() -> None:
    """Its gaps differ by 3 between the ways, so a gap of 5 is not clear, and one of 7 is."""
    bare = run(), run(8.0)
    assert compare("decoded", bare, (run(), flip(run(), 4))).flipped == 1
    with pytest.raises(AssertionError, match="1 flipped"):
        compare("decoded", bare, (run(7.0), flip(run(7.0), 4)))
