"""The one decode loop: prefill, and one forward per chosen token, until no sequence goes on; whatever computes the logits.

Batches are padded on the left and decode with a cache. The last generated token is never forwarded: it has no routing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from workbench.generation.batches import padded
from workbench.generation.decoding import Choosing, Made
from workbench.records import Step, decode_step, prompt_step
from workbench.routing import prompt_length


class NextTokens(Protocol):
    """Forwards: next-token logits [rows, vocabulary] after new ids [rows, n], and the cache of all that came so far.

    `mask` [rows, columns so far] is 1 where a token is real; `past` is the cache of the call before, None at first.
    """

    def __call__(self, ids: Tensor, mask: Tensor, past: Any) -> tuple[Tensor, Any]: ...


def decoded(
    forward: NextTokens,
    rows: Sequence[Sequence[int]],
    choosing: Choosing,
    pad: int,
    kernels: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[tuple[Step, Made]]:
    """Generates; after each forward, the real tokens that it took and the tokens that were chosen by it.

    kernels  entered while single tokens are forwarded
    """
    ids, mask = padded(rows, pad, left=True)
    with prompt_length(ids.shape[1]):
        logits, past = forward(torch.from_numpy(ids), torch.from_numpy(mask), None)
        made = choosing.choose(logits)
        yield prompt_step(mask), made
        lengths, alive = mask.sum(1), choosing.alive
        with kernels():
            while alive.any():
                mask = np.concatenate([mask, alive[:, None].astype(np.int64)], 1)  # what follows an end is padding
                step = decode_step(alive, lengths + choosing.n_steps - 1)
                logits, past = forward(choosing.last[:, None], torch.from_numpy(mask), past)
                made, alive = choosing.choose(logits), choosing.alive
                yield step, made
