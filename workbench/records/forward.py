"""What one forward did, as values: routing as the experts received it, outputs and their sizes, the residual stream.

`each` changes every tensor of a record, `joined` puts records of several forwards behind each other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.records.magnitudes import Magnitude

Change = Callable[[Tensor], Tensor]


class OutputRows(NamedTuple):
    """Unweighted output vectors of chosen experts: slot numbers (row * k + slot) int64 [n], experts [n], vectors [n, hidden]."""

    slots: Tensor
    experts: Tensor
    vectors: Tensor


class SharedRecord(NamedTuple):
    """A shared expert: weight [rows] (1, or its gate's sigmoid), the magnitude of its output before the gate."""

    weight: Tensor
    size: Magnitude | None
    vectors: Tensor | None

    def each(self, change: Change) -> "SharedRecord":
        """With every tensor changed."""
        size = None if self.size is None else Magnitude(*map(change, self.size))
        return SharedRecord(change(self.weight), size, _changed(self.vectors, change))

    @classmethod
    def joined(cls, parts: "Sequence[SharedRecord]") -> "SharedRecord":
        """The rows of `parts`, one after the other."""
        sizes = [part.size for part in parts if part.size is not None]
        assert len(sizes) in (0, len(parts)), "kept in some of the forwards alone"
        size = Magnitude(*(torch.cat(column) for column in zip(*sizes, strict=True))) if sizes else None
        return cls(torch.cat([part.weight for part in parts]), size, _joined(part.vectors for part in parts))


@dataclass
class LayerRecord:
    """One MoE layer. Rows are tokens in order (batch * time, padding included, as it is recorded); slots as the experts had them.

    index [rows, k] int64, weight [rows, k]; logits [rows, experts] as the router made them (before any edit); output_l2,
    output_max_abs, output_argmax [rows, k] of the unweighted expert outputs; router_input [rows, hidden] as the router was given
    it; inner: neurons in the place of output vectors. None where not kept.
    """

    index: Tensor
    weight: Tensor
    logits: Tensor | None = None
    output_l2: Tensor | None = None
    output_max_abs: Tensor | None = None
    output_argmax: Tensor | None = None
    outputs: OutputRows | None = None
    shared: tuple[SharedRecord, ...] = ()
    router_input: Tensor | None = None
    inner: OutputRows | None = None

    @property
    def size(self) -> Magnitude | None:
        """The magnitudes of the routed outputs, each [rows, k]."""
        l2, largest, channel = self.output_l2, self.output_max_abs, self.output_argmax
        return None if l2 is None or largest is None or channel is None else Magnitude(l2, largest, channel)

    def each(self, change: Change) -> "LayerRecord":
        """With every tensor changed."""
        return LayerRecord(
            change(self.index),
            change(self.weight),
            _changed(self.logits, change),
            _changed(self.output_l2, change),
            _changed(self.output_max_abs, change),
            _changed(self.output_argmax, change),
            None if self.outputs is None else OutputRows(*map(change, self.outputs)),
            tuple(one.each(change) for one in self.shared),
            _changed(self.router_input, change),
            None if self.inner is None else OutputRows(*map(change, self.inner)),
        )

    @classmethod
    def joined(cls, parts: "Sequence[LayerRecord]") -> "LayerRecord":
        """The rows of `parts`, one after the other; slots of outputs and neurons are numbered on."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            torch.cat([part.index for part in parts]),
            torch.cat([part.weight for part in parts]),
            _joined(part.logits for part in parts),
            _joined(part.output_l2 for part in parts),
            _joined(part.output_max_abs for part in parts),
            _joined(part.output_argmax for part in parts),
            _joined_outputs(parts, [part.outputs for part in parts]),
            tuple(SharedRecord.joined(several) for several in zip(*(part.shared for part in parts), strict=True)),
            _joined(part.router_input for part in parts),
            _joined_outputs(parts, [part.inner for part in parts]),
        )


class ResidualRecord(NamedTuple):
    """The residual stream at a decoder layer's output, each [rows] (layer -1: the embeddings); see `magnitude`."""

    l2: Tensor
    max_abs: Tensor
    median_abs: Tensor
    argmax: Tensor
    routed_change: Tensor | None

    def each(self, change: Change) -> "ResidualRecord":
        """With every tensor changed."""
        return ResidualRecord(
            change(self.l2),
            change(self.max_abs),
            change(self.median_abs),
            change(self.argmax),
            _changed(self.routed_change, change),
        )

    @classmethod
    def joined(cls, parts: "Sequence[ResidualRecord]") -> "ResidualRecord":
        """The rows of `parts`, one after the other."""
        return cls(
            torch.cat([part.l2 for part in parts]),
            torch.cat([part.max_abs for part in parts]),
            torch.cat([part.median_abs for part in parts]),
            torch.cat([part.argmax for part in parts]),
            _joined(part.routed_change for part in parts),
        )


class ForwardRecord(NamedTuple):
    """One forward: MoE layers and the residual stream, by layer."""

    layers: dict[int, LayerRecord]
    residual: dict[int, ResidualRecord]


def _changed(tensor: Tensor | None, change: Change) -> Tensor | None:
    return None if tensor is None else change(tensor)


def _joined(tensors: Iterable[Tensor | None]) -> Tensor | None:
    """Nothing where nothing was kept: of one capture's forwards all keep it, or none."""
    tensors = list(tensors)
    kept = [tensor for tensor in tensors if tensor is not None]
    assert len(kept) in (0, len(tensors)), "kept in some of the forwards alone"
    return torch.cat(kept) if kept else None


def _joined_outputs(parts: Sequence[LayerRecord], several: Sequence[OutputRows | None]) -> OutputRows | None:
    starts = accumulate((part.index.numel() for part in parts), initial=0)  # slots before each part
    kept = [
        rows._replace(slots=rows.slots + start)
        for rows, start in zip(several, starts, strict=False)
        if rows is not None
    ]
    return OutputRows(*(torch.cat(column) for column in zip(*kept, strict=True))) if kept else None
