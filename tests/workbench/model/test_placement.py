"""Where weights lie and how precise they are: offloaded they give the same numbers; what is split or missing is refused."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tests.support import families
from tests.support.families import slow
from workbench import Plan, WorkbenchError, capture, load, steered
from workbench.hooks import recording
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEModel

offloading = pytest.mark.skipif(not find_spec("accelerate"), reason="accelerate is not installed")

# a correction bias that is a buffer, and one that is a parameter; routers that report probabilities; biases; experts alone
OFFLOADED = ("deepseek_v3", "ernie4_5_moe", "gemma4_text", "gpt_oss", "mixtral", "afmoe", "qwen2_moe")


def on_disk(name: str, folder: Path) -> MoEModel:
    """The family's model with its first layer and the embeddings in memory, and the other layers on disk."""
    model = load(f"tiny/{name}", device="cpu", check=False)
    model.hf.save_pretrained(folder / "model")
    layers = {f"model.layers.{n}": "disk" if n else "cpu" for n in range(len(model.anatomy.layers))}
    places = {n: "cpu" for n, _ in model.hf.named_children()} | {
        f"model.{n}": "cpu" for n, _ in model.hf.model.named_children()
    }
    del places["model"], places["model.layers"]
    return load(folder / "model", tiny_tokenizer(), device_map=places | layers, offload_folder=folder / "disk")


def numbers(model: MoEModel, ids: Tensor, plan: Plan) -> list[Tensor]:
    """Logits, and what was recorded of the last MoE layer, under a plan."""
    keep = {"norms", "residual", "logits", "outputs"}
    with torch.no_grad(), steered(model, plan), recording(model, keep) as recorder:
        logits = model.hf(ids, use_cache=False).logits
        record = recorder.take()
    layer = record.layers[model.anatomy.moe_layers[-1]]
    assert layer.logits is not None
    assert layer.output_l2 is not None
    return [logits, layer.index, layer.weight, layer.logits, layer.output_l2, *(r.l2 for r in record.residual.values())]


@offloading
@pytest.mark.parametrize("name", slow(OFFLOADED, ("ernie4_5_moe", "gemma4_text")))
def test_layers_on_disk_give_the_same_numbers_anatomy_and_fingerprint(name: str, tmp_path: Path) -> None:
    here, away = load(f"tiny/{name}", device="cpu"), on_disk(name, tmp_path)
    assert any(p.is_meta for p in away.hf.parameters())
    assert away.anatomy.fingerprint == here.anatomy.fingerprint, "plans made here must hold there"
    assert [x.rule for x in away.anatomy.layers] == [x.rule for x in here.anatomy.layers]
    ids, last = families.ids(here), here.anatomy.moe_layers[-1]
    plan = Plan.off([(last, e) for e in (1, 2)]) | Plan.mute([(here.anatomy.moe_layers[0], 3)])
    base = numbers(here, ids, Plan())
    for chosen in (Plan(), plan):
        for a, b in zip(numbers(here, ids, chosen), numbers(away, ids, chosen), strict=True):
            torch.testing.assert_close(a, b)
    assert not torch.equal(numbers(away, ids, plan)[0], base[0])


@offloading
def test_a_capture_of_an_offloaded_model_is_a_capture(tmp_path: Path) -> None:
    away, options = on_disk("mixtral", tmp_path), {"generate": 3, "progress": False}
    a = capture(families.get("mixtral"), ["what happened"], tmp_path / "a", **options)
    b = capture(away, ["what happened"], tmp_path / "b", **options)
    assert a.anatomy.fingerprint == b.anatomy.fingerprint
    # not bit for bit: how a matrix product is rounded depends on where its memory begins
    pd.testing.assert_frame_equal(a.table("slots"), b.table("slots"), rtol=1e-5, atol=1e-7)


@offloading
@pytest.mark.parametrize("family", ["dbrx", "longcat_flash"])
def test_families_whose_own_forward_breaks_when_offloaded_are_refused(family: str) -> None:
    """longcat_flash breaks in silence: its router reads a weight that is not there, and goes on with whatever memory holds."""
    from accelerate import cpu_offload

    hf = cpu_offload(tiny_model(family), execution_device=torch.device("cpu"))
    with pytest.raises(WorkbenchError, match=r"outside of their modules; load (it|the model) whole"):
        load(hf, tiny_tokenizer())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", slow(("mixtral", "deepseek_v3", "gpt_oss"), ("deepseek_v3",)))
def test_three_precisions_are_captured_and_steered(name: str, dtype: str, tmp_path: Path) -> None:
    model = load(f"tiny/{name}", device="cpu", dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    if dtype != "float16":  # which rounds twice: its fingerprint is its own
        assert model.anatomy.fingerprint == families.get(name).anatomy.fingerprint
    store = capture(model, ["what happened"], tmp_path / "s", keep={"norms", "logits"}, progress=False)
    assert store.plan_json["dtype"] == dtype
    ids, last = families.ids(model), model.anatomy.moe_layers[-1]
    with torch.no_grad():
        base = model.hf(ids, use_cache=False).logits
        with steered(model, Plan.off([(last, 1)])), recording(model, ()) as recorder:
            model.hf(ids, use_cache=False)
            assert 1 not in recorder.take().layers[last].index
        assert torch.equal(model.hf(ids, use_cache=False).logits, base)


# ---- refused: a part of a model, or nothing of it


def refused(source: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(WorkbenchError) as said:
        load(source, *arguments, **options)
    assert "\n" not in str(said.value)
    return str(said.value)


def test_weights_that_are_nowhere_are_refused() -> None:
    from transformers import AutoModelForCausalLM

    hf = tiny_model("mixtral")
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(hf.config)
    assert "has no values for 32 of its weights" in refused(empty, tiny_tokenizer())
    experts = hf.model.layers[1].mlp.experts
    experts.down_proj = nn.Parameter(experts.down_proj.to("meta"))
    assert "1 of its weights (model.layers.1.mlp.experts.down_proj)" in refused(hf, tiny_tokenizer())


def test_numbers_that_overflow_are_refused_with_the_remedy() -> None:
    hf = tiny_model("mixtral").half()
    with torch.no_grad():
        hf.model.layers[0].mlp.experts.down_proj.mul_(1e4)
    assert "overflows in float16 in bfloat16" in refused(hf, tiny_tokenizer())


def test_other_heads_and_other_tokenizers_are_one_sentence(tmp_path: Path) -> None:
    from transformers import AutoModel, AutoModelForSequenceClassification

    hf = tiny_model("mixtral")
    for other in (AutoModelForSequenceClassification, AutoModel):
        assert "predicts no next token" in refused(other.from_config(hf.config), tiny_tokenizer())
    assert "takes a tokenizer of transformers" in refused(hf, 3)
    small = load(tiny_model("mixtral", vocab_size=100), tiny_tokenizer())
    for model, word in ((load(hf), "without a tokenizer"), (small, "the tokenizer is another model's")):
        with pytest.raises(WorkbenchError, match=word):
            capture(model, ["what happened"], tmp_path / "s", progress=False)


def test_an_adapted_module_without_logits_per_token_is_refused() -> None:
    from tests.conformance.test_custom import ChainedExperts, ChainOfExperts

    class Classifier(ChainOfExperts):
        def forward(self, input_ids: Tensor) -> Tensor:
            return super().forward(input_ids)[:, -1]

    assert "no language-model head" in refused(Classifier().eval(), tiny_tokenizer(), adapter=ChainedExperts())


SPLIT = """
import os
import sys
import torch, torch.distributed as dist
from transformers import AutoModelForCausalLM
from transformers.distributed import DistributedConfig
from workbench import WorkbenchError, load
from workbench.loading.tiny import tiny_tokenizer

for options in ({"tp_size": 2}, {"tp_size": 2, "ep_size": 2}):
    hf = AutoModelForCausalLM.from_pretrained(sys.argv[1], distributed_config=DistributedConfig(**options))
    try:
        load(hf, tiny_tokenizer())
        print("LOADED")
    except WorkbenchError as error:
        os.write(1, f"REFUSED {error}\\n".encode())  # in one piece: two processes write here
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_tensor_and_expert_parallel_models_are_refused(tmp_path: Path) -> None:
    """Two processes of the real thing: each holds half of the weights, and would record its half as if it were all."""
    tiny_model("mixtral").save_pretrained(tmp_path / "model")
    (tmp_path / "split.py").write_text(SPLIT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(tmp_path / "split.py"), str(tmp_path / "model")]
    root = Path(__file__).parents[3]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert said.stdout.count("REFUSED MixtralForCausalLM is split over 2 processes") == 4, (
        said.stdout + said.stderr[-3000:]
    )
    assert "LOADED" not in said.stdout
