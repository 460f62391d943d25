"""How long answering will take, from a timed start, before anybody waits for it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.plan import Plan

if TYPE_CHECKING:
    from workbench import MoEModel, PromptSet

_TIMED = 3  # tokens generated for the timing after the first, which is mostly the prefill
_BATCH_TOKENS = 4096  # as compare has it


def seconds_to_answer(model: "MoEModel", prompts: "PromptSet", max_new_tokens: int) -> float:
    """Seconds to answer every prompt once, at most: every answer is taken to use all of its tokens."""
    from workbench.batches import schedule
    from workbench.respond import answer, encode_all

    encoded = encode_all(model, prompts, max_new_tokens)
    batches = schedule([len(ids) for ids in encoded], _BATCH_TOKENS, extra=max_new_tokens).batches
    first = [encoded[i] for i in batches[0]]
    once, few = (_timed(lambda n=n: answer(model, first, Plan(), n, _BATCH_TOKENS)) for n in (1, 1 + _TIMED))
    step = max(few - once, 0.0) / _TIMED
    return len(batches) * (once + step * (max_new_tokens - 1))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
