"""What edits do to a family against its oracle: nothing where none is active, each kind, threads, and refusals."""

import contextvars
import threading
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.conformance.checks.case import CLOSE, Case, case, relative
from tests.support.reference import Edits
from workbench import Plan, WorkbenchError, steered
from workbench.hooks import recording


@torch.no_grad()
def check_nothing(family: str, dtype: str) -> None:
    """Contracts 1 and 4: bit-identical logits after load, inside an empty plan, and after leaving however that goes."""
    model, _, ids = case(family, dtype)
    bare = _bare(family, dtype)
    assert torch.equal(model.hf(ids).logits, bare)
    with steered(model, Plan()):
        assert torch.equal(model.hf(ids).logits, bare)
    with _suppressed(), steered(model, Plan.mute([(case(family).last, 0)])):
        raise KeyboardInterrupt
    assert torch.equal(model.hf(ids).logits, bare)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.hf.modules())
    made = [
        m.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None) for m in (model.hf, _fresh(family, dtype))
    ]
    assert torch.equal(*made)


class _suppressed:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, *rest: Any) -> bool:
        return kind is KeyboardInterrupt


@cache
def _fresh(family: str, dtype: str) -> Any:
    """The same model, never loaded by workbench."""
    from workbench.loading import tiny_model

    return tiny_model(family, dtype=getattr(torch, dtype))


@cache
@torch.no_grad()
def _bare(family: str, dtype: str) -> Tensor:
    return _fresh(family, dtype)(case(family, dtype).ids).logits


def edits_of(found: Case, kind: str) -> tuple[Plan, Edits]:
    """A plan with one edit of this kind in the last MoE layer that moves something, and the same for the oracle."""
    found.oracle.run(found.ids)
    layer, width = found.last, found.layer.expert_input.shape[-1]
    used = found.layer.received().abs().sum(0)
    busy, idle = int(used.argmax()), int(used.argmin())
    vector = torch.linspace(-1, 1, width, dtype=torch.float64)
    return {
        "off": (Plan.off([(layer, busy)]), Edits(off=frozenset({busy}))),
        "force": (Plan.force([(layer, idle)]), Edits(force=frozenset({idle}))),
        "bias": (Plan.bias([(layer, busy)], -3.0), Edits(bias={busy: -3.0})),
        "drop": (Plan.drop([(layer, busy)]), Edits(drop=frozenset({busy}))),
        "scale": (Plan.scale([(layer, busy)], 2.5), Edits(scale={busy: 2.5})),
        "mute": (Plan.mute([(layer, busy)]), Edits(mute=frozenset({busy}))),
        "replace": (Plan.replace([(layer, busy)], vector.tolist()), Edits(replace={busy: vector})),
    }[kind]


@torch.no_grad()
def check_edit(family: str, dtype: str, kind: str) -> None:
    """Contracts 2 and 3, and the other edits: what the experts receive, and the logits, are the oracle's.

    In bf16 the weights alone, on tokens with a clear margin: the oracle's sums are float64.
    """
    found = case(family, dtype)
    if "off" in found.model.anatomy.layer(found.last).refused:  # the oracle has no rule either
        return _check_by_sum(found, kind)
    plan, edits = edits_of(found, kind)
    base = found.oracle.run(found.ids)
    with steered(found.model, plan), recording(found.model, keep=()) as recorder:
        steered_logits = found.model.hf(found.ids, use_cache=False).logits
        record = recorder.take().layers[found.last]
    truth, clear = found.layer.answer(edits)[0], found.layer.clear(edits, dtype)
    mine = found.layer.by_expert(record.index, record.weight)
    assert relative(mine[clear], truth[clear]) < (1e-5 if dtype == "float32" else 2e-2), "weights received"
    if kind in ("off", "force"):
        expert = next(iter(edits.off or edits.force))
        received = (record.index == expert) & (record.weight != 0)
        assert not received.any() if kind == "off" else received.any(-1).all()
    if dtype != "float32" or not clear.all():
        return
    with found.oracle.injected(found.last, edits):
        wanted = found.model.hf(found.ids, use_cache=False).logits
    assert relative(steered_logits, wanted) < CLOSE[dtype], "logits"
    moved = relative(wanted, base)
    assert moved > 10 * relative(steered_logits, wanted), f"the edit moved the logits by {moved:.2g} alone"


def _check_by_sum(found: Case, kind: str) -> None:
    """Layers whose rule is not known: the experts' sum under a weight edit, from the weights that they received before."""
    found.oracle.run(found.ids)
    weights, layer = found.layer.received(), found.layer
    plan, edits = edits_of(found, kind)
    found.oracle.run(found.ids)
    busy = int(weights.sum(0).argmax())
    outputs, new = layer.expert_outputs.clone(), weights.clone()
    if kind == "drop":
        left = weights.clone()
        left[:, busy] = 0
        share = torch.where(left.sum(-1) > 0, weights.sum(-1) / left.sum(-1), 0.0)
        new = torch.where((weights[:, busy] != 0)[:, None], left * share[:, None], weights)
    elif kind == "scale":
        new[:, busy] *= edits.scale[busy]
    elif kind == "mute":
        new[:, busy] = 0
    else:
        outputs[:, busy] = edits.replace[busy]
    wanted = (new[..., None] * outputs).sum(1)
    with steered(found.model, plan):
        sums: list[Tensor] = []
        handle = layer.block.experts.register_forward_hook(lambda m, a, out: sums.append(out))
        found.model.hf(found.ids, use_cache=False)
        handle.remove()
    assert relative(sums[0].reshape(wanted.shape), wanted) < (1e-5 if found.model.dtype == torch.float32 else 3e-2)


@torch.no_grad()
def check_threads(family: str) -> None:
    """Contract 5: two threads with two plans on one model give what each gives alone."""
    found = case(family)
    n = found.model.anatomy.layer(found.last).n_experts
    plans = [Plan.mute([(found.last, e) for e in range(0, n, 2)]), Plan.scale([(found.last, e) for e in range(n)], 0.5)]

    def answer(plan: Plan) -> Tensor:
        with steered(found.model, plan), torch.no_grad():
            return found.model.hf(found.ids, use_cache=False).logits

    alone = [answer(p) for p in plans]
    together: list[list[Tensor]] = [[], []]

    def work(i: int) -> None:
        together[i].extend(answer(plans[i]) for _ in range(3))

    threads = [threading.Thread(target=contextvars.Context().run, args=(work, i)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not torch.equal(*alone)
    for mine, wanted in zip(together, alone, strict=True):
        assert len(mine) == 3
        assert all(torch.equal(m, wanted) for m in mine)


def check_refusals(family: str) -> None:
    """Contract 6: impossible plans are refused with layer and numbers; what the anatomy refuses, with its reason."""
    found = case(family)
    layer = found.model.anatomy.layer(found.last)
    for kind in ("off", "drop", "mute", "force", "scale", "bias", "replace"):
        if kind in layer.refused:
            plan = edits_of(found, kind)[0]
            with _expected(layer.refused[kind]), steered(found.model, plan):
                pass
    impossible = {
        f"{layer.n_experts}": Plan.mute([(found.last, layer.n_experts)]),
        f"selects {layer.top_k}": Plan.force([(found.last, e) for e in range(layer.top_k + 1)]),
        "leaves": Plan.off([(found.last, e) for e in range(layer.n_experts - layer.top_k + 1)]),
    }
    for words, plan in impossible.items():
        if all(e.kind not in layer.refused for e in plan.edits):
            with _expected(words), steered(found.model, plan):
                pass


class _expected:
    def __init__(self, words: str) -> None:
        self.words = words

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        assert kind is WorkbenchError, f"not refused: {self.words}"
        assert self.words in str(error), str(error)
        return True
