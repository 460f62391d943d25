"""Which positions a forward processes: past, padding, phase and spans, read before the first layer runs.

Padding cannot be seen in position_ids and the phase cannot be seen in shapes (chunked prefill, no cache, prompt lookup), so
both come from the base model's own arguments and from the prompt length that `generate` was called with. Without that, what
is known of the cached columns is what the forwards that made them left on the cache: sequences may take turns, a cache may be
copied or cut, a block may be left and another entered. Columns that nobody saw are taken for the prompt, which is said, and
refused where a span may be open in them; nothing is taken from another sequence.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.plan import Scope

_TRAIL = "_workbench_trail"  # on a cache: (prompt columns, columns, what is open in each row by span); plain, so it can be saved
Columns = int | tuple[int, ...]  # one number, or one for each row
PROMPT_LENGTH: ContextVar[Columns | None] = ContextVar("workbench_prompt_length", default=None)
_USES: ContextVar[Tensor | None] = ContextVar("workbench_uses", default=None)


@contextmanager
def prompt_length(columns: int | Sequence[int]) -> Iterator[None]:
    """For your own decode loop: columns before `columns` (padding included) are of phase "prompt", later ones "generated".

    columns  one number, or one for each row
    """
    token = PROMPT_LENGTH.set(columns if isinstance(columns, int) else tuple(columns))
    try:
        yield
    finally:
        PROMPT_LENGTH.reset(token)


@contextmanager
def standing_for(uses: Tensor) -> Iterator[None]:
    """For forwards of tokens that sequences share: each counts in the dose as often as it is used, int64 [tokens]."""
    token = _USES.set(uses)
    try:
        yield
    finally:
        _USES.reset(token)


@dataclass
class _Found:
    """What scopes have asked of the positions so far: the next forward of the sequence needs to know no more."""

    masks: dict[tuple[Scope, tuple[int, int] | None], Tensor] = field(
        default_factory=dict[tuple[Scope, tuple[int, int] | None], Tensor]
    )
    inside: dict[tuple[int, int], Tensor] = field(default_factory=dict[tuple[int, int], Tensor])
    prompt_columns: Columns | None = None


@dataclass(frozen=True, eq=False)
class Positions:
    """The positions of one forward of the base model: `batch` rows of `length` columns after `past` cached ones.

    Per-token masks are flattened over batch and length, in the order in which the router sees tokens.
    """

    batch: int
    length: int
    past: int
    mask: Tensor | None
    ids: Tensor | None
    device: torch.device
    prompt_columns: Columns | None
    """Columns of the prompt, as far as that is known before somebody asks."""
    carried: "Trail | None" = None
    uses: Tensor | None = None
    """How many sequences use each token, int64 [batch * length], where that is more than its own."""
    _found: _Found = field(default_factory=_Found, init=False, repr=False)

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

    def times(self, found: Tensor) -> Tensor:
        """Of tokens or their slots, bool [batch * length, ...], how many each is: one, or as many as there are that use it."""
        if self.uses is None:
            return found
        return found * self.uses.to(found.device).view(-1, *[1] * (found.ndim - 1))

    def in_scope(self, scope: Scope, span_ids: tuple[int, int] | None) -> Tensor:
        """Which tokens `scope` covers, [batch * length] bool; padding never is. `span_ids` are the span's token ids."""
        known = self._found.masks
        if (scope, span_ids) not in known:
            known[scope, span_ids] = self._covered(scope, span_ids)
        return known[scope, span_ids]

    def _covered(self, scope: Scope, span_ids: tuple[int, int] | None) -> Tensor:
        found = self.real.view(self.batch, self.length).clone()
        if scope.phase is not None:
            found &= (self.columns >= self._prompt_columns()) == (scope.phase == "generated")
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
        self._found.inside[span] = ends_inside
        return inside

    def _prompt_columns(self) -> "Tensor | int":
        ends = self.prompt_columns if self.prompt_columns is not None else self._found.prompt_columns
        if ends is None:
            ends = self._found.prompt_columns = self._past_as_the_prompt()
        if isinstance(ends, int):
            return ends
        if len(ends) != self.batch:
            raise WorkbenchError(
                f"prompt_length was given {len(ends)} rows and this forward has {self.batch}; state one number "
                f"for each."
            )
        return torch.tensor(ends, device=self.device)[:, None]

    def _past_as_the_prompt(self) -> int:
        """For a prompt that was computed outside of every block. Raises `WorkbenchError` for a cache cut within its prompt."""
        remedy = "state it with `prompt_length(columns)` from workbench.routing.positions."
        if self.carried is not None:
            raise WorkbenchError(
                f"Edits of one phase need to know where the prompt ends: {self.past} cached columns are left of a cache that was "
                f"cut within its prompt; {remedy}"
            )
        warnings.warn(
            f"{self.past} cached columns were computed outside of the block, and are taken for the whole prompt; "
            f"if it ends elsewhere, {remedy}",
            stacklevel=2,
        )
        return self.past

    def _carried(self, span: tuple[int, int]) -> Tensor:
        if self.past == 0:
            return torch.zeros(self.batch, dtype=torch.bool, device=self.device)
        trail = self.carried
        if trail is None or trail.columns != self.past or span not in trail.inside:
            raise WorkbenchError(
                f"Edits between tokens need every forward of the sequence: {self.past} cached columns were not seen; "
                f"start the generation inside `with steered`."
            )
        before = trail.inside[span]
        if len(before) != self.batch:
            raise WorkbenchError(
                f"Edits between tokens follow each row: the batch changed from {len(before)} to {self.batch} rows "
                f"within one generation; keep the batch as it is."
            )
        return before.to(self.device)

    @property
    def trail(self) -> "Trail":
        """What the next forward of this sequence must know."""
        ends = self.prompt_columns if self.prompt_columns is not None else self._found.prompt_columns
        return Trail(ends, self.past + self.length, self._found.inside)


class Trail(NamedTuple):
    """Of cached columns: how many are the prompt's (None: unknown), how many there are, what is open by span, [batch] bool."""

    prompt_columns: Columns | None
    columns: int
    inside: dict[tuple[int, int], Tensor]

    def prompt_before(self, past: int) -> Columns | None:
        """The prompt's columns for a forward after `past` cached ones; None where the cache was cut within the prompt."""
        ends = (self.prompt_columns,) if isinstance(self.prompt_columns, int) else self.prompt_columns
        return self.prompt_columns if ends is not None and past >= max(ends) else None


def read_positions(arguments: dict[str, Any], before: Positions | None) -> Positions:
    """`Positions` from the base model's arguments by name, and those of the forward before it in this context."""
    ids, embeds = arguments.get("input_ids"), arguments.get("inputs_embeds")
    given = ids if ids is not None else embeds
    if given is None:
        raise WorkbenchError("This forward has neither input_ids nor inputs_embeds, so its positions are unknown.")
    batch, length = given.shape[:2]
    cache = arguments.get("past_key_values")
    past = int(cache.get_seq_length()) if cache is not None else 0
    mask = two_dimensional(arguments.get("attention_mask"), past + length)
    trail = _trail(cache, past, batch, before) if past else None
    stated = PROMPT_LENGTH.get()
    columns = stated if stated is not None else length if past == 0 else trail.prompt_before(past) if trail else None
    return Positions(batch, length, past, mask, ids, given.device, columns, trail, _USES.get())


def leave_trail(positions: Positions, cache: Any, output: Any) -> None:
    """Writes the trail on the cache: the base model's argument, or where that is None made by it and part of its output."""
    cache = cache if cache is not None else cache_in(output)
    if cache is not None:
        _note(cache, tuple(positions.trail))


def note_prompt(cache: Any, ids: Tensor, spans: Iterable[tuple[int, int]]) -> None:
    """Writes the trail of a prompt's columns, ids [rows, columns], on a cache that was put together of several forwards'."""
    column = torch.arange(1, ids.shape[1] + 1)

    def last(token: int) -> Tensor:
        return ((ids == token) * column).amax(-1)

    inside = {span: last(span[0]) > last(span[1]) for span in spans}
    _note(cache, tuple(Trail(PROMPT_LENGTH.get(), ids.shape[1], inside)))


def _trail(cache: Any, past: int, batch: int, before: Positions | None) -> Trail | None:
    """What was left on the cache; where a cache can hold nothing, the forward before, if this one begins where that ended."""
    left = getattr(cache, _TRAIL, None)
    if left is not None:
        return Trail(*left)
    if before is None or _note(cache, None):
        return None
    return before.trail if before.batch == batch and before.past + before.length == past else None


def _note(cache: Any, trail: tuple[Any, ...] | None) -> bool:
    """Writes on a cache; whether it can hold that."""
    try:
        setattr(cache, _TRAIL, trail)
    except AttributeError:
        return False
    return True


def cache_in(output: Any) -> Any:
    parts = output if isinstance(output, tuple) else (getattr(output, "past_key_values", None),)
    return next((part for part in parts if hasattr(part, "get_seq_length")), None)


def two_dimensional(mask: Any, total: int) -> Tensor | None:
    """Real tokens [batch, total] from a 2-D mask, a 4-D mask (static cache) or a dict of them (gpt_oss)."""
    if isinstance(mask, dict):
        mask = mask.get("full_attention", next(iter(mask.values())))
    if not isinstance(mask, Tensor):
        return None
    if mask.ndim == 4:
        seen = mask[:, 0, -1, :total]
        return seen if seen.dtype == torch.bool else seen == 0
    return mask[:, :total]
