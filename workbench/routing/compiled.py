"""A plan turned into masks: for each layer, which experts are off, forced, scaled ..., everywhere or for some tokens."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError
from workbench.plan import ROUTING_KINDS, Edit, Plan, Scope
from workbench.routing.positions import Positions
from workbench.routing.rule import RouterEdits, router_edits


class Replacement(NamedTuple):
    """One `replace`: the expert, its vector [1, hidden] in float32, and which tokens [tokens, 1] (None: all)."""

    expert: int
    vector: Tensor
    tokens: Tensor | None

    def touches(self, index: Tensor) -> Tensor:
        """Which slots of a selection [tokens, k] are replaced, bool."""
        return index == self.expert if self.tokens is None else (index == self.expert) & self.tokens


@dataclass
class LayerEdits:
    """The edits of one kind of expert in one layer. Masks are built once per device; scoped ones once per forward."""

    edits: tuple[Edit, ...]
    n_experts: int
    span_ids: dict[tuple[str, str], tuple[int, int]]
    _cache: dict[Any, Any] = field(default_factory=dict[Any, Any])

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of edit that occur."""
        return frozenset(e.kind for e in self.edits)

    @cached_property
    def is_scoped(self) -> bool:
        """Whether some edit holds for some tokens only."""
        return any(not e.scope.is_everywhere for e in self.edits)

    @cached_property
    def reroutes(self) -> bool:
        """Whether some edit changes which experts are selected."""
        return bool(self.kinds & ROUTING_KINDS)

    @cached_property
    def weighs(self) -> bool:
        """Whether some edit changes weights or outputs after the selection."""
        return bool(self.kinds - ROUTING_KINDS)

    def mask(self, kind: str, device: torch.device, positions: Positions | None) -> Tensor | None:
        """Which experts `kind` touches, bool [1 or tokens, experts]; None when no edit is of this kind."""
        return self._combined(kind, device, positions, torch.bool)

    def values(self, kind: str, device: torch.device, positions: Positions | None) -> Tensor | None:
        """The factor (scale; 1 elsewhere) or the sum (bias; 0 elsewhere) per expert, float32 [1 or tokens, experts]."""
        return self._combined(kind, device, positions, torch.float32)

    def router_edits(self, device: torch.device, positions: Positions | None) -> RouterEdits:
        """bias, off and force as the routing rule takes them."""
        key = ("router", device)
        if key in self._cache:
            return self._cache[key]
        masks = self.mask("off", device, positions), self.mask("force", device, positions)
        found = router_edits(self.values("bias", device, positions), *masks)
        if not self.is_scoped:
            self._cache[key] = found
        return found

    def touched(self, device: torch.device, positions: Positions | None) -> Tensor:
        """Tokens in the scope of some routing edit, bool [tokens]."""
        assert positions is not None
        scopes = {e.scope for e in self.edits if e.kind in ROUTING_KINDS}
        return torch.stack([self._tokens(s, device, positions) for s in scopes]).any(0)

    def replacements(self, device: torch.device, positions: Positions | None) -> list[Replacement]:
        """Each `replace`."""
        if "replace" not in self.kinds:
            return []
        key = ("replace", device)
        if key not in self._cache:
            edits = [e for e in self.edits if e.kind == "replace"]
            vectors = [torch.tensor([e.value], dtype=torch.float32, device=device) for e in edits]
            self._cache[key] = [
                (e.scope, Replacement(e.expert.expert, v, None)) for e, v in zip(edits, vectors, strict=True)
            ]
        return [
            r if scope.is_everywhere else r._replace(tokens=self._tokens(scope, device, positions)[:, None])
            for scope, r in self._cache[key]
        ]

    def _combined(
        self, kind: str, device: torch.device, positions: Positions | None, dtype: torch.dtype
    ) -> Tensor | None:
        if kind not in self.kinds:
            return None
        edits = [e for e in self.edits if e.kind == kind]
        key = (kind, device)
        if key not in self._cache:
            everywhere = [e for e in edits if e.scope.is_everywhere]
            self._cache[key] = self._row(kind, everywhere, dtype).to(device)[None]
        total: Tensor = self._cache[key]
        if not self.is_scoped:
            return total
        for scope in sorted({e.scope for e in edits if not e.scope.is_everywhere}, key=str):
            row = self._row(kind, [e for e in edits if e.scope == scope], dtype).to(device)
            total = _join(kind, total, row, self._tokens(scope, device, positions)[:, None])
        return total

    def _row(self, kind: str, edits: Iterable[Edit], dtype: torch.dtype) -> Tensor:
        row = torch.full((self.n_experts,), 1 if kind == "scale" else 0, dtype=dtype)
        for edit in edits:
            value = edit.value if isinstance(edit.value, float) else 1.0
            n = edit.expert.expert
            row[n] = row[n] * value if kind == "scale" else row[n] + value if kind == "bias" else True
        return row

    def _tokens(self, scope: Scope, device: torch.device, positions: Positions | None) -> Tensor:
        if positions is None:
            raise WorkbenchError(
                "An edit limited to positions needs the base model to run; a layer was called by itself."
            )
        span = self.span_ids[scope.span] if scope.span else None
        return positions.in_scope(scope, span).to(device)


def _join(kind: str, total: Tensor, row: Tensor, tokens: Tensor) -> Tensor:
    if kind == "scale":
        return total * torch.where(tokens, row, torch.ones_like(row))
    if kind == "bias":
        return total + torch.where(tokens, row, torch.zeros_like(row))
    return total | (row & tokens)


@dataclass(frozen=True)
class CompiledPlan:
    """A plan against one model: routed and shared edits by layer, and the layers whose routing changes."""

    plan: Plan
    routed: dict[int, LayerEdits]
    shared: dict[tuple[int, int], LayerEdits]

    def to_data(self) -> dict[str, Any]:
        """JSON-able: what another process needs to build the same masks, without the model or its tokenizer."""
        layers = {
            **self.routed,
            **{layer: edits for (layer, _), edits in self.shared.items() if layer not in self.routed},
        }
        spans = {span: ids for edits in layers.values() for span, ids in edits.span_ids.items()}
        return {
            "plan": json.loads(self.plan.to_json()),
            "n_experts": {str(layer): edits.n_experts for layer, edits in layers.items()},
            "spans": [[*span, *ids] for span, ids in spans.items()],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "CompiledPlan":
        """The inverse of `to_data`. Raises `WorkbenchError` for what is no plan."""
        n_experts = {int(layer): int(n) for layer, n in data["n_experts"].items()}
        spans = {(a, b): (int(i), int(j)) for a, b, i, j in data["spans"]}
        return _built(Plan.from_json(json.dumps(data["plan"])), n_experts, spans)

    @property
    def needs_positions(self) -> bool:
        """Whether the base model's arguments must be read before each forward."""
        edits = self.plan.edits
        return any(not e.scope.is_everywhere or e.kind == "replace" for e in edits) or any(
            x.is_scoped for x in self.routed.values()
        )

    @property
    def needs_generate(self) -> bool:
        """Whether `generate` must tell the prompt's length, or be refused its beams."""
        return self.has_spans or any(e.scope.phase for e in self.plan.edits)

    @property
    def span_ids(self) -> frozenset[tuple[int, int]]:
        """The token ids between which some edit holds."""
        return frozenset(
            ids for edits in (*self.routed.values(), *self.shared.values()) for ids in edits.span_ids.values()
        )

    @property
    def has_spans(self) -> bool:
        """Whether some edit holds between two tokens."""
        return any(e.scope.span for e in self.plan.edits)


def compile_plan(plan: Plan, anatomy: Anatomy, tokenizer: Any) -> CompiledPlan:
    """Checks the plan against the model and builds its masks. Raises `WorkbenchError` when it cannot be done."""
    plan.check(anatomy)
    means = [e for e in plan.edits if e.value == "mean"]
    if means:
        raise WorkbenchError(f"{means[0]}: the mean is over a store; resolve it with plan.with_means(store) first.")
    spans = {e.scope.span: _span_ids(e.scope.span, tokenizer) for e in plan.edits if e.scope.span}
    return _built(plan, {layer: anatomy.layer(layer).n_experts for layer in plan.layers}, spans)


def _built(plan: Plan, n_experts: Mapping[int, int], spans: dict[tuple[str, str], tuple[int, int]]) -> CompiledPlan:
    routed = {
        layer: LayerEdits(
            tuple(e for e in plan.edits if e.expert.layer == layer and not e.expert.is_shared), n_experts[layer], spans
        )
        for layer in plan.layers
    }
    shared = {
        (r.layer, r.expert): LayerEdits(tuple(e for e in plan.edits if e.expert == r), r.expert + 1, spans)
        for r in plan.experts
        if r.is_shared
    }
    return CompiledPlan(plan, {n: e for n, e in routed.items() if e.edits}, shared)


def _span_ids(span: tuple[str, str], tokenizer: Any) -> tuple[int, int]:
    if tokenizer is None:
        raise WorkbenchError(f"Edits between {span[0]} and {span[1]} need a tokenizer; load the model with one.")
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in span]
    for text, found in zip(span, ids, strict=True):
        if len(found) != 1:
            raise WorkbenchError(
                f"'{text}' is {len(found)} tokens here, and a span opens and closes with one token each."
            )
    return ids[0][0], ids[1][0]
