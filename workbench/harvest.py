"""From the recorder's tensors to host memory: padding left out, decode steps joined, copies that nobody waits for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.record import ForwardRecord, LayerRecord, OutputRows, ResidualRecord, SharedRecord


class Step(NamedTuple):
    """One forward's real tokens: their rows in the record, the sequence of the batch and the position each belongs to."""

    rows: np.ndarray
    sequence: np.ndarray
    position: np.ndarray
    n_rows: int
    """Rows of the forward, padding included."""


class Chunk(NamedTuple):
    """A batch's tokens, joined over its forwards. Tensors are [tokens, ...] by layer and field name."""

    sequence: np.ndarray
    position: np.ndarray
    layers: dict[int, dict[str, Tensor]]
    residual: dict[int, dict[str, Tensor]]
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
    layers: dict[int, list[dict[str, Tensor]]] = field(default_factory=dict[int, list[dict[str, Tensor]]])
    residual: dict[int, list[dict[str, Tensor]]] = field(default_factory=dict[int, list[dict[str, Tensor]]])

    def add(self, record: ForwardRecord, step: Step) -> None:
        """Takes a forward's record; tokens of earlier steps come first."""
        before = sum(len(s.rows) for s in self.steps)
        self.steps.append(step)
        pick = _Pick(step)
        for number, layer in record.layers.items():
            self.layers.setdefault(number, []).append(_layer_fields(layer, pick, before))
        for number, residual in record.residual.items():
            self.residual.setdefault(number, []).append(_residual_fields(residual, pick))

    def finish(self) -> Chunk:
        """The batch as one chunk; the copies to host memory may still be running (see `Chunk.ready`)."""
        devices: set[torch.device] = set()
        layers = {n: _to_host(_joined(parts), devices) for n, parts in self.layers.items()}
        residual = {n: _to_host(_joined(parts), devices) for n, parts in self.residual.items()}
        sequence = np.concatenate([s.sequence for s in self.steps])
        position = np.concatenate([s.position for s in self.steps])
        return Chunk(sequence, position, layers, residual, _events(devices))


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

    def renumber(self, rows: Tensor) -> Tensor:
        """The selected row that each of `rows` became, -1 for padding."""
        if self.rows is None:
            return rows
        number = torch.full((self.n_rows,), -1, dtype=torch.long, device=rows.device)
        number[self.rows.to(rows.device)] = torch.arange(len(self.rows), device=rows.device)
        return number[rows]


def _layer_fields(layer: LayerRecord, pick: _Pick, before: int) -> dict[str, Tensor]:
    fields: dict[str, Tensor | None] = {
        "expert": layer.index,
        "weight": layer.weight,
        "logits": layer.logits,
        "output_l2": layer.output_l2,
        "output_max_abs": layer.output_max_abs,
        "output_argmax": layer.output_argmax,
    }
    for number, shared in enumerate(layer.shared):
        fields |= _shared_fields(number, shared)
    picked = {name: pick(tensor) for name, tensor in fields.items() if tensor is not None}
    if layer.outputs is not None:
        picked |= _output_fields(layer.outputs, layer.index.shape[-1], pick, before)
    return picked


def _shared_fields(number: int, shared: SharedRecord) -> dict[str, Tensor | None]:
    size = shared.size
    return {
        f"shared{number}_weight": shared.weight,
        f"shared{number}_output_l2": None if size is None else size[0],
        f"shared{number}_output_max_abs": None if size is None else size[1],
        f"shared{number}_output_argmax": None if size is None else size[2],
        f"shared{number}_outputs": shared.vectors,
    }


def _output_fields(outputs: OutputRows, top_k: int, pick: _Pick, before: int) -> dict[str, Tensor]:
    rows = pick.renumber(outputs.slots // top_k)
    kept = rows >= 0
    return {
        "outputs_row": rows[kept] + before,
        "outputs_slot": (outputs.slots % top_k)[kept],
        "outputs_expert": outputs.experts[kept],
        "outputs": outputs.vectors[kept],
    }


def _residual_fields(residual: ResidualRecord, pick: _Pick) -> dict[str, Tensor]:
    return {name: pick(tensor) for name, tensor in residual._asdict().items() if tensor is not None}


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _to_host(fields: dict[str, Tensor], devices: set[torch.device]) -> dict[str, Tensor]:
    devices |= {tensor.device for tensor in fields.values() if tensor.device.type == "cuda"}
    return {name: _narrow(tensor).to("cpu", non_blocking=True) for name, tensor in fields.items()}


def _narrow(tensor: Tensor) -> Tensor:
    """As stored: float32 (exact for bf16 and fp16) and int32, made on the device so that less is copied."""
    return tensor.float() if tensor.is_floating_point() else tensor.int()


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
