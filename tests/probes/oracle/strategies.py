"""Random stores for brute force: the same in every run, and as many as asked for."""

import os
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st

from tests.probes.oracle.cases import Case

TOKENS = st.sampled_from(["all", "prompt", "response", "last_prompt"])
DRAWN = settings(max_examples=int(os.environ.get("WORKBENCH_CASES", "20")), deadline=None, derandomize=True)
"""20 of them, 200 with WORKBENCH_CASES=200."""


def cases(make: Callable[..., Case], most: int = 6) -> st.SearchStrategy[Case]:
    """Stores that `make` draws from a seed: 2 to `most` prompts, top-1 to top-3, shared experts or none, one sample or three."""
    return st.builds(
        make,
        seed=st.integers(0, 2**32),
        n_prompts=st.integers(2, most),
        top_k=st.integers(1, 3),
        n_shared=st.integers(0, 2),
        samples=st.sampled_from([1, 1, 3]),
    )
