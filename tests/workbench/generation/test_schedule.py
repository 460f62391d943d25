"""Batches: within the budget, of similar lengths, each prompt's seed its own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.generation import padded, prompt_seeds, schedule


class TestSchedule:
    @given(
        st.lists(st.integers(1, 60), min_size=1, max_size=40),
        st.integers(1, 300),
        st.integers(0, 20),
        st.integers(1, 900),
    )
    @settings(max_examples=100, deadline=None)
    def test_budget_and_completeness(self, lengths: list[int], budget: int, extra: int, shard_tokens: int) -> None:
        plan = schedule(lengths, budget, extra=extra, shard_tokens=shard_tokens)
        assert sorted(i for batch in plan.batches for i in batch) == list(range(len(lengths)))
        assert [b for shard in plan.shards for b in shard] == list(range(len(plan.batches)))
        sizes = [(max(lengths[i] for i in batch) + extra) * len(batch) for batch in plan.batches]
        assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, plan.batches, strict=True))
        assert all(sum(sizes[b] for b in shard) <= shard_tokens or len(shard) == 1 for shard in plan.shards)
        assert plan == schedule(lengths, budget, extra=extra, shard_tokens=shard_tokens)

    def test_similar_lengths_go_together(self) -> None:
        plan = schedule([1, 50, 2, 49, 3, 48], 150)
        assert plan.batches == ((1, 3, 5), (4, 2, 0))

    def test_padding(self) -> None:
        ids, mask = padded([[1, 2, 3], [4]], 0, left=True)
        assert ids.tolist() == [[1, 2, 3], [0, 0, 4]]
        assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
        assert padded([[1, 2, 3], [4]], 9, left=False)[0].tolist() == [[1, 2, 3], [4, 9, 9]]

    def test_seeds_depend_on_the_id_alone(self) -> None:
        assert prompt_seeds(["a", "b"], 0) == tuple(reversed(prompt_seeds(["b", "a"], 0)))
        assert len({*prompt_seeds(["a", "b"], 0), *prompt_seeds(["a", "b"], 1)}) == 4
