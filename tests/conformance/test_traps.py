"""What looks right and is not: each trap is detected, or its number shown to be right."""

import threading
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conformance.checks.case import relative
from tests.support import families
from workbench import Plan, WorkbenchError, capture, load, read_prompts, steered
from workbench.hooks import recording
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import find_layout

PROMPT = [{"id": "a", "text": "Who routes?"}]


def logits_of(model: Any, ids: Tensor, plan: Plan) -> Tensor:
    with torch.no_grad(), steered(model, plan):
        return model.hf(ids, use_cache=False).logits


def every_expert_muted(model: Any, layer: int) -> Plan:
    return Plan.mute([(layer, e) for e in range(model.anatomy.layer(layer).n_experts)])


# ---- routers whose module never runs


def fused_block(self: Any, hidden: Tensor) -> Any:
    """As transformers' MXFP4 kernels do: routing from the router's weight, without calling the router or the experts."""
    rows = hidden.reshape(-1, hidden.shape[-1])
    logits = F.linear(rows, self.router.weight, self.router.bias)
    best, index = logits.topk(self.router.top_k, dim=-1)
    out = self.experts.forward(rows, index, best.softmax(-1))
    return out.reshape(hidden.shape), logits


def test_kernels_that_never_run_the_router_are_refused_with_the_remedy() -> None:
    hf = tiny_model("gpt_oss")
    for layer in hf.model.layers:
        layer.mlp.forward = fused_block.__get__(layer.mlp)
    with pytest.raises(
        WorkbenchError, match=r"router ran 0 times and the experts 0 times.*use_kernels=False.*dequantize"
    ):
        load(hf, tiny_tokenizer())


def test_mxfp4_experts_of_transformers_are_refused_with_the_remedy() -> None:
    """The real class of quantised gpt-oss checkpoints: its weights are packed blocks, and no kernel for them runs here."""
    from transformers.integrations.mxfp4 import Mxfp4GptOssExperts

    hf = tiny_model("gpt_oss")
    for layer in hf.model.layers:
        layer.mlp.experts = Mxfp4GptOssExperts(hf.config)
        layer.mlp.forward = lambda hidden: (hidden, None)
    with pytest.raises(WorkbenchError, match="dequantize=True"):
        load(hf, tiny_tokenizer())


# ---- router_logits


def test_router_logits_that_are_probabilities_are_said_and_stored_as_logarithms(tmp_path: Any) -> None:
    model = load("tiny/gemma4_text", device="cpu")
    layer = model.anatomy.layers[-1]
    assert layer.probabilities
    assert any("probabilities" in note for note in layer.notes)
    store = capture(model, read_prompts(PROMPT), tmp_path / "s", keep={"logits"}, progress=False)
    rows = torch.tensor(store.table("logits").router_logits.tolist())
    said: list[Tensor] = []
    handle = model.hf.model.layers[0].router.register_forward_hook(lambda m, a, out: said.append(out[0]))
    ids = torch.tensor([store.table("tokens").sort_values("position").token_id.tolist()])
    with torch.no_grad():
        model.hf(ids)
    handle.remove()
    assert torch.allclose(rows.exp().sum(-1), torch.ones(len(rows)), atol=1e-4)
    first = torch.tensor(store.table("logits", layers=[0]).sort_values("position").router_logits.tolist())
    assert torch.allclose(first.exp(), said[0], atol=1e-6)


@pytest.mark.parametrize("family", ["qwen3_moe", "llama4_text", "jamba", "nemotron_h"])
def test_layers_keep_their_numbers_where_transformers_lists_routers_alone(family: str, tmp_path: Any) -> None:
    model = load(f"tiny/{family}", device="cpu")
    store = capture(model, read_prompts(PROMPT), tmp_path / "s", keep={"logits"}, progress=False)
    ids = torch.tensor([store.table("tokens").sort_values("position").token_id.tolist()])
    with torch.no_grad():
        listed = model.hf(ids, output_router_logits=True, use_cache=False).router_logits
    listed = [x for x in listed if x is not None]
    assert model.anatomy.moe_layers != tuple(range(len(listed)))
    for n, logits in zip(model.anatomy.moe_layers, listed, strict=True):
        mine = store.table("logits", layers=[n]).sort_values("position").router_logits.tolist()
        assert torch.allclose(torch.tensor(mine), logits.reshape(len(mine), -1).float(), atol=1e-5)


# ---- backends, compilers, checkpoints


def test_generate_may_swap_the_experts_backend() -> None:
    """On CUDA it decodes with batched_mm after a grouped_mm prefill; here by hand, in the middle of a steered generation."""
    model = families.build("mixtral")
    ids, plan = families.ids(model, batch=1), Plan.off("L1E2") | Plan.scale("L2E3", 3.0)
    with torch.no_grad(), steered(model, plan), recording(model, keep={"norms"}) as recorder:
        with families.implementation(model, "grouped_mm"):
            out = model.hf(ids, use_cache=True)
            recorder.take()
        with families.implementation(model, "batched_mm"):
            swapped = model.hf(ids[:, :1], past_key_values=out.past_key_values)
            mine = recorder.take().layers[2]
        longer = model.hf(torch.cat([ids, ids[:, :1]], 1), use_cache=False)
        whole = recorder.take().layers[2]
    assert torch.allclose(swapped.logits[0, -1], longer.logits[0, -1], atol=1e-4)
    assert torch.equal(mine.index[-1], whole.index[-1])
    assert mine.output_l2 is not None
    assert whole.output_l2 is not None
    assert torch.allclose(mine.output_l2[-1], whole.output_l2[-1], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "inside", "in place"])
def test_compiled_models_are_steered_and_given_back(when: str) -> None:
    model = families.build("mixtral")
    ids, plan = families.ids(model, batch=1), every_expert_muted(model, 1)
    base, wanted = logits_of(model, ids, Plan()), logits_of(model, ids, plan)
    compiled: Any = model.hf
    with torch.no_grad():
        if when == "in place":
            model.hf.compile(backend="eager")
        elif when == "before":
            compiled = torch.compile(model.hf, backend="eager")
        if when != "inside":
            compiled(ids, use_cache=False)
        with steered(model, plan):
            compiled = torch.compile(model.hf, backend="eager") if when == "inside" else compiled
            got = compiled(ids, use_cache=False).logits
        after = compiled(ids, use_cache=False).logits
    assert not torch.allclose(base, wanted, atol=1e-2)
    assert torch.allclose(got, wanted, atol=1e-5)
    assert torch.allclose(after, base, atol=1e-5)


def gradients(model: Any, ids: Tensor, plan: Plan) -> Tensor:
    model.hf.zero_grad()
    with steered(model, plan):
        model.hf(ids, use_cache=False).logits.float().square().mean().backward()
    return model.hf.get_input_embeddings().weight.grad.clone()


def test_gradient_checkpointing_recomputes_under_the_plan() -> None:
    model = families.build("mixtral")
    ids, plan = families.ids(model, batch=1), every_expert_muted(model, 1)
    plain, bare = gradients(model, ids, plan), gradients(model, ids, Plan())
    model.hf.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.hf.train()
    checkpointed = gradients(model, ids, plan)
    assert torch.allclose(checkpointed, plain, atol=1e-6)
    assert not torch.allclose(plain, bare, atol=1e-4)


def test_a_backward_outside_of_the_block_raises_under_checkpointing() -> None:
    model = families.build("mixtral")
    model.hf.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.hf.train()
    with steered(model, Plan.off([(1, e) for e in range(4)])):
        loss = model.hf(families.ids(model, batch=1), use_cache=False).logits.square().mean()
    with pytest.raises((RuntimeError, WorkbenchError)):
        loss.backward()


# ---- one model, several owners


def test_two_workbenches_on_one_model_see_one_plan_and_two_threads_two() -> None:
    hf = tiny_model("mixtral")
    first, second = load(hf, tiny_tokenizer()), load(hf, tiny_tokenizer())
    ids = families.ids(first, batch=1)
    base, plan = logits_of(first, ids, Plan()), every_expert_muted(first, 1)
    wanted = logits_of(first, ids, plan)
    with steered(first, plan):
        assert torch.equal(logits_of(second, ids, Plan()), wanted)
        joined = logits_of(second, ids, every_expert_muted(first, 2))
        found: list[Tensor] = []
        thread = threading.Thread(target=lambda: found.append(logits_of(second, ids, Plan())))
        thread.start()
        thread.join()
    assert torch.equal(found[0], base)
    assert torch.equal(joined, logits_of(second, ids, plan | every_expert_muted(first, 2)))
    assert torch.equal(logits_of(second, ids, Plan()), base)


class LoraLinear(nn.Module):
    """What PEFT puts in place of a linear layer."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_a, self.lora_b = (
            nn.Linear(base.in_features, rank, bias=False),
            nn.Linear(rank, base.out_features, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.lora_b(self.lora_a(x))


class WrappedExperts(nn.Module):
    """What PEFT puts in place of fused experts (`target_parameters`): the same call, handed on."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_layer = base
        self.lora = nn.Linear(2, 2)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_layer(*args, **kwargs)


class Adapted(nn.Module):
    """What PEFT puts around a model: attributes that it does not have are the model's."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_model = base

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_model"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3"])
def test_a_model_with_lora_adapters_is_captured_and_steered(family: str) -> None:
    """Modules of the shape of PEFT's by hand, for the quick tier."""
    hf = tiny_model(family)
    bare = load(tiny_model(family), tiny_tokenizer())
    for layer in hf.model.layers:
        layer.self_attn.o_proj = LoraLinear(layer.self_attn.o_proj)
    for block in find_layout(hf).blocks.values():
        block.block.experts = WrappedExperts(block.experts)
    model = load(Adapted(hf).eval(), tiny_tokenizer())
    assert [x.rule for x in model.anatomy.layers] == [x.rule for x in bare.anatomy.layers]
    assert [x.n_experts for x in model.anatomy.layers] == [x.n_experts for x in bare.anatomy.layers]
    ids = families.ids(model, batch=1)
    layer = model.anatomy.moe_layers[-1]
    with torch.no_grad(), recording(model, keep={"norms"}) as recorder:
        model.hf(ids, use_cache=False)
        index = recorder.take().layers[layer].index
    used = int(index[0, 0])
    with torch.no_grad(), steered(model, Plan.off([(layer, used)])), recording(model, keep=()) as recorder:
        model.hf(ids, use_cache=False)
        assert used not in recorder.take().layers[layer].index
    assert relative(logits_of(model, ids, every_expert_muted(model, layer)), logits_of(model, ids, Plan())) > 1e-3


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("peft"), reason="peft is not installed")
@pytest.mark.parametrize("where", ["attention", "experts", "router"])
def test_peft_itself_is_captured_and_steered(where: str) -> None:
    """LoRA of the real library, with weights that matter, on the attention, on the experts' fused weights, on the router."""
    from peft import LoraConfig, get_peft_model

    more = {"experts": ["experts.gate_up_proj", "experts.down_proj"], "router": ["gate.weight"]}.get(where)
    how = LoraConfig(
        r=2, target_modules=["o_proj"], target_parameters=more, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    wrapped = get_peft_model(tiny_model("deepseek_v3"), how).eval()
    bare, model = load(tiny_model("deepseek_v3"), tiny_tokenizer()), load(wrapped, tiny_tokenizer())
    ids, layer = families.ids(model, batch=1), model.anatomy.moe_layers[-1]
    assert relative(logits_of(model, ids, Plan()), logits_of(bare, ids, Plan())) > 1e-2, (
        "an adapter that changes nothing"
    )
    assert [x.rule for x in model.anatomy.layers] == [x.rule for x in bare.anatomy.layers]
    assert model.anatomy.fingerprint != bare.anatomy.fingerprint, "experts of a tuned model are other experts"
    with torch.no_grad(), recording(model, keep={"norms"}) as recorder:
        model.hf(ids, use_cache=False)
        used = int(recorder.take().layers[layer].index[0, 0])
    with torch.no_grad(), steered(model, Plan.off([(layer, used)])), recording(model, keep=()) as recorder:
        model.hf(ids, use_cache=False)
        assert used not in recorder.take().layers[layer].index
    assert relative(logits_of(model, ids, every_expert_muted(model, layer)), logits_of(model, ids, Plan())) > 1e-3


# ---- images


@pytest.mark.parametrize("family", ["qwen3_vl_moe", "gemma4", "llama4"])
def test_image_tokens_have_their_own_role(family: str, tmp_path: Any) -> None:
    model = load(f"tiny/{family}", device="cpu")
    image = model.image_token
    assert image is not None
    text = f"see {model.tokenizer.convert_ids_to_tokens(image)} here"
    store = capture(model, read_prompts([{"id": "a", "text": text}]), tmp_path / "s", progress=False)
    tokens = store.table("tokens").sort_values("position")
    assert set(tokens.role[tokens.token_id == image]) == {"image"}
    assert (tokens.token_id == image).sum() == 1
    assert "image" not in set(tokens.role[tokens.token_id != image])


def test_images_that_only_some_experts_see_are_refused_rather_than_misplaced() -> None:
    """ernie4_5_vl_moe routes image tokens among other experts: rows would no longer be tokens."""
    model = load("tiny/ernie4_5_vl_moe", device="cpu")
    ids = families.ids(model, batch=1)
    kinds = torch.zeros_like(ids)
    kinds[0, 3:5] = 1
    with recording(model, keep=()), pytest.raises(WorkbenchError, match="experts of one modality"):
        model.hf(ids, use_cache=False, mm_token_type_ids=kinds, moe_mm_token_type_ids=kinds)
