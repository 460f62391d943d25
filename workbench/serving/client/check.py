"""What a started engine can do with plans, found by trying: every layer bound, its rule known, a canary request steered.

Where that fails the engine serves, and plans are refused with the reason.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from workbench.anatomy import Anatomy, ExpertRef
from workbench.backends import Batch, Capabilities, Keep
from workbench.errors import WorkbenchError
from workbench.model import Facts
from workbench.plan import KINDS, ROUTING_KINDS, Plan
from workbench.routing import CompiledPlan, compile_plan
from workbench.serving.client.calls import Calls
from workbench.serving.client.engine import Vllm

_TOKENS = 48
_WHY = {
    "span": "what is open between two tokens is not followed there yet",
    "norms": "its kernels sum the experts' outputs before anybody sees them",
    "residual": "only routing is read there",
    "outputs": "its kernels sum the experts' outputs before anybody sees them",
    "router_input": "only routing is read there",
    "inner": "its kernels sum the experts' outputs before anybody sees them",
    "shaping": "it has its own ways to shape logits",
    "shared": "only what the router chooses is reached there",
}
FULL = Capabilities(
    "vllm",
    scopes=frozenset({"phase", "positions"}),
    keep=frozenset({"logits"}),
    shaping=frozenset(),
    shared=False,
    together=True,
    why=_WHY,
)


def checked(calls: Calls, facts: Facts, reasons: list[str]) -> Vllm:
    """The engine, with what it can do. reasons: why it could not serve plans, as far as that is known before it is asked."""
    engine = Vllm(calls, facts, FULL)
    reasons = reasons or [*_unbound(calls, facts.anatomy)]
    if reasons:
        return _without(engine, KINDS, reasons[0], keep=None)
    ids = _canary_ids(facts)
    routed = _routed(engine, ids)
    rules = json.loads(calls.worker("workbench_rules"))
    unknown = [found["reason"] for found in rules.values() if "reason" in found]
    if unknown:
        engine = _without(engine, ROUTING_KINDS, unknown[0], keep=FULL.keep)
    failed = _failed(engine, ids, routed, "mute" if unknown else "off")
    return engine if failed is None else _without(engine, KINDS, failed, keep=FULL.keep)


def _without(engine: Vllm, kinds: Any, reason: str, *, keep: frozenset[str] | None) -> Vllm:
    can = replace(FULL, edits=FULL.edits - frozenset(kinds), keep=keep, why={**_WHY, "edits": reason, "keep": reason})
    return replace(engine, can=replace(can, scoring=keep is not None))


def _unbound(calls: Calls, anatomy: Anatomy) -> Iterator[str]:
    """Why no plan can be served, before anything runs."""
    try:
        told = _layers(calls)
    except WorkbenchError as error:
        yield str(error)
        return
    yield from told["reasons"]
    there = {number: (n_experts, top_k) for number, n_experts, top_k in told["layers"]}
    here = {x.layer: (x.n_experts, x.top_k) for x in anatomy.layers if x.is_moe}
    if there != here:
        yield f"vLLM has the MoE layers {there} (experts, top-k), and the checkpoint {here}"


def _layers(calls: Calls) -> dict[str, Any]:
    try:
        return json.loads(calls.worker("workbench_layers"))
    except Exception as error:  # of a worker in a process of its own vLLM says the error as one of its own
        raise WorkbenchError(
            f"the workbench's plugin is not at work in vLLM's processes ({type(error).__name__}); its version has to be 0.32"
        ) from error


def _canary_ids(facts: Facts) -> list[int]:
    length = min(_TOKENS, (facts.anatomy.context_length or _TOKENS + 2) - 2)
    drawn = torch.randint(facts.n_embeddings, (length,), generator=torch.Generator().manual_seed(0))
    return drawn.tolist()


def _routed(engine: Vllm, ids: list[int]) -> dict[int, torch.Tensor]:
    """By layer the experts [tokens, k] that receive the canary's tokens."""
    portions = engine.run(Batch([ids]), _empty(engine), keep=Keep())
    records = [portion.record for portion in portions if portion.record is not None]
    return {n: torch.cat([record.layers[n].index for record in records]) for n in engine.facts.anatomy.moe_layers}


def _failed(engine: Vllm, ids: list[int], routed: dict[int, torch.Tensor], kind: str) -> str | None:
    """Takes from each layer the expert that the last token weighs; half a sentence about the first plan that did nothing."""
    layers = engine.facts.anatomy.moe_layers
    refs = [ExpertRef(n, int(routed[n][-1, 0])) for n in layers]
    plans = [_possible(engine, kind, ref) for ref in refs]
    rows = Batch([ids] * (len(refs) + 1), read=[0] * (len(refs) + 1))
    scores = engine.score_each(rows, [_empty(engine), *plans])
    kept = list(engine.run_each(Batch([ids] * len(refs)), plans, keep=Keep()))
    for number, (ref, plan) in enumerate(zip(refs, plans, strict=True)):
        if torch.equal(scores[0], scores[number + 1]):
            return f"a trial of '{plan.plan}' changed no probability"
        if plan.plan.edits[0].kind == "off" and any(_received(portion, number, ref) for portion in kept):
            return f"a trial of '{plan.plan}' still sent tokens there"
    return None


def _received(portion: Any, number: int, ref: ExpertRef) -> bool:
    mine = torch.from_numpy(portion.where.sequence == number)
    return bool((portion.record.layers[ref.layer].index[mine] == ref.expert).any())


def _possible(engine: Vllm, kind: str, ref: ExpertRef) -> CompiledPlan:
    """Where a layer has no expert to spare, muting it has to do."""
    anatomy = engine.facts.anatomy
    try:
        return compile_plan(getattr(Plan, kind)([ref]), anatomy, None)
    except WorkbenchError:
        return compile_plan(Plan.mute([ref]), anatomy, None)


def _empty(engine: Vllm) -> CompiledPlan:
    return compile_plan(Plan(), engine.facts.anatomy, None)
