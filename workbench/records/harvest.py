"""From the recorder's tensors to host memory: padding left out, decode steps joined, copies that nobody waits for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.records.forward import ForwardRecord, LayerRecord, OutputRows, ResidualRecord


class Step(NamedTuple):
    """One forward's real tokens: their rows in the record, the sequence of the batch and the position each belongs to."""

    rows: np.ndarray
    sequence: np.ndarray
    position: np.ndarray
    n_rows: int
    """Rows of the forward, padding included."""


class Chunk(NamedTuple):
    """A batch's tokens, joined over its forwards: records whose rows are tokens, float32 and int32, by layer."""

    sequence: np.ndarray
    position: np.ndarray
    layers: dict[int, LayerRecord]
    residual: dict[int, ResidualRecord]
    ready: Callable[[], None]
    """Waits until the tensors are in host memory."""


def prompt_step(mask: np.ndarray) -> Step:
    """The real tokens of a forward over whole sequences; `mask` [batch, time] is 1 where a token is real."""
    rows = np.flatnonzero(mask)
    sequence = np.repeat(np.arange(len(mask)), mask.sum(1))
    position = (mask.cumsum(1) - 1).reshape(-1)[rows]
    return Step(rows, sequence, position, mask.size)


def decode_step(alive: np.ndarray, position: np.ndarray) -> Step:
    """The real tokens of a forward over one new token per sequence: those of sequences that have not ended."""
    rows = np.flatnonzero(alive)
    return Step(rows, rows, position[rows], len(alive))


@dataclass
class Harvest:
    """Gathers the forwards of one batch on the device and hands them over as one chunk in host memory."""

    steps: list[Step] = field(default_factory=list[Step])
    layers: dict[int, list[LayerRecord]] = field(default_factory=dict[int, list[LayerRecord]])
    residual: dict[int, list[ResidualRecord]] = field(default_factory=dict[int, list[ResidualRecord]])

    def add(self, record: ForwardRecord, step: Step) -> None:
        """Takes a forward's record; tokens of earlier steps come first."""
        self.steps.append(step)
        pick = _Pick(step)
        for number, layer in record.layers.items():
            self.layers.setdefault(number, []).append(pick.layer(layer))
        for number, residual in record.residual.items():
            self.residual.setdefault(number, []).append(residual.each(pick))

    def finish(self) -> Chunk:
        """The batch as one chunk; the copies to host memory may still be running (see `Chunk.ready`)."""
        copy = _Copy()
        layers = {n: LayerRecord.joined(parts).each(copy) for n, parts in self.layers.items()}
        residual = {n: ResidualRecord.joined(parts).each(copy) for n, parts in self.residual.items()}
        sequence = np.concatenate([s.sequence for s in self.steps])
        position = np.concatenate([s.position for s in self.steps])
        return Chunk(sequence, position, layers, residual, _events(copy.devices))


class _Pick:
    """Selects a step's real rows from a tensor [rows, ...]; does nothing when no row is padding."""

    def __init__(self, step: Step) -> None:
        self.n_rows = step.n_rows
        self.rows = None if len(step.rows) == step.n_rows else torch.from_numpy(step.rows)

    def __call__(self, tensor: Tensor) -> Tensor:
        if self.rows is None:
            return tensor
        self.rows = self.rows.to(tensor.device, non_blocking=True)
        return tensor.index_select(0, self.rows)

    def layer(self, record: LayerRecord) -> LayerRecord:
        """The real rows of a layer; output vectors and neurons of padding are left out, and slots numbered without it."""
        if self.rows is None:
            return record
        outputs, inner = (self._vectors(rows, record.index.shape[-1]) for rows in (record.outputs, record.inner))
        return replace(replace(record, outputs=None, inner=None).each(self), outputs=outputs, inner=inner)

    def _vectors(self, found: OutputRows | None, top_k: int) -> OutputRows | None:
        if found is None:
            return None
        rows = self._renumbered(found.slots // top_k)
        kept = rows >= 0
        slots = rows[kept] * top_k + (found.slots % top_k)[kept]
        return OutputRows(slots, found.experts[kept], found.vectors[kept])

    def _renumbered(self, rows: Tensor) -> Tensor:
        """The selected row that each of `rows` became, -1 for padding."""
        assert self.rows is not None
        number = torch.full((self.n_rows,), -1, dtype=torch.long, device=rows.device)
        number[self.rows.to(rows.device)] = torch.arange(len(self.rows), device=rows.device)
        return number[rows]


class _Copy:
    """Copies a tensor to host memory without waiting, and notes the device that it comes from.

    As stored: float32 (exact for bf16 and fp16) and int32, made on the device so that less is copied.
    """

    def __init__(self) -> None:
        self.devices: set[torch.device] = set()

    def __call__(self, tensor: Tensor) -> Tensor:
        if tensor.device.type == "cuda":
            self.devices.add(tensor.device)
        narrow = tensor.float() if tensor.is_floating_point() else tensor.int()
        return narrow.to("cpu", non_blocking=True)


def _events(devices: Iterable[torch.device]) -> Callable[[], None]:
    events: list[Any] = []
    for device in devices:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        events.append(event)

    def wait() -> None:
        for event in events:
            event.synchronize()

    return wait
