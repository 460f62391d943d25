"""How long answering will take, from one timed batch, before anybody waits for it."""

import time
from typing import TYPE_CHECKING

from workbench.plan import Plan

if TYPE_CHECKING:
    from workbench import MoEModel, PromptSet

_TIMED = 3  # tokens generated for the timing, after one to warm up


def seconds_to_answer(model: "MoEModel", prompts: "PromptSet", max_new_tokens: int, batch_size: int = 64) -> float:
    """Seconds to answer every prompt once, at most: every answer is taken to use all of its tokens.

    Times one batch of the first prompts with one token (that is mostly the prefill) and with a few more.
    """
    from workbench.respond import answer, encode_all

    encoded = encode_all(model, prompts, max_new_tokens)
    batch = encoded[:batch_size]
    once, few = (_timed(lambda n=n: answer(model, batch, Plan(), n, batch_size)) for n in (1, 1 + _TIMED))
    step = max(few - once, 0.0) / _TIMED
    n_batches = -(-len(encoded) // batch_size)
    return n_batches * (once + step * (max_new_tokens - 1))


def _timed(work: object) -> float:
    started = time.perf_counter()
    work()  # pyright: ignore[reportCallIssue]
    return time.perf_counter() - started
