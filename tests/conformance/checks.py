"""One function per promise, each for a family and a dtype: workbench's answer against the oracle's, or an error."""

import contextvars
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tests.conformance.oracle import Layer, Oracle
from tests.support.reference import Edits
from workbench import Plan, WorkbenchError, capture, load, read_prompts, steered
from workbench.anatomy import CAPABILITIES
from workbench.hooks import recording
from workbench.loading.tiny_configs import FAMILIES
from workbench.model import MoEModel

CLOSE = {"float32": 2e-4, "bfloat16": 4e-2}  # relative to the largest: of a forward through all layers
REFUSED = ("doge", "nllb-moe", "switch_transformers")
SUPPORTED = tuple(f for f in FAMILIES if f not in REFUSED)
TEXT = "Who routes?"
LENGTH = 12  # its tokens: one a byte, and the end


class Case(NamedTuple):
    """A family's tiny model, what workbench says of it, and the oracle."""

    model: MoEModel
    oracle: Oracle
    ids: Tensor

    @property
    def last(self) -> int:
        """The last MoE layer."""
        return self.model.anatomy.moe_layers[-1]

    @property
    def layer(self) -> Layer:
        """The oracle's last MoE layer."""
        return self.oracle.layers[self.last]


@cache
def case(family: str, dtype: str = "float32") -> Case:
    """Built once; nobody changes its weights."""
    model = load(f"tiny/{family}", device="cpu", dtype=dtype)
    ids = model.tokenizer(TEXT, return_tensors="pt").input_ids
    assert ids.shape == (1, LENGTH)
    return Case(model, Oracle(model.hf), ids)


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-9)).item()


# ---- anatomy


def check_anatomy(family: str) -> None:
    """Layers, experts, top-k and shared experts are those that the modules and the config say."""
    model, oracle, ids = case(family)
    oracle.run(ids)
    assert model.anatomy.moe_layers == tuple(oracle.layers)
    assert len(model.anatomy.layers) == len(oracle.decoders)
    for n, layer in oracle.layers.items():
        found = model.anatomy.layer(n)
        assert (found.n_experts, found.top_k) == (layer.n_experts, layer.k), n
        names = [k for k, _ in layer.outer.named_children()]
        assert found.n_shared == sum(
            k in ("shared_expert", "shared_experts", "shared_mlp", "share_expert") for k in names
        ), n


# ---- what is captured


def check_routing(family: str, dtype: str) -> None:
    """The store's slots are what the model's own experts received; the rule's selection, where no tie decides."""
    frames, oracle = _captured(family, dtype)
    for n, layer in oracle.layers.items():
        mine = _dense(frames["slots"], n, layer.n_experts)
        assert relative(mine, layer.received()) < (1e-5 if dtype == "float32" else 1e-2), f"layer {n}: weights"
        if "off" in case(family).model.anatomy.layer(n).refused:
            continue
        ours, clear = layer.answer(Edits())[0], layer.clear(Edits(), dtype)
        assert ((mine != 0) == (ours != 0))[clear].all(), f"layer {n}: index"


def check_logits(family: str, dtype: str) -> None:
    """Router logits are those that the router answered."""
    frames, oracle = _captured(family, dtype)
    for n, layer in oracle.layers.items():
        rows = frames["logits"].query("layer == @n").sort_values("position")["router_logits"]
        mine = torch.tensor(np.stack(list(rows)))
        assert relative(mine, layer.logits) < 1e-6, f"layer {n}"


def check_norms(family: str, dtype: str) -> None:
    """L2 norm, largest absolute value and its channel of every slot's own output."""
    frames, oracle = _captured(family, dtype)
    close = 1e-5 if dtype == "float32" else 3e-2
    for n, layer in oracle.layers.items():
        slots = _routed(frames["slots"], n)
        truth = layer.expert_outputs[torch.tensor(slots.position.to_numpy()), torch.tensor(slots.expert.to_numpy())]
        assert relative(torch.tensor(slots.output_l2.to_numpy()), truth.norm(dim=-1)) < close, f"layer {n}: l2"
        largest = truth.abs().max(-1).values
        assert relative(torch.tensor(slots.output_max_abs.to_numpy()), largest) < close, f"layer {n}: max_abs"
        channel = torch.tensor(slots.output_argmax.to_numpy()).long()
        at = truth.abs().gather(1, channel[:, None])[:, 0]
        assert (at >= largest * (1 - 2 * close)).all(), f"layer {n}: argmax"


def check_outputs(family: str, dtype: str) -> None:
    """Every slot's output vector."""
    frames, oracle = _captured(family, dtype)
    for n, layer in oracle.layers.items():
        rows = _routed(frames["outputs"], n)
        truth = layer.expert_outputs[torch.tensor(rows.position.to_numpy()), torch.tensor(rows.expert.to_numpy())]
        assert relative(torch.tensor(np.stack(list(rows.output))), truth) < (1e-5 if dtype == "float32" else 3e-2)


def check_residual(family: str, dtype: str) -> None:
    """Size of the residual stream at each layer's output."""
    frames, oracle = _captured(family, dtype)
    seen = dict[int, Tensor]()
    handles = [
        d.register_forward_hook(lambda m, a, out, n=n: seen.__setitem__(n, out[0] if isinstance(out, tuple) else out))
        for n, d in enumerate(oracle.decoders)
    ]
    oracle.run(case(family, dtype).ids)
    for handle in handles:
        handle.remove()
    for n, stream in seen.items():
        rows = frames["residual"].query("layer == @n").sort_values("position")
        stream = stream.reshape(-1, stream.shape[-1]).double()
        assert relative(torch.tensor(rows.l2.to_numpy()), stream.norm(dim=-1)) < 1e-5, n
        assert relative(torch.tensor(rows.max_abs.to_numpy()), stream.abs().amax(-1)) < 1e-5, n


def check_routed_change(family: str, dtype: str) -> None:
    """1 - cosine of the residual before and after the routed sum, by taking the sum, and the whole block, away.

    In fp32 alone: differences of two bf16 forwards are too coarse to judge by.
    """
    if dtype != "float32":
        return
    frames, oracle = _captured(family, dtype)
    ids = case(family, dtype).ids
    for n, layer in oracle.layers.items():
        whole = _layer_output(oracle, layer, ids, ())
        step = whole - _layer_output(oracle, layer, ids, (layer.block.experts,))
        beside = [
            m for k, m in layer.decoder.named_children() if k in ("shared_mlp", "shared_expert", "shared_experts")
        ]
        before = _layer_output(oracle, layer, ids, (layer.outer, *beside))
        truth = 1 - torch.cosine_similarity(before, before + step, dim=-1)
        mine = torch.tensor(frames["residual"].query("layer == @n").sort_values("position").routed_change.to_numpy())
        assert ((mine - truth).abs() < 1e-3 * truth.abs().clamp_min(0.05)).all(), n


@torch.no_grad()
def _layer_output(oracle: Oracle, layer: Layer, ids: Tensor, silenced: tuple[Any, ...]) -> Tensor:
    """The decoder layer's output with some modules' outputs set to zero, float64 [tokens, hidden]."""

    def silence(module: Any, args: Any, out: Any) -> Any:
        return (torch.zeros_like(out[0]), *out[1:]) if isinstance(out, tuple) else torch.zeros_like(out)

    kept: list[Tensor] = []
    handles = [m.register_forward_hook(silence) for m in silenced]
    handles.append(
        layer.decoder.register_forward_hook(lambda m, a, out: kept.append(out[0] if isinstance(out, tuple) else out))
    )
    oracle.hf(ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return kept[0].double().reshape(-1, kept[0].shape[-1])


@cache
def _frames(family: str, dtype: str) -> dict[str, pd.DataFrame]:
    model, _, ids = case(family, dtype)
    with tempfile.TemporaryDirectory() as folder:
        prompts = read_prompts([{"id": "a", "text": TEXT}])
        keep = {"norms", "residual", "logits", "outputs"}
        store = capture(model, prompts, Path(folder) / "store", keep=keep, progress=False)
        tokens = store.table("tokens").sort_values("position")
        assert tokens.token_id.tolist() == ids[0].tolist()
        return {n: store.table(n) for n in ("slots", "logits", "outputs", "residual")}


def _captured(family: str, dtype: str) -> tuple[dict[str, pd.DataFrame], Oracle]:
    frames, found = _frames(family, dtype), case(family, dtype)
    found.oracle.run(found.ids)
    return frames, found.oracle


def _routed(table: pd.DataFrame, layer: int) -> pd.DataFrame:
    return table[(table.layer == layer) & (table.slot >= 0)]


def _dense(slots: pd.DataFrame, layer: int, n_experts: int) -> Tensor:
    rows = _routed(slots, layer)
    out = torch.zeros(LENGTH, n_experts, dtype=torch.float64)
    index = torch.tensor(rows.position.to_numpy()) * n_experts + torch.tensor(rows.expert.to_numpy()).long()
    return out.view(-1).index_add_(0, index, torch.tensor(rows.weight.to_numpy()).double()).view(LENGTH, n_experts)


# ---- the steering contracts


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


CAPTURED = {
    "routing": check_routing,
    "logits": check_logits,
    "norms": check_norms,
    "outputs": check_outputs,
    "residual": check_residual,
    "routed_change": check_routed_change,
}
EDITS = ("off", "drop", "mute", "force", "scale", "bias", "replace")
assert {*CAPTURED, *EDITS} == set(CAPABILITIES)


def why_not(family: str, capability: str) -> str | None:
    """The anatomy's reason, with its layers, when some layer refuses this."""
    layers = case(family).model.anatomy.layers
    reasons: dict[str, list[int]] = {}
    for layer in layers:
        if capability in layer.refused:
            reasons.setdefault(layer.refused[capability], []).append(layer.layer)
    moe = list(case(family).model.anatomy.moe_layers)
    return (
        "; ".join(
            reason if at == moe else f"layers {', '.join(map(str, at))}: {reason}" for reason, at in reasons.items()
        )
        or None
    )


def check(family: str, dtype: str, capability: str) -> str | None:
    """None when the capability holds, the anatomy's reason when it is refused; raises when it is promised and broken."""
    reason = why_not(family, capability)
    if capability in CAPTURED:
        if reason is None:
            CAPTURED[capability](family, dtype)
        return reason
    last = case(family).model.anatomy.layer(case(family).last)
    if capability not in last.refused:
        check_edit(family, dtype, capability)
    return reason
