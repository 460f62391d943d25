"""What is recorded of a family against its oracle: anatomy, routing, logits, norms, outputs, the residual stream."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tests.conformance.checks.case import LENGTH, TEXT, case, relative
from tests.conformance.oracle import Layer, Oracle
from tests.support.reference import Edits
from workbench import capture, read_prompts


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
