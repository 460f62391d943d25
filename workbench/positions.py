"""Which positions a forward processes: past, padding, phase and spans, read before the first layer runs.

Padding cannot be seen in position_ids and the phase cannot be seen in shapes (chunked prefill, no cache, prompt lookup), so
both come from the base model's own arguments and from the prompt length that `generate` was called with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from workbench.edits import Scope
from workbench.errors import WorkbenchError

PROMPT_LENGTH: ContextVar[int | None] = ContextVar("workbench_prompt_length", default=None)


@contextmanager
def prompt_length(columns: int) -> Iterator[None]:
    """For your own decode loop: columns before `columns` (padding included) are of phase "prompt", later ones "generated"."""
    token = PROMPT_LENGTH.set(columns)
    try:
        yield
    finally:
        PROMPT_LENGTH.reset(token)


@dataclass
class Forward:
    """One forward of the base model: `batch` rows of `length` columns after `past` cached ones.

    Per-token masks are flattened over batch and length, in the order in which the router sees tokens.
    """

    batch: int
    length: int
    past: int
    mask: Tensor | None
    ids: Tensor | None
    device: torch.device
    prompt_columns: int
    inside: dict[tuple[int, int], Tensor] = field(default_factory=dict[tuple[int, int], Tensor])
    masks: dict[Any, Tensor] = field(default_factory=dict[Any, Tensor])
    taps: dict[int, Any] = field(default_factory=dict[int, Any])
    added: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=dict[int, list[tuple[Tensor, Tensor]]])
    changed: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    rerouted: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    rerunning: bool = False
    before: "Forward | None" = None

    @cached_property
    def columns(self) -> Tensor:
        """Column of each position in the whole sequence, [length]."""
        return self.past + torch.arange(self.length, device=self.device)

    @cached_property
    def first_real(self) -> Tensor:
        """Column of the first real token of each row, [batch]."""
        if self.mask is None:
            return torch.zeros(self.batch, dtype=torch.long, device=self.device)
        return self.mask.long().argmax(-1)

    @cached_property
    def real(self) -> Tensor:
        """Which tokens are not padding, [batch * length] bool."""
        if self.mask is None:
            return torch.ones(self.batch * self.length, dtype=torch.bool, device=self.device)
        return self.mask[:, self.past : self.past + self.length].bool().reshape(-1)

    def in_scope(self, scope: Scope, span_ids: tuple[int, int] | None) -> Tensor:
        """Which tokens `scope` covers, [batch * length] bool; padding never is. `span_ids` are the span's token ids."""
        found = self.real.view(self.batch, self.length).clone()
        if scope.phase is not None:
            found &= (self.columns >= self.prompt_columns) == (scope.phase == "generated")
        if scope.positions:
            found &= self._at(scope.positions)
        if span_ids is not None:
            found &= self._between(span_ids)
        return found.reshape(-1)

    def _at(self, ranges: tuple[tuple[int, int | None], ...]) -> Tensor:
        position = self.columns - self.first_real[:, None]
        hits = [(position >= a) & (position < (b if b is not None else 1 << 60)) for a, b in ranges]
        return torch.stack(hits).any(0)

    def _between(self, span: tuple[int, int]) -> Tensor:
        """From an opening token (included) to the next closing token (included); carried over from cached columns."""
        if self.ids is None:
            raise WorkbenchError("Edits between tokens need input_ids; this forward was given embeddings.")
        start = self._carried(span)
        opened, closed = self.ids == span[0], self.ids == span[1]
        column = torch.arange(1, self.length + 1, device=self.device)
        last_open = (opened * column).cummax(-1).values
        closed_before = torch.cat([torch.zeros_like(closed[:, :1]), closed[:, :-1]], -1)
        last_close = (closed_before * (column - 1)).cummax(-1).values
        inside = (last_open > last_close) | ((last_open == 0) & (last_close == 0) & start[:, None])
        ends_inside = inside[:, -1] & ~closed[:, -1]
        self.inside[span] = ends_inside
        return inside

    def _carried(self, span: tuple[int, int]) -> Tensor:
        outside = torch.zeros(self.batch, dtype=torch.bool, device=self.device)
        if self.past == 0:
            return outside
        before = self.before
        if before is None or before.past + before.length != self.past or span not in before.inside:
            raise WorkbenchError(
                f"Edits between tokens need every forward of the sequence: {self.past} cached columns were not seen; "
                f"start the generation inside `with steered`."
            )
        if len(before.inside[span]) != self.batch:
            raise WorkbenchError(
                f"Edits between tokens follow each row: the batch changed from {len(before.inside[span])} to {self.batch} rows "
                f"within one generation; keep the batch as it is."
            )
        return before.inside[span]


def read_forward(arguments: dict[str, Any], before: "Forward | None") -> Forward:
    """A `Forward` from the base model's arguments by name, and the one before it in this context."""
    ids, embeds = arguments.get("input_ids"), arguments.get("inputs_embeds")
    given = ids if ids is not None else embeds
    if given is None:
        raise WorkbenchError("This forward has neither input_ids nor inputs_embeds, so its positions are unknown.")
    batch, length = given.shape[:2]
    cache = arguments.get("past_key_values")
    past = int(cache.get_seq_length()) if cache is not None else 0
    mask = _two_dimensional(arguments.get("attention_mask"), past + length)
    stated = PROMPT_LENGTH.get()
    columns = stated if stated is not None else length if past == 0 else before.prompt_columns if before else past
    chained = before if before is not None and past > 0 else None
    if chained is not None:
        chained.before = None  # a chain of one: the state it carries is already in `inside`
    return Forward(batch, length, past, mask, ids, given.device, columns, before=chained)


def _two_dimensional(mask: Any, total: int) -> Tensor | None:
    """Real tokens [batch, total] from a 2-D mask, a 4-D mask (static cache) or a dict of them (gpt_oss)."""
    if isinstance(mask, dict):
        mask = mask.get("full_attention", next(iter(mask.values())))
    if not isinstance(mask, Tensor):
        return None
    if mask.ndim == 4:
        seen = mask[:, 0, -1, :total]
        return seen if seen.dtype == torch.bool else seen == 0
    return mask[:, :total]
