"""Recording forwards: what each did, layer by layer, collected by the hooks while `recording` is open."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.records.forward import ForwardRecord, LayerRecord, OutputRows, ResidualRecord, SharedRecord
from workbench.records.magnitudes import magnitude, median_abs, routed_change

KEEPS = frozenset({"norms", "residual", "logits", "outputs", "router_input", "inner"})
_LIMITED = KEEPS - {"norms", "residual"}
"""What `layers` limits."""
# expert, its rows [n, width] as it is given them -> its neurons [n, neurons]; None for an expert without any
Inner = Callable[[int, Tensor], Tensor | None]


@dataclass
class Recorder:
    """Collects the running forward; `take` hands it over. Made by `recording`."""

    keep: frozenset[str]
    moe_layers: tuple[int, ...]
    layers: frozenset[int] | None = None
    experts: frozenset[tuple[int, int]] | None = None
    multipliers: dict[int, float | None] = field(default_factory=dict[int, float | None])
    neurons: dict[int, Inner] = field(default_factory=dict[int, Inner])
    _layers: dict[int, LayerRecord] = field(default_factory=dict[int, LayerRecord])
    _residual: dict[int, ResidualRecord] = field(default_factory=dict[int, ResidualRecord])
    _logits: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    _shared: dict[int, dict[int, SharedRecord]] = field(default_factory=dict[int, dict[int, SharedRecord]])
    _gates: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    _inputs: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    _before: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    _routed: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def begin(self) -> None:
        """A forward starts: what an unfinished one left is dropped."""
        seen = (self._layers, self._residual, self._logits, self._shared, self._gates, self._inputs)
        for part in (*seen, self._before, self._routed):
            part.clear()

    def take(self) -> ForwardRecord:
        """The last forward. Raises `WorkbenchError` when a layer stayed silent: a missing row is never a zero."""
        silent = [n for n in self.moe_layers if n not in self._layers]
        if silent:
            raise WorkbenchError(
                f"Layers {silent} routed nothing that we could see; run `workbench inspect` on this model."
            )
        for layer, record in self._layers.items():
            record.logits = self._logits.get(layer)
            record.router_input = self._router_input(layer, record)
            record.shared = tuple(self._with_gate(layer, s) for _, s in sorted(self._shared.get(layer, {}).items()))
        record = ForwardRecord(dict(self._layers), dict(sorted(self._residual.items())))
        self.begin()
        return record

    def routed(self) -> dict[int, Tensor]:
        """The routed experts' sum by layer, as the experts modules returned it; the layers of the running forward."""
        return dict(self._routed)

    def wants(self, what: str, layer: int) -> bool:
        """Whether `what` is kept in `layer` (`layers` limits all but norms and residual)."""
        limited = what in _LIMITED and self.layers is not None
        return what in self.keep and not (limited and layer not in (self.layers or ()))

    @property
    def wants_outputs(self) -> bool:
        """Whether expert outputs must be seen at all."""
        return bool(self.keep & {"norms", "outputs"})

    # ---- called by the hooks

    def see_logits(self, layer: int, logits: Tensor) -> None:
        """Router logits [rows, experts]."""
        if self.wants("logits", layer):
            self._logits[layer] = logits.detach()

    def see_router_input(self, layer: int, given: Tensor) -> None:
        """What the router is given, [..., hidden]."""
        self._inputs[layer] = given.detach().reshape(-1, given.shape[-1])

    def see_slots(self, layer: int, index: Tensor, weight: Tensor) -> None:
        """The selection that the experts receive."""
        record = self._layers[layer] = LayerRecord(index.detach(), weight.detach())
        if "norms" in self.keep:
            n = index.numel()
            record.output_l2 = torch.empty(n, dtype=torch.float32, device=index.device)
            record.output_max_abs = torch.empty(n, dtype=torch.float32, device=index.device)
            record.output_argmax = torch.empty(n, dtype=torch.int32, device=index.device)

    def see_outputs(self, layer: int, outputs: Tensor, slots: Tensor) -> None:
        """Unweighted outputs [n, hidden] of the slots [n]."""
        record, outputs = self._layers[layer], outputs.detach()
        if record.output_l2 is not None and record.output_max_abs is not None and record.output_argmax is not None:
            kept = record.output_l2, record.output_max_abs, record.output_argmax
            for column, size in zip(kept, magnitude(outputs), strict=True):
                column.index_copy_(0, slots, size)
        if self.wants("outputs", layer):
            record.outputs = _joined(record.outputs, self._chosen(layer, record.index, outputs, slots))

    @torch.no_grad()
    def see_inner(self, layer: int, hidden: Tensor, by: Tensor | None = None) -> None:
        """What the experts are given, [rows, width], times `by` [rows, k] where they are given it so: their neurons again."""
        record = self._layers[layer]
        experts = record.index.reshape(-1)
        wanted = experts.unique().tolist()
        if self.experts is not None:
            wanted = [expert for expert in wanted if (layer, expert) in self.experts]
        for expert in wanted:
            slots = (experts == expert).nonzero()[:, 0]
            rows = hidden.detach()[slots // record.index.shape[-1]]
            rows = rows if by is None else rows * by.detach().reshape(-1)[slots, None]
            inner = self.neurons[layer](expert, rows)
            if inner is not None:
                record.inner = _joined(record.inner, OutputRows(slots, experts[slots], inner))

    def finish_slots(self, layer: int) -> None:
        """All slots of the layer were seen: give them their shape [rows, k]."""
        record = self._layers[layer]
        if record.output_l2 is not None and record.output_max_abs is not None and record.output_argmax is not None:
            shape = record.index.shape
            record.output_l2, record.output_max_abs = record.output_l2.view(shape), record.output_max_abs.view(shape)
            record.output_argmax = record.output_argmax.view(shape)

    def see_routed(self, layer: int, routed: Tensor) -> None:
        """The routed experts' sum [rows, hidden]."""
        if self.keep & {"residual", "outputs"}:
            self._routed[layer] = routed.detach()

    def see_shared(self, layer: int, number: int, output: Tensor) -> None:
        """A shared expert's output, before its gate."""
        rows = output.detach().reshape(-1, output.shape[-1])
        size = magnitude(rows) if "norms" in self.keep else None
        vectors = rows if self.wants("outputs", layer) and self._is_chosen(layer, -1 - number) else None
        one = torch.ones(rows.shape[0], device=rows.device)
        self._shared.setdefault(layer, {})[number] = SharedRecord(one, size, vectors)

    def see_gate(self, layer: int, score: Tensor) -> None:
        """The shared experts' gate before its sigmoid, [..., 1]."""
        self._gates[layer] = score.detach().reshape(-1).sigmoid().float()

    def see_before(self, layer: int, residual: Tensor) -> None:
        """The residual stream before the layer's MoE norm."""
        self._before[layer] = residual.detach().reshape(-1, residual.shape[-1])

    def see_residual(self, layer: int, residual: Tensor) -> None:
        """The residual stream at the layer's output."""
        rows = residual.detach().reshape(-1, residual.shape[-1])
        l2, largest, channel = magnitude(rows)
        before, routed, by = self._before.pop(layer, None), self._routed.pop(layer, None), self.multipliers.get(layer)
        change = None
        if before is not None and routed is not None and by is not None:
            change = routed_change(before, routed.reshape(before.shape), by)
        self._residual[layer] = ResidualRecord(l2, largest, median_abs(rows), channel, change)

    def _chosen(self, layer: int, index: Tensor, outputs: Tensor, slots: Tensor) -> OutputRows:
        experts = index.reshape(-1)[slots]
        if self.experts is not None:
            wanted = torch.tensor([e for n, e in self.experts if n == layer], dtype=torch.long, device=index.device)
            rows = torch.isin(experts, wanted)
            slots, experts, outputs = slots[rows], experts[rows], outputs[rows]
        return OutputRows(slots, experts, outputs)

    def _is_chosen(self, layer: int, expert: int) -> bool:
        return self.experts is None or (layer, expert) in self.experts

    def _router_input(self, layer: int, record: LayerRecord) -> Tensor | None:
        if not self.wants("router_input", layer):
            return None
        given = self._inputs.get(layer)
        if given is None or len(given) != len(record.index):
            raise WorkbenchError(
                f"The router of layer {layer} was not seen with the {len(record.index)} tokens that it routed, so what it reads "
                f"is not known; leave router_input out of keep."
            )
        return given

    def _with_gate(self, layer: int, shared: SharedRecord) -> SharedRecord:
        return shared._replace(weight=self._gates[layer]) if layer in self._gates else shared


def _joined(a: OutputRows | None, b: OutputRows) -> OutputRows:
    return b if a is None else OutputRows(*(torch.cat(pair) for pair in zip(a, b, strict=True)))
