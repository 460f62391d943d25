"""On a CUDA device: capture and steering agree with the CPU. Needs torch, transformers, pyarrow, pandas and pytest alone.

python -m pytest tests/gpu -m gpu
"""

import pandas as pd
import pytest
import torch

from tests.support.families import FAMILIES
from workbench import Plan, capture, load, steered
from workbench.hooks import recording
from workbench.loading import tiny_model, tiny_tokenizer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def pair(request):
    """The same fp32 model on both devices."""
    there = load(tiny_model(request.param).cuda(), tiny_tokenizer())
    return load(tiny_model(request.param), tiny_tokenizer()), there


def routed(model, ids, plan):
    with torch.no_grad(), steered(model, plan), recording(model, keep={"norms", "logits", "residual"}) as recorder:
        logits = model.hf(ids.to(model.device), use_cache=False).logits
        return logits.cpu(), recorder.take()


@pytest.mark.parametrize("kind", ["", "off", "force", "mute"])
def test_cuda_agrees_with_the_cpu(pair, kind):
    here, there = pair
    refs = [(layer, 1) for layer in here.anatomy.moe_layers]
    plan = getattr(Plan, kind)(refs) if kind else Plan()
    ids = torch.randint(3, 259, (2, 24), generator=torch.Generator().manual_seed(1))
    (cpu_logits, cpu), (cuda_logits, cuda) = routed(here, ids, plan), routed(there, ids, plan)
    assert torch.allclose(cpu_logits, cuda_logits, atol=1e-3)
    for layer, record in cpu.layers.items():
        other = cuda.layers[layer]
        assert torch.equal(record.index.sort(-1).values, other.index.cpu().sort(-1).values)
        assert torch.allclose(record.output_l2.sort(-1).values, other.output_l2.cpu().sort(-1).values, rtol=1e-3)
        assert torch.allclose(cpu.residual[layer].l2, cuda.residual[layer].l2.cpu(), rtol=1e-3)


def test_a_store_from_cuda_equals_one_from_the_cpu(pair, tmp_path):
    prompts = [{"prompt": f"question {i} {'x' * i}"} for i in range(12)]
    stores = [
        capture(m, prompts, tmp_path / name, progress=False) for m, name in zip(pair, ("cpu", "cuda"), strict=True)
    ]
    key = ["prompt_id", "sample", "position", "layer", "expert"]
    a, b = (s.table("slots").sort_values(key, ignore_index=True) for s in stores)
    pd.testing.assert_frame_equal(a[key], b[key])
    pd.testing.assert_series_equal(a["weight"], b["weight"], rtol=1e-3, atol=1e-5)
    pd.testing.assert_series_equal(a["output_l2"], b["output_l2"], rtol=1e-3)


def test_bf16_on_cuda_is_untouched_when_nothing_is_active():
    model = load(tiny_model("qwen3_moe", dtype=torch.bfloat16).cuda(), tiny_tokenizer())
    ids = torch.randint(3, 259, (2, 24)).cuda()
    with torch.no_grad():
        before = model.hf(ids).logits
        with steered(model, Plan.off("L1E1")):
            assert not torch.equal(model.hf(ids).logits, before)
        assert torch.equal(model.hf(ids).logits, before)
