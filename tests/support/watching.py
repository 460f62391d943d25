"""Hooks of the tests' own: what the router said, what the experts received, what the block returned. And edits written once
for both sides: `(kind, expert, value)` becomes a `Plan` for the workbench and `reference.Edits` for the reference."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.support import reference
from workbench import Plan, steered
from workbench.anatomy import ExpertRef
from workbench.model import MoEModel
from workbench.plan import Edit

Spec = tuple[str, int, Any]  # kind, expert (-1: the shared expert), value


class Seen(NamedTuple):
    """One MoE layer in one forward; rows are batch * time."""

    hidden: Tensor  # the block's input [rows, width]
    logits: Tensor  # what the router said, before any edit [rows, experts]
    index: Tensor  # what the experts received [rows, k]
    weights: Tensor
    block: Tensor  # what the block returned [rows, width]

    def dense(self) -> Tensor:
        """Received weights by expert, float64 [rows, experts]."""
        out = torch.zeros(self.logits.shape, dtype=torch.float64)
        return out.scatter_(1, self.index, self.weights.double())

    def received(self) -> Tensor:
        """Which experts were received, bool [rows, experts]."""
        return torch.zeros(self.logits.shape, dtype=torch.bool).scatter_(1, self.index, True)

    def busiest(self) -> list[int]:
        """Experts, the most selected first."""
        return self.received().sum(0).argsort(descending=True, stable=True).tolist()


class Watched(NamedTuple):
    """All MoE layers of one forward, and the model's logits."""

    layers: dict[int, Seen]
    logits: Tensor


def _rows(x: Any) -> Tensor:
    x = x[0] if isinstance(x, tuple) else x
    return x.detach().as_subclass(Tensor).reshape(-1, x.shape[-1])


@torch.no_grad()
def watch(model: MoEModel, plan: Plan | None, ids: Tensor, **kwargs: Any) -> Watched:
    """One forward, steered or not, seen through the tests' own hooks."""
    logits: list[Tensor] = []
    (layers,) = watch_all(model, plan, lambda: logits.append(model.hf(ids, **kwargs).logits))
    return Watched(layers, logits[0])


@torch.no_grad()
def watch_all(model: MoEModel, plan: Plan | None, run: Callable[[], Any]) -> list[dict[int, Seen]]:
    """Every forward of `run()`, in order."""
    parts: list[dict[int, dict[str, Tensor]]] = []
    first = model.anatomy.moe_layers[0]

    def router(layer: int, logits: Tensor) -> None:
        if layer == first:
            parts.append({n: {} for n in model.anatomy.moe_layers})
        parts[-1][layer]["logits"] = logits

    def received(layer: int, args: Any) -> None:
        parts[-1][layer].update(index=_rows(args[1]).clone(), weights=_rows(args[2]).clone())

    def block(layer: int, hidden: Tensor, out: Tensor) -> None:
        parts[-1][layer].update(hidden=hidden, block=out)

    with ExitStack() as stack:
        for n in model.anatomy.moe_layers:
            hook = reference.router_of(model.hf, n).register_forward_hook(lambda m, a, o, n=n: router(n, _rows(o[0])))
            stack.callback(hook.remove)
            hook = reference.block_of(model.hf, n).register_forward_hook(
                lambda m, a, kw, o, n=n: block(n, _rows(a[0] if a else kw["hidden_states"]), _rows(o)), with_kwargs=True
            )
            stack.callback(hook.remove)
        stack.enter_context(steered(model, plan or Plan()))
        for n in model.anatomy.moe_layers:  # registered last, so it sees what really arrives
            experts = reference.experts_of(model.hf, n)
            stack.callback(experts.register_forward_pre_hook(lambda m, a, n=n: received(n, a)).remove)
        run()
    return [{n: Seen(**found) for n, found in layers.items()} for layers in parts]


# ---- edits for both sides


def plan_of(model: MoEModel, specs: Sequence[Spec], layers: Sequence[int] | None = None, **scope: Any) -> Plan:
    """The plan that does `specs` in `layers` (all MoE layers unless said)."""
    plan = Plan()
    for n in model.anatomy.moe_layers if layers is None else layers:
        for kind, expert, value in specs:
            ref = ExpertRef(n, 0, True) if expert < 0 else ExpertRef(n, expert)
            make = getattr(Plan, kind)
            plan |= make([ref], **scope) if value is None else make([ref], value, **scope)
    return plan


def edits_of(specs: Sequence[Spec], tokens: Any = None) -> reference.Edits:
    """The same for the reference."""
    routed, shared = [s for s in specs if s[1] >= 0], {k: v for k, e, v in specs if e < 0}
    of: dict[str, Any] = {
        k: frozenset(e for kind, e, _ in routed if kind == k) for k in ("off", "force", "drop", "mute")
    }
    by: dict[str, Any] = {k: {e: v for kind, e, v in routed if kind == k} for k in ("bias", "scale")}
    replace = {e: torch.tensor(v, dtype=torch.float64) for kind, e, v in routed if kind == "replace"}
    scale = 0.0 if "mute" in shared else shared.get("scale", 1.0)
    instead = torch.tensor(shared["replace"], dtype=torch.float64) if "replace" in shared else None
    return reference.Edits(**of, **by, replace=replace, shared_scale=scale, shared_replace=instead, tokens=tokens)


def edit(kind: Any, expert: str, value: Any = None) -> Edit:
    """One edit by its parts."""
    return Edit(kind, ExpertRef.parse(expert), value)


def relative(a: Tensor, b: Tensor) -> float:
    """Norm of the difference over the norm of `b`."""
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30))


def hooks_of(hf: Any) -> list[str]:
    """Everything that hangs on the model: hooks of any kind, and a `generate` of its own."""
    kinds = [k for k in vars(torch.nn.Module()) if "hooks" in k]
    hung = [f"{n}.{k}" for n, m in hf.named_modules() for k in kinds if len(getattr(m, k) or ())]
    return hung + [k for k in ("generate", "forward") if k in hf.__dict__]
