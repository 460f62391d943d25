"""The contracts and capture at the real shapes of OLMoE-1B-7B and Qwen3-30B-A3B, in bf16 on CUDA (on the CPU: conftest.py)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.gpu.conftest import Scale
from tests.gpu.real import SHAPES, config_of, fitting, random_model
from workbench import Plan, WorkbenchError, capture, load, steered
from workbench.hooks import recording
from workbench.loading import tiny_tokenizer
from workbench.model import MoEModel
from workbench.routing import Dose

pytestmark = pytest.mark.gpu

EVERYTHING = {"norms", "residual", "logits", "outputs"}


@pytest.fixture(scope="module", params=sorted(SHAPES))
def model(request: pytest.FixtureRequest, scale: Scale) -> Any:
    name = request.param
    config = (
        config_of(name, layers=scale.layers, small=True) if scale.small else fitting(name, scale.device, scale.dtype)
    )
    made = load(random_model(config, scale.device, scale.dtype), tiny_tokenizer())
    print(f"\n{name}: {config.num_hidden_layers} layers on {scale.device}, {made}")
    return made


@pytest.fixture
def ids(model: MoEModel, scale: Scale) -> Tensor:
    shape = (2, 24) if scale.small else (4, 256)
    made = torch.randint(3, 384, shape, generator=torch.Generator().manual_seed(1))
    return made.to(model.device)


@torch.no_grad()
def logits_of(model: MoEModel, ids: Tensor, plan: Plan, dose: Dose | None = None) -> Tensor:
    with steered(model, plan, dose=dose):
        return model.hf(ids, use_cache=False).logits


@torch.no_grad()
def recorded(model: MoEModel, ids: Tensor, plan: Plan, keep: Any = ()) -> Any:
    with steered(model, plan), recording(model, keep) as recorder:
        model.hf(ids, use_cache=False)
        return recorder.take()


def busy(model: MoEModel, ids: Tensor) -> dict[int, int]:
    """The most used expert of each layer."""
    layers = recorded(model, ids, Plan()).layers
    return {n: int(torch.bincount(x.index.flatten()).argmax()) for n, x in layers.items()}


def test_the_anatomy_is_the_configs(model: MoEModel) -> None:
    config = model.hf.config
    for layer in model.anatomy.layers:
        assert (layer.n_experts, layer.top_k) == (config.num_experts, config.num_experts_per_tok)
        assert layer.rule is not None
        assert layer.rule.renormalise is config.norm_topk_prob
        assert not layer.refused


def test_contract_1_nothing_active_changes_nothing(model: MoEModel, ids: Tensor) -> None:
    before = logits_of(model, ids, Plan())
    with pytest.raises(KeyboardInterrupt), steered(model, Plan.off([(0, 1)])):
        raise KeyboardInterrupt
    assert torch.equal(logits_of(model, ids, Plan()), before)
    plain = model.hf.generate(ids[:, :8], max_new_tokens=4, do_sample=False, eos_token_id=None)
    with steered(model, Plan()):
        assert torch.equal(model.hf.generate(ids[:, :8], max_new_tokens=4, do_sample=False, eos_token_id=None), plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.hf.modules())


def test_contract_2_off_never_and_force_always(model: MoEModel, ids: Tensor) -> None:
    chosen = busy(model, ids)
    idle = {n: (e + 1) % model.anatomy.layer(n).n_experts for n, e in chosen.items()}
    off = recorded(model, ids, Plan.off(list(chosen.items())))
    force = recorded(model, ids, Plan.force(list(idle.items())))
    for n in chosen:
        assert not (off.layers[n].index == chosen[n]).any(), f"layer {n}"
        assert (force.layers[n].index == idle[n]).any(-1).all(), f"layer {n}"


def test_contract_3_mute_takes_away_the_weighted_output(model: MoEModel, ids: Tensor) -> None:
    """Of the last layer's routed sum, in bf16's own rounding."""
    layer = model.anatomy.moe_layers[-1]
    expert, sums = busy(model, ids)[layer], list[Tensor]()
    experts = model.runtime.layout.blocks[layer].experts
    record = recorded(model, ids, Plan(), {"outputs"}).layers[layer]
    handle = experts.register_forward_hook(lambda m, a, out: sums.append(out.float().reshape(-1, out.shape[-1])))
    for plan in (Plan(), Plan.mute([(layer, expert)])):
        logits_of(model, ids, plan)
    handle.remove()
    slots, numbers, vectors = record.outputs
    mine = numbers == expert
    weights = record.weight.float().reshape(-1)[slots[mine], None]
    rows = slots[mine] // record.index.shape[-1]
    wanted = sums[0].index_add(0, rows, -vectors[mine].float() * weights)
    assert mine.any()
    assert (sums[1] - wanted).norm() < 1e-2 * sums[0].norm()
    assert (sums[1] - sums[0])[rows].norm() > 10 * (sums[1] - wanted).norm()


def test_contract_6_what_cannot_be_is_refused(model: MoEModel) -> None:
    n, k = (getattr(model.anatomy.layer(0), x) for x in ("n_experts", "top_k"))
    for plan in (
        Plan.force([(0, e) for e in range(k + 1)]),
        Plan.off([(0, e) for e in range(n - k + 1)]),
        Plan.mute([(0, n)]),
    ):
        with pytest.raises(WorkbenchError), steered(model, plan):
            pass


def test_contract_7_padding_and_decoding_agree_where_nothing_is_near(model: MoEModel, ids: Tensor, capsys: Any) -> None:
    """The first layer, whose input does not depend on how it was batched; the share of flips elsewhere is printed."""
    plan, layer = Plan.off([(0, busy(model, ids)[0])]), 0
    n, pad = ids.shape[1], 5
    alone = recorded(model, ids, plan)
    padded = torch.cat([torch.zeros_like(ids[:, :pad]), ids], 1)
    mask = torch.cat([torch.zeros_like(ids[:, :pad]), torch.ones_like(ids)], 1)
    with torch.no_grad(), steered(model, plan), recording(model, ()) as recorder:
        model.hf(padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False)
        left = recorder.take()
        cache = model.hf(ids[:, : n - 1], use_cache=True).past_key_values
        recorder.take()
        model.hf(ids[:, n - 1 :], past_key_values=cache)
        step = recorder.take()
    k = alone.layers[layer].index.shape[-1]
    flips = {}
    for at in alone.layers:
        whole = alone.layers[at].index.view(len(ids), n, k).sort(-1).values
        other = left.layers[at].index.view(len(ids), n + pad, k)[:, pad:].sort(-1).values
        last = step.layers[at].index.view(len(ids), 1, k).sort(-1).values
        flips[at] = (
            (whole != other).any(-1).float().mean().item(),
            (whole[:, -1:] != last).any(-1).float().mean().item(),
        )
        assert not (step.layers[0].index == plan.edits[0].expert.expert).any()
    with capsys.disabled():
        print(f"\n{model.anatomy.family}: tokens with other experts, left-padded and decoded, by layer: {flips}")
    assert flips[0][0] < 0.2, "the first layer sees the same embeddings, through attention alone"


def test_a_capture_holds_what_an_own_loop_over_experts_gives(model: MoEModel, tmp_path: Any) -> None:
    """Index and weights from the router's logits by hand; sizes from each expert's own weights in float32."""
    prompts = [{"id": str(i), "text": "what happened " * (i + 1)} for i in range(3)]
    store = capture(model, prompts, tmp_path / "s", keep=EVERYTHING, layers=[0], generate=2, progress=False)
    slots = store.table("slots", layers=[0]).sort_values(["prompt_id", "position", "slot"])
    logits = store.table("logits").sort_values(["prompt_id", "position"])
    scores = torch.tensor(np.stack(list(logits.router_logits))).softmax(-1)
    best, index = scores.topk(model.anatomy.layer(0).top_k, dim=-1)
    best = best / best.sum(-1, keepdim=True) if model.hf.config.norm_topk_prob else best
    dense = torch.zeros_like(scores)
    mine = torch.tensor(slots.expert.to_numpy()).long().view(len(scores), -1)
    dense.scatter_(1, mine, torch.tensor(slots.weight.to_numpy()).view(mine.shape))
    off = (dense - torch.zeros_like(scores).scatter(1, index, best)).abs().max()
    assert off < 2e-2, "weights follow from the logits"
    outputs = store.table("outputs").merge(slots, on=["prompt_id", "sample", "position", "slot"])
    size = torch.tensor(np.stack(list(outputs.output))).norm(dim=-1)
    assert len(outputs) == len(slots)
    assert torch.allclose(size, torch.tensor(outputs.output_l2.to_numpy()), rtol=1e-2)
    residual = store.table("residual")
    assert residual.l2.notna().all()
    assert set(residual.layer) == set(range(-1, len(model.anatomy.layers)))


def test_capture_agrees_with_the_cpu_in_float32(scale: Scale, tmp_path: Any) -> None:
    """Both real shapes at two layers and a small vocabulary: the same weights on both devices."""
    for name in SHAPES:
        config = config_of(name, layers=2, small=scale.small)
        config.vocab_size = 384
        here = random_model(config, "cpu", torch.float32)
        with torch.device(scale.device):
            there = type(here)(config).to(torch.float32).eval()
        there.load_state_dict(here.state_dict())
        prompts = [{"id": str(i), "text": "what happened " * (i + 1)} for i in range(3)]
        a, b = (
            capture(load(hf, tiny_tokenizer()), prompts, tmp_path / f"{name}{n}", keep=EVERYTHING, progress=False)
            for n, hf in enumerate((here, there))
        )
        key = ["prompt_id", "sample", "position", "layer", "expert"]
        x, y = (s.table("slots").sort_values(key, ignore_index=True) for s in (a, b))
        assert a.anatomy.fingerprint == b.anatomy.fingerprint
        same = (x[key].astype(str) == y[key].astype(str)).all(axis=1)
        assert same.mean() > 0.999, f"{name}: {(~same).sum()} of {len(same)} slots differ"
        for column in ("weight", "output_l2", "output_max_abs"):
            torch.testing.assert_close(
                torch.tensor(x[column][same].to_numpy()), torch.tensor(y[column][same].to_numpy()), rtol=1e-3, atol=1e-4
            )


def test_the_dose_counts_what_the_device_did(model: MoEModel, ids: Tensor) -> None:
    expert, dose = busy(model, ids)[0], Dose()
    base = recorded(model, ids, Plan())
    logits_of(model, ids, Plan.mute([(0, expert)]), dose)
    assert dose.counts().slots_changed == int((base.layers[0].index == expert).sum())


def test_layers_on_several_devices_meet(tmp_path: Any, scale: Scale) -> None:
    """Half of the layers on another device, through accelerate: the same store as on one."""
    pytest.importorskip("accelerate")
    if not scale.small and torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device here")
    from accelerate import dispatch_model

    other = "cpu" if scale.small else "cuda:1"
    first = "cpu" if scale.small else "cuda:0"
    config = config_of("olmoe", layers=4, small=scale.small)
    hf = random_model(config, first, torch.float32)
    a = capture(load(hf, tiny_tokenizer()), ["what happened"], tmp_path / "a", progress=False)
    places = {"model.embed_tokens": first, "model.norm": other, "model.rotary_emb": other, "lm_head": other}
    places |= {f"model.layers.{n}": first if n < 2 else other for n in range(4)}
    split = dispatch_model(hf, places, force_hooks=True)
    b = capture(load(split, tiny_tokenizer()), ["what happened"], tmp_path / "b", progress=False)
    assert a.table("slots")[["position", "layer", "expert"]].equals(b.table("slots")[["position", "layer", "expert"]])
