"""One MoE layer inside the engine: its router's own answer, changed only for tokens whose row says so, and what is kept of it.

The order is that of plans: bias, off, force, top-k, drop, scale, replace, mute. A token whose row holds no edit of this layer
keeps the router's answer bit for bit. What is kept are the slots as the plan makes them, and the dose.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.hooks import edit_weights
from workbench.plan import ROUTING_KINDS
from workbench.records import LayerRecord
from workbench.routing import Router, Routing, changed_slots, reroute, router_edits, taken
from workbench.serving.tables import LayerTables


class StepTensors(NamedTuple):
    """What all layers of a step share, allocated once: each [tokens].

    row      the row of the tables that each token goes by; 0 where none does, and for padding
    changed  slots that the plan changed so far, int64
    emptied  layers in which the plan left the token no expert, int64
    """

    row: Tensor
    changed: Tensor
    emptied: Tensor


class Edited(NamedTuple):
    """A token's slots under its row, each [tokens, k]: as the plan weighs them, and as the experts are to weigh them."""

    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride] - nobody looks for a tensor in it
    weights: Tensor
    given: Tensor
    changed: Tensor
    added: Tensor | None
    """What replaced slots add to the routed sum, [tokens, hidden]."""


@dataclass
class Layer:
    """A bound layer. `own` is the router's own choice, `scaling` what the runner multiplies the routed sum by afterwards."""

    number: int
    n_experts: int
    top_k: int
    own: Callable[..., tuple[Tensor, Tensor]]
    tables: LayerTables
    step: StepTensors
    scaling: float = 1.0
    router: Router | None = None
    kept: LayerRecord | None = None
    _added: list[Tensor] = field(default_factory=list[Tensor])

    def choose(
        self, hidden: Tensor, logits: Tensor, indices_type: Any, *, input_ids: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Stands in for the router's `_compute_routing`: weights [tokens, k] and logical experts [tokens, k]."""
        weights, index = self.own(hidden, logits, indices_type, input_ids=input_ids)
        self._added.clear()
        if not self.tables.kinds:
            self._keep(logits, index, weights)
            return weights, index
        rows = self.step.row[: len(index)]
        found = self.edited(logits, Routing(weights, index), rows)
        self._count(found, self.tables.edited[rows])
        self._keep(logits, found.index, found.weights)
        if found.added is not None:
            self._added.append(found.added)
        return found.given, found.index

    def add(self, routed: Tensor) -> Tensor:
        """The routed sum [tokens, hidden] with what replaced slots add to it."""
        return (routed.float() + self._added.pop()).to(routed.dtype) if self._added else routed

    def edited(self, logits: Tensor, own: Routing, rows: Tensor) -> Edited:
        """The router's own answer for logits [tokens, experts] under each token's row [tokens] of the tables."""
        chosen = self.rerouted(logits, own, rows)
        changed = changed_slots(own.index, own.weights, chosen.index, chosen.weights)
        inside = self.tables.edited[rows][:, None]
        if self.tables.present <= ROUTING_KINDS:  # nothing else is asked, so the weights are those of the choice
            weights = torch.where(inside, chosen.weights, own.weights)
            index = torch.where(inside, chosen.index, own.index)
            return Edited(index, weights, weights, changed & inside, None)
        weights = edit_weights(_OfTokens(self.tables, rows), chosen.index.long(), chosen.weights, None)
        changed = changed | (chosen.weights != weights)
        given, added, touched = self._replaced(chosen.index.long(), weights, rows)
        changed = changed | touched
        muted = self.tables.of("mute", rows)
        if muted is not None:
            gone = taken(muted, chosen.index.long())
            changed, given = changed | (gone & (weights != 0)), given.masked_fill(gone, 0)
        index, weights = torch.where(inside, chosen.index, own.index), torch.where(inside, weights, own.weights)
        return Edited(index, weights, torch.where(inside, given, own.weights), changed & inside, added)

    def rerouted(self, logits: Tensor, own: Routing, rows: Tensor) -> Routing:
        """The same under off, force and bias alone: who is selected, by the layer's own rule."""
        of = self.tables.of
        edits = router_edits(of("bias", rows), of("off", rows), of("force", rows))
        if all(part is None for part in edits):
            return own
        assert self.router is not None, "a plan was let through whose layer has no rule"
        return reroute(self.router, logits, own, edits, self.tables.rerouted[rows])

    def _replaced(self, index: Tensor, weights: Tensor, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Replaced slots weigh nothing, and add their weight times the vector; and which slots those are."""
        if "replace" not in self.tables.present:
            return weights, None, torch.zeros_like(index, dtype=torch.bool)
        vector = taken(self.tables.replaced[rows], index)
        is_replaced = vector > 0
        share = (weights * is_replaced).float()
        added = torch.einsum("tk,tkh->th", share, self.tables.vectors.table[vector])
        return weights.masked_fill(is_replaced, 0), added, is_replaced

    def _count(self, found: Edited, inside: Tensor) -> None:
        n = len(found.index)
        self.step.changed[:n] += found.changed.sum(-1)
        self.step.emptied[:n] += ((found.weights == 0).all(-1) & inside).long()

    def _keep(self, logits: Tensor, index: Tensor, weights: Tensor) -> None:
        scaled = weights * self.scaling if self.scaling != 1 else weights
        self.kept = LayerRecord(index, scaled, logits)


class _OfTokens:
    """The masks of `edit_weights`, read from the tables at each token's row."""

    def __init__(self, tables: LayerTables, rows: Tensor) -> None:
        self.tables, self.rows = tables, rows

    def mask(self, kind: str, device: Any, positions: Any) -> Tensor | None:
        """Which experts `kind` touches, bool [tokens, experts]."""
        return self.tables.of(kind, self.rows)

    values = mask
