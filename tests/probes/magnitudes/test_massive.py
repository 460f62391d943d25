"""Where massive activations form and who writes them, on tables small enough to be worked out by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from probes import MassiveRule, super_experts
from probes.magnitudes import forming_layers
from probes.magnitudes.rule import guarded
from probes.outputs import thresholds
from tests.probes.magnitudes.null_super_experts import null
from tests.probes.oracle.cases import empty
from tests.probes.oracle.memory import anatomy, memory_store
from workbench.errors import WorkbenchError
from workbench.store import Store

ORDINARY = (2.0, 1 / 16)  # largest and median |h| of a token that nobody would look at twice
Token = list[tuple[float, float]]


def store_of(*tokens: Token, plain: int = 4, uncomputed: int = 0, slots: list[dict] | None = None, n: int = 3) -> Store:
    """One prompt: `tokens` with (largest, median) after the embedding and each layer, then `plain` ordinary ones."""
    rows = empty()
    n_layers = len(tokens[0]) - 1
    everyone = [*tokens, *[[ORDINARY] * (n_layers + 1)] * plain, *[[]] * uncomputed]
    rows["prompts"].append({"prompt_id": "p", "text": "?", "n_tokens": len(tokens) + plain})
    for position, states in enumerate(everyone):
        key = {"prompt_id": "p", "sample": 0, "position": position}
        rows["tokens"].append({**key, "token_id": 0, "token": "x", "role": "user", "generated": not states})
        for layer, (size, median) in enumerate(states, -1):
            rows["residual"].append({**key, "layer": layer, "max_abs": size, "median_abs": median})
    rows["slots"] = slots or []
    return memory_store(anatomy((n,) * n_layers, 1), rows)


def test_smollm2s_first_token_is_massive_beside_the_others_and_not_beside_itself() -> None:
    # largest |h| of the first token after layers 10 to 13, its own median, and 1.747, an ordinary |h| there (measured)
    first = [(100.0, 0.8), (22_552.0, 44.8), (22_540.0, 44.8), (7_901.0, 55.6)]
    store = store_of(first, *[[(40.0, 1.747)] * 4] * 5)
    assert 22_552 / 44.8 < 1000 < 22_552 / 1.747
    assert forming_layers(store, MassiveRule()) == (0,)
    assert forming_layers(store, MassiveRule(against="own")) == ()


def test_gemmas_first_token_is_massive_beside_both_and_grows_layer_by_layer() -> None:
    # after the embedding and layers 0 to 5, the sixth 1.06 times the fifth
    sizes = (23.0, 2_984.0, 5_088.0, 24_708.0, 82_828.0, 88_093.0)
    own = (0.18, 0.39, 0.95, 2.26, 13.9, 17.1)
    store = store_of(list(zip(sizes, own, strict=True)), *[[(14.0, 0.6)] * 6] * 5)
    assert forming_layers(store, MassiveRule()) == forming_layers(store, MassiveRule(against="own")) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("sizes", "forming"),
    [
        ((1.0, 512.0, 615.0, 615.0), (0, 1)),  # 615 is more than 614.4 = 1.2 x 512
        ((1.0, 512.0, 614.0, 736.0), (0,)),  # 614 is not, and 736 is not 736.8
        ((100.0, 102.0, 103.0, 103.0), (0,)),  # crossing 100 is forming, however small the step
        ((1.0, 100.0, 100.0, 1.0), ()),  # has to exceed 100
        ((512.0, 500.0, 400.0, 500.0), (2,)),  # massive from the start; 500 is 1.25 x 400
        ((1.0, 300.0, 100.0, 101.0), (0, 2)),  # lost, and crossed again
    ],
)
def test_a_layer_forms_what_crosses_the_bar_or_grows_by_a_fifth(sizes: tuple[float, ...], forming: tuple) -> None:
    # the bar beside four ordinary tokens of 1/16 each is 1000 / 16 = 62.5, below the absolute 100
    assert forming_layers(store_of([(size, 1.0) for size in sizes]), MassiveRule()) == forming


def test_a_step_of_exactly_the_growth_is_growth() -> None:
    # 5/4, which a float holds, so that nothing is rounded: 640 is 1.25 x 512
    store = store_of([(size, 1.0) for size in (1.0, 512.0, 640.0, 799.0)])
    assert forming_layers(store, MassiveRule(growth=1.25)) == (0, 1)


def test_without_growth_the_crossing_alone_forms() -> None:
    store = store_of([(size, 1.0) for size in (1.0, 512.0, 5120.0, 90.0, 600.0)])
    assert forming_layers(store, MassiveRule()) == (0, 1, 3)
    assert forming_layers(store, MassiveRule(growth=None)) == (0, 3)


def test_the_bar_is_a_thousand_medians_and_has_to_be_exceeded() -> None:
    # five tokens with medians 4, 1, 1/2, 1/4, 1/4: the middle one is 1/2, so 500 is not above and 501 is
    def store(size: float) -> Store:
        return store_of([(1.0, 4.0), (size, 4.0)], *[[(1.0, m)] * 2 for m in (0.25, 1.0, 0.5, 0.25)], plain=0)

    assert forming_layers(store(500.0), MassiveRule()) == ()
    assert forming_layers(store(501.0), MassiveRule()) == (0,)
    assert forming_layers(store(501.0), MassiveRule(ratio=1100.0)) == ()
    assert forming_layers(store(501.0), MassiveRule(absolute=600.0)) == ()


def test_a_layer_that_shrinks_a_value_does_not_form_it() -> None:
    # 600 is below 1000 x 1, 590 above 1000 x 1/2: the others became smaller, not this one larger
    store = store_of([(600.0, 1.0), (590.0, 1.0)], *[[(2.0, 1.0), (2.0, 0.5)]] * 4, plain=0)
    assert forming_layers(store, MassiveRule()) == ()


def test_every_token_is_compared_with_itself_a_layer_before() -> None:
    # another token is massive before and after: the first one's crossing at layer 1 counts all the same
    store = store_of([(1.0, 1.0), (1.0, 1.0), (900.0, 1.0)], [(900.0, 1.0), (900.0, 1.0), (900.0, 1.0)])
    assert forming_layers(store, MassiveRule()) == (1,)


def test_tokens_that_were_not_computed_are_no_ordinary_ones() -> None:
    # three tokens with medians 1, 1, 1: 512 is below 1000. Seven more without a state would make the median 0
    store = store_of([(1.0, 1.0), (512.0, 1.0)], *[[(2.0, 1.0)] * 2] * 2, plain=0, uncomputed=7)
    assert forming_layers(store, MassiveRule()) == ()


def two_writers() -> Store:
    """Layer 1 forms 20,000 at token 0, which receives expert 4 (15,000) there; expert 7 writes 4,800, expert 9 1,400.

    12 experts, top-1, one token each; the others write 8. Layer 2 forms nothing; its expert 2 takes 14,000 away again."""
    wrote = {(1, 4): 15_000.0, (1, 7): 4_800.0, (1, 9): 1_400.0, (2, 2): 14_000.0}
    slots = [
        {"prompt_id": "p", "sample": 0, "position": e, "layer": layer, "slot": 0, "expert": e, "weight": 1.0}
        | {"output_max_abs": wrote.get((layer, e), 8.0)}
        for layer in (0, 1, 2)
        for e in range(12)
    ]
    first = [(1.0, 1.0), (30.0, 1.0), (20_000.0, 40.0), (6_000.0, 40.0)]
    return store_of(first, plain=11, slots=slots, n=12)


def test_several_experts_that_write_it_together_are_all_flagged() -> None:
    # the largest of layer 1 is 15,000: above 1,500 and above ten medians of 8 are 15,000 and 4,800, not 1,400
    found = super_experts(two_writers())
    assert [str(x) for x in found.flagged("super expert")] == ["L1E4", "L1E7"]
    assert found.options["rule"] == "tenth_of_max"
    assert (
        "layer 1 forms massive activations (|h| > 100 and > 1000 x the median |h| of the layer's tokens"
        in found.notes[0]
    )
    # the paper's percentile among 12: 0.995 * 11 = 10.945, so 4,800 + 0.945 * 10,200 = 14,439 keeps the largest alone
    paper = super_experts(two_writers(), "paper")
    assert [str(x) for x in paper.flagged("super expert")] == ["L1E4"]
    assert "of the 12 experts that the rule looks at: 99.5th percentile = 1.444e+04, max / 10 = 1500" in paper.notes
    own = super_experts(two_writers(), massive=MassiveRule(against="own"))
    assert not own.flagged("super expert")
    assert "no layer forms massive activations (|h| > 100 and > 1000 x the token's own median |h|" in own.notes[0]


def test_without_the_guard_whatever_reaches_a_tenth_passes_in_a_forming_layer_alone() -> None:
    found = super_experts(two_writers(), guard=False)
    assert [str(x) for x in found.flagged("super expert")] == ["L1E4", "L1E7"]
    assert "without the guard: noise may pass" in found.notes
    assert (
        "without the guard: 1 in 200 of pure noise passes a 99.5th percentile"
        in super_experts(two_writers(), "paper", guard=False).notes
    )


def test_the_thresholds_of_an_answer_and_of_one_from_before() -> None:
    store = two_writers()
    found = super_experts(store)
    drawn = thresholds(store, found)
    assert drawn.limits == {"max / 10": 1500.0}
    assert drawn.layers == (1,)
    assert drawn.guards == {0: 80.0, 1: 80.0, 2: 80.0}
    # three numbers: judged by the token's own median, by which no layer forms
    before = replace(found, options={**found.options, "rule": "paper", "massive": [100.0, 1000.0, 1.2]})
    assert thresholds(store, before).limits == {}


def test_what_to_compare_with_is_one_of_two() -> None:
    with pytest.raises(WorkbenchError, match=r"MassiveRule\(against='all'\) is not known; it can be ordinary, own\."):
        forming_layers(two_writers(), MassiveRule(against="all"))  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_random_models_have_no_super_expert_even_where_something_else_writes_a_massive_activation(tmp_path) -> None:
    """A sample; `python -m tests.probes.magnitudes.null_super_experts --seeds 0-199` is the whole."""
    for seed in (1, 12):  # 12 experts a layer, and 240
        plain, written = null(seed, tmp_path / str(seed))
        assert (plain.n_experts >= 400) == (written.n_experts >= 400) == (seed == 12)
        assert not plain.forming
        assert written.forming
        assert written.unguarded >= 1  # the percentile alone always finds one
        assert plain.flagged == plain.paper == written.flagged == written.paper == ()


def test_an_expert_of_exactly_ten_medians_is_not_above_them() -> None:
    """The median of 1, 1, 1, 10 is 1: ten times it is no more than ten times it; 10.5 is."""
    frame = pd.DataFrame({"layer": [2] * 8 + [3] * 4, "score": [1.0, 1, 1, 10, *[1.0] * 4, 1, 1, 1, 10.5]})
    second = frame.assign(layer=[2] * 4 + [4] * 4 + [3] * 4)
    assert guarded(second, (2, 3)).tolist() == [False] * 11 + [True]
    assert not guarded(second, (2, 4)).any(), "layer 3 forms nothing"
