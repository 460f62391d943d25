"""What one layer's router turned out to be: how many experts, which rule, and what is particular (hash, skip, identity)."""

from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import WorkbenchError
from workbench.model import MoEBlock, RouterFacts, forward_is_its_own, fused_weights, logits_first, value
from workbench.routing import Fit, Routing, fit_rule

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 5e-3, torch.bfloat16: 3e-2}
Call = tuple[Any, Any]  # positional arguments and keywords
_CHANCE = 4.0  # standard errors by which a router's logits must favour what it selected


def router_facts(
    hf: Any, block: MoEBlock, answer: tuple[Any, ...], received: tuple[Tensor, ...], ids: Tensor, call: Call = ((), {})
) -> RouterFacts:
    """Facts from the router's answer and what the experts received in the survey's forward over `ids`.

    call: with what the router was called then.

    Raises `WorkbenchError` when the two disagree, or when the logits say nothing about the selection.
    """
    logits, routing = checked(block, answer, received, ids.numel())
    probabilities = are_probabilities(block, logits)
    logits = logits.float().clamp_min(torch.finfo(torch.float32).tiny).log() if probabilities else logits
    classes = logits.shape[-1]
    held = _held(block, classes)
    n_experts, skip = (held, True) if classes == held + 1 and routing.index.max() < held else (classes, False)
    asked = spoken(block, call) if _silent(logits) and not probabilities else None
    found, fit = _fit(hf, block, *(asked or (logits, routing)), skip)
    notes = [*identity_notes(block, n_experts, held), *answer_notes(answer, probabilities, skip, classes)]
    refused = dict[str, str]()
    if fit.rule is None:
        reason = _unexplained(block, logits, routing, ids, fit.reason, answer)
        refused = {kind: reason for kind in ("off", "force", "bias")}  # noqa: C420 (keeps the key type str)
        notes += [reason] if "hash" in reason else []
    return RouterFacts(
        n_experts,
        routing.index.shape[-1],
        fit.rule,
        refused,
        tuple(notes),
        probabilities,
        found.get(fit.correction or ""),
        found.get(fit.expert_scale or ""),
    )


def _silent(logits: Tensor) -> bool:
    """Whether every expert has the same logit for every token, as under weights of zeros: then many rules fit alike."""
    return bool((logits == logits.reshape(-1)[0]).all())


@torch.no_grad()
def spoken(block: MoEBlock, call: Call) -> tuple[Tensor, Routing] | None:
    """What the router's own code answers under random matrices in place of its own; None where it cannot be asked so."""
    args, kwargs = call
    draw = torch.Generator().manual_seed(0)
    other = {
        name: torch.randn(weight.shape, generator=draw).to(weight) * weight.shape[-1] ** -0.5
        for name, weight in block.router.named_parameters()
        if weight.ndim > 1 and not weight.is_meta
    }
    if not other or not (args or kwargs):
        return None
    out = logits_first(torch.func.functional_call(block.router, other, args, kwargs))
    return out[0].float(), Routing(out[1], out[2])


def checked(block: MoEBlock, out: tuple[Any, ...], received: tuple[Tensor, ...], tokens: int) -> tuple[Tensor, Routing]:
    """Logits [tokens, experts] and the selection, after checking that router and experts agree on them."""
    where = f"Layer {block.layer} ('{block.router_name}')"
    shapes = [tuple(x.shape) for x in out if isinstance(x, Tensor)]
    if len(shapes) < 3 or out[0].shape[0] != tokens or out[1].shape != out[2].shape or out[1].shape[0] != tokens:
        raise WorkbenchError(
            f"{where}: the router returned {shapes}, and we know (logits [tokens, experts], weights and index [tokens, k]); "
            f"this family is not supported, unless an adapter says how it routes (workbench/model/adapters.py)."
        )
    if not out[0].isfinite().all() or not out[1].isfinite().all():
        raise WorkbenchError(
            f"{where}: the router's logits or weights are not finite on random tokens, so nothing can be measured; look at the "
            f"weights and at the dtype."
        )
    _, index, weights = received
    if not torch.equal(out[2].to(index.device), index) or not torch.equal(out[1].to(weights.device), weights):
        raise WorkbenchError(
            f"{where}: the experts did not receive what the router selected, so routing cannot be trusted."
        )
    return out[0], Routing(out[1], out[2])


def are_probabilities(block: MoEBlock, logits: Tensor) -> bool:
    """Whether every row is a distribution. Fine where the family's own router says so; a wrapper that does it is refused."""
    rows = logits.float()
    if not ((rows >= 0).all() and ((rows.sum(-1) - 1).abs() < 1e-2).all()):
        return False
    router = block.router
    hooked = bool(router._forward_hooks) or not forward_is_its_own(router)
    if hooked or not type(router).__module__.startswith("transformers."):
        raise WorkbenchError(
            f"Layer {block.layer} ('{block.router_name}'): the router reports probabilities (rows sum to 1) in place of its "
            f"logits, through a hook or a class that is not transformers' own; remove what changes its answer."
        )
    return True


def _held(block: MoEBlock, classes: int) -> int:
    """Experts that have weights: the rows of the fused weights (the smallest, where they differ); else every class."""
    return min((p.shape[0] for p in fused_weights(block.experts)), default=classes)


def _fit(
    hf: Any, block: MoEBlock, logits: Tensor, routing: Routing, skip: bool
) -> tuple[dict[str, tuple[nn.Module, str]], Fit]:
    found = vectors(block, logits.shape[-1])
    tensors = {n: value(m, a).detach().reshape(-1) for n, (m, a) in found.items()}
    config = hf.config.get_text_config()
    fit = fit_rule(
        logits,
        routing,
        {n: t.to(logits.device) for n, t in tensors.items()},
        groups(config, block.router),
        _TOLERANCE.get(routing.weights.dtype, 3e-2),
        skip=skip,
        jitter=getattr(config, "router_jitter_noise", None),
    )
    return found, fit


def vectors(block: MoEBlock, n_classes: int) -> dict[str, tuple[nn.Module, str]]:
    """One number per expert, in the router or its block: candidates for a correction bias or a scale.

    A layer's own `bias` is in the logits already. What is called a correction comes first. A vector of equal numbers would
    fit as any correction; it counts only where its name says bias.
    """
    found: dict[str, tuple[nn.Module, str]] = {}
    for module in (*block.router.modules(), block.block):
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if tensor.numel() != n_classes or not tensor.is_floating_point() or name in ("bias", "weight"):
                continue
            if "bias" in name or bool(((held := value(module, name)) != held.reshape(-1)[0]).any()):
                found.setdefault(name, (module, name))
    return dict(sorted(found.items(), key=lambda item: "correction" not in item[0]))


def groups(config: Any, router: nn.Module) -> tuple[int, int]:
    names = ("n_group", "num_expert_group")
    n = getattr(router, "num_group", None) or next((v for v in (getattr(config, x, None) for x in names) if v), 1)
    kept = getattr(router, "topk_group", None) or getattr(config, "topk_group", None) or 1
    return int(n), int(kept)


def identity_notes(block: MoEBlock, n_experts: int, held: int) -> list[str]:
    if n_experts <= held or block.adapter is not None:
        return []
    return [f"experts {held}-{n_experts - 1} are zero (identity) experts: they return their input"]


def answer_notes(answer: tuple[Any, ...], probabilities: bool, skip: bool, classes: int) -> list[str]:
    notes = ["the router reports probabilities; their logarithms are stored as logits"] if probabilities else []
    return notes + (
        [f"class {classes - 1} of the router skips the experts: its slots name L*E0 with weight 0"] if skip else []
    )


def _unexplained(
    block: MoEBlock, logits: Tensor, routing: Routing, ids: Tensor, reason: str, answer: tuple[Any, ...]
) -> str:
    """Why no rule was found; raises where the logits have nothing to do with the selection."""
    if is_hash(ids.reshape(-1).to(routing.index.device), routing.index):
        return "a hash router: the token's id alone selects the experts, its logits only weigh them"
    score = favour(logits, routing.index)
    if not score > _CHANCE:
        raise WorkbenchError(
            f"Layer {block.layer} ('{block.router_name}'): the logits that the router reports say nothing about the experts it "
            f"selects (selected ones lie {score:.1f} standard errors above the others), so they are not this routing's logits."
        )
    follow = follow_logits(logits, routing)
    if follow < 0:
        raise WorkbenchError(
            f"Layer {block.layer} ('{block.router_name}'): the weights that the router gives do not follow the logits of the "
            f"experts it gives them to (mean correlation {follow:.2f}), so index and weights do not belong together."
        )
    if len(answer) > 3:
        return f"the router returns {len(answer)} values, and its weights depend on more than its logits"
    return reason


def is_hash(ids: Tensor, index: Tensor) -> bool:
    """Equal tokens always get equal experts, wherever they stand (the probe repeats some)."""
    same = ids[:, None] == ids[None, :]
    same.fill_diagonal_(False)
    a, b = same.nonzero(as_tuple=True)
    chosen = index.sort(-1).values
    return len(a) >= 8 and bool((chosen[a] == chosen[b]).all())


def favour(logits: Tensor, index: Tensor) -> float:
    """How far the selected experts' logits lie above their row's mean, in standard errors over tokens."""
    rows = logits.float()
    rows = (rows - rows.mean(-1, keepdim=True)) / rows.std(-1, keepdim=True).clamp_min(1e-12)
    lift = rows.gather(-1, index.clamp_max(rows.shape[-1] - 1)).mean(-1)
    return (lift.mean() / (lift.std() / len(lift) ** 0.5).clamp_min(1e-12)).item()


def follow_logits(logits: Tensor, routing: Routing) -> float:
    """Mean correlation over tokens of the selected experts' weights with their logits; 1 where there is one expert."""
    k = routing.index.shape[-1]
    if k == 1:
        return 1.0
    chosen = logits.float().gather(-1, routing.index.clamp_max(logits.shape[-1] - 1))
    a, b = (x - x.mean(-1, keepdim=True) for x in (chosen, routing.weights.float()))
    return ((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-12)).mean().item()
