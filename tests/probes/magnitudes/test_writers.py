"""What experts write into a massive activation and who writes one together, on tables small enough to be worked out by hand."""

from typing import Any

import pytest

from probes import MassiveRule, super_experts, writers_of
from probes.outputs import writing_groups
from tests.probes.oracle.cases import empty
from tests.probes.oracle.memory import anatomy, memory_store
from workbench import Store
from workbench.anatomy import ExpertRef

Wrote = tuple[int, int, int, float, float, int]
"""Position, layer, expert (shared ones below 0), routing weight, largest |output|, its channel."""
TWO: list[Wrote] = [(0, 1, 4, 0.5, 30_000.0, 5), (0, 1, 7, 1.0, 5_000.0, 5), (0, 1, -1, 1.0, 40.0, 5)]


def store_of(wrote: list[Wrote], sizes: dict[int, tuple[float, ...]], n: int = 12, ordinary: int = 8) -> Store:
    """One prompt: tokens whose largest |h| after the embedding and each layer is `sizes`, in channel 5, then ordinary ones.

    Every expert of a layer receives one ordinary token and writes 8 there."""
    rows, n_layers = empty(), len(next(iter(sizes.values()))) - 1
    length = max(sizes) + 1 + max(n, ordinary)
    rows["prompts"].append({"prompt_id": "p", "text": "?", "n_tokens": length})
    for position in range(length):
        key = {"prompt_id": "p", "sample": 0, "position": position}
        rows["tokens"].append({**key, "token_id": 0, "token": "x", "role": "user", "generated": False})
        for layer, size in enumerate(sizes.get(position, (2.0,) * (n_layers + 1)), -1):
            more = {"max_abs": size, "median_abs": 0.25, "argmax": 5}
            rows["residual"].append({**key, "layer": layer, **more})
    plain = [(max(sizes) + 1 + e, layer, e, 1.0, 8.0, 5) for layer in range(n_layers) for e in range(n)]
    for slot, (position, layer, expert, weight, size, channel) in enumerate([*wrote, *plain]):
        key = {"prompt_id": "p", "sample": 0, "position": position, "layer": layer, "weight": weight}
        more = {"slot": expert if expert < 0 else slot, "output_max_abs": size, "output_argmax": channel}
        rows["slots"].append({**key, "expert": expert, **more})
    return memory_store(anatomy((n,) * n_layers, 1, 1), rows)


def rows(store: Store, **how: Any) -> list[tuple[Any, ...]]:
    found = writers_of(store, **how)
    columns = ("layer", "position", "channel", "size", "expert", "is_shared", "at_most", "wrote", "share")
    return [tuple(None if v != v else v for v in row) for row in found[list(columns)].itertuples(index=False)]


def test_what_each_expert_of_a_massive_token_writes_is_its_weight_times_its_output() -> None:
    store = store_of([*TWO, (0, 1, 2, 1.0, 9_000.0, 3)], {0: (1.0, 30.0, 20_000.0, 20_000.0)})
    assert rows(store) == [
        (1, 0, 5, 20_000.0, 4, False, 15_000.0, 15_000.0, 0.75),
        (1, 0, 5, 20_000.0, 2, False, 9_000.0, None, None),  # its largest value lies in channel 3
        (1, 0, 5, 20_000.0, 7, False, 5_000.0, 5_000.0, 0.25),
        (1, 0, 5, 20_000.0, 0, True, 40.0, 40.0, 0.002),
    ]


def test_where_nothing_is_massive_nobody_writes_it() -> None:
    store = store_of(TWO, {0: (1.0, 30.0, 20_000.0, 20_000.0)})
    assert rows(store, massive=MassiveRule(absolute=30_000.0)) == []
    assert list(writers_of(store, MassiveRule(absolute=30_000.0)).columns) == list(writers_of(store).columns)


def test_super_experts_that_write_one_channel_of_one_token_are_flagged_together() -> None:
    store = store_of(TWO, {0: (1.0, 30.0, 20_000.0, 20_000.0)})
    found = super_experts(store)
    assert [str(x) for x in found.flagged("super expert")] == ["L1E4", "L1E7"]
    assert [str(x) for x in found.flagged("writes with others")] == ["L1E4", "L1E7"]
    assert (
        "written together: L1E4 (75%), L1E7 (25%) in channel 5 (shares of |h|); muting one of them alone may do little"
        in found.notes
    )


@pytest.mark.parametrize(
    ("second", "sizes"),
    [
        ((0, 1, 7, 1.0, 5_000.0, 3), {0: (1.0, 30.0, 20_000.0, 20_000.0)}),  # another channel
        (
            (1, 1, 7, 1.0, 5_000.0, 5),
            {0: (1.0, 30.0, 20_000.0, 20_000.0), 1: (1.0, 1.0, 5_000.0, 5_000.0)},
        ),  # another token
    ],
    ids=["channel", "token"],
)
def test_super_experts_that_do_not_write_the_same_are_no_group(second: Wrote, sizes: Any) -> None:
    found = super_experts(store_of([TWO[0], second], sizes))
    assert [str(x) for x in found.flagged("super expert")] == ["L1E4", "L1E7"]
    assert not found.flagged("writes with others")
    assert not any("together" in note for note in found.notes)


def test_experts_of_several_layers_are_a_group_and_shares_are_of_what_is_there_in_the_end() -> None:
    # layer 1 makes 15,000 and layer 2 adds 5,000: of 20,000 that is 75 % and 25 %
    wrote = [(0, 1, 4, 0.5, 30_000.0, 5), (0, 2, 3, 1.0, 5_000.0, 5)]
    store = store_of(wrote, {0: (1.0, 30.0, 15_000.0, 20_000.0)})
    (group,) = writing_groups(writers_of(store), [ExpertRef(1, 4), ExpertRef(2, 3), ExpertRef(1, 5)])
    assert (group.experts, group.shares, group.channels) == ((ExpertRef(1, 4), ExpertRef(2, 3)), (0.75, 0.25), (5,))
    assert str(group) == "L1E4 (75%), L2E3 (25%) in channel 5"
    assert writing_groups(writers_of(store), [ExpertRef(1, 4)]) == ()
    assert writing_groups(writers_of(store), [ExpertRef(0, 4), ExpertRef(0, 5)]) == ()


def test_two_pairs_are_two_groups_and_a_common_writer_makes_them_one() -> None:
    sizes = {0: (1.0, 30.0, 20_000.0, 20_000.0), 1: (1.0, 30.0, 20_000.0, 20_000.0)}
    pairs = [
        (t, 1, e, 1.0, size, 5) for t, e, size in ((0, 1, 16_000.0), (0, 2, 4_000.0), (1, 3, 12_000.0), (1, 4, 8_000.0))
    ]
    experts = [ExpertRef(1, e) for e in (1, 2, 3, 4)]
    two = writing_groups(writers_of(store_of(pairs, sizes)), experts)
    assert [group.experts for group in two] == [(ExpertRef(1, 1), ExpertRef(1, 2)), (ExpertRef(1, 3), ExpertRef(1, 4))]
    (one,) = writing_groups(writers_of(store_of([*pairs, (1, 1, 2, 1.0, 2_000.0, 5)], sizes)), experts)
    assert dict(zip(map(str, one.experts), one.shares, strict=True)) == {
        "L1E1": 0.8, "L1E3": 0.6, "L1E4": 0.4, "L1E2": pytest.approx(0.15)
    }  # fmt: skip
