"""Loading: what we cannot see into is refused in one sentence, and what is seen is true."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import families, reference
from tests.support.families import MODELS, SHARED
from tests.support.watching import hooks_of
from workbench import Plan, WorkbenchError, load, steered
from workbench.loading import tiny_model, tiny_tokenizer


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_the_anatomy_is_the_configs(name: str) -> None:
    model = families.get(name)
    config, anatomy = model.hf.config, model.anatomy
    assert anatomy.family == reference.family_of(model.hf)
    assert len(anatomy.layers) == config.num_hidden_layers
    assert anatomy.hidden_size == config.hidden_size
    for layer in anatomy.layers:
        is_moe = hasattr(reference.block_of(model.hf, layer.layer), "experts")
        assert layer.is_moe == is_moe
        if is_moe:
            assert layer.n_experts == len(reference.router_of(model.hf, layer.layer).weight)
            assert layer.top_k == config.num_experts_per_tok
            assert layer.n_shared == (name in SHARED)
            assert model.hf.get_submodule(layer.router) is reference.router_of(model.hf, layer.layer)
            assert model.hf.get_submodule(layer.experts) is reference.experts_of(model.hf, layer.layer)
    assert hooks_of(model.hf) == []


def test_loading_twice_is_loading_once() -> None:
    hf = tiny_model("olmoe")
    a, b = load(hf), load(hf, tiny_tokenizer())
    assert a.anatomy.fingerprint == b.anatomy.fingerprint
    ids = families.ids(a)
    with torch.no_grad(), steered(a, Plan.drop([(0, e) for e in range(16)])):
        assert not torch.equal(b.hf(ids).logits, tiny_model("olmoe")(ids).logits)


def test_the_fingerprint_is_the_weights() -> None:
    one = families.get("olmoe").anatomy.fingerprint
    assert families.build("olmoe").anatomy.fingerprint == one
    assert families.get("olmoe", "bfloat16").anatomy.fingerprint == one, "the dtype does not matter"
    assert families.build("olmoe", seed=1).anatomy.fingerprint != one
    assert families.get("mixtral").anatomy.fingerprint != one


def test_a_plan_of_another_model_is_refused() -> None:
    a, b = families.build("olmoe"), families.build("olmoe", seed=1)
    with steered(a, Plan.off("L0E1")) as plan:
        assert plan.fingerprint == a.anatomy.fingerprint
    with pytest.raises(WorkbenchError, match="another model"), steered(b, plan):
        raise AssertionError("entered")


def test_changed_weights_are_another_model() -> None:
    """Fine-tuned in place and loaded again: plans of before must not pass for plans of now."""
    hf = tiny_model("olmoe")
    before = load(hf).anatomy.fingerprint
    kept = load(hf)
    with torch.no_grad():
        for p in hf.parameters():
            p.mul_(1.5)
    assert load(hf).anatomy.fingerprint != before
    assert kept.anatomy.fingerprint == before


def test_a_folder_loads_as_the_model_it_was(tmp_path: Path) -> None:
    model = families.build("qwen3_moe")
    model.hf.save_pretrained(tmp_path)
    again = load(tmp_path, tiny_tokenizer(), device="cpu")
    ids = families.ids(model)
    with torch.no_grad():
        assert torch.equal(again.hf(ids).logits, model.hf(ids).logits)
    assert again.anatomy.fingerprint == model.anatomy.fingerprint


# ---- refused


def test_a_dense_model_is_refused() -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    message = refused(AutoModelForCausalLM.from_config(config))
    assert "LlamaForCausalLM" in message
    assert "dense" in message


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("tiny/mixtrall", "mixtral"),
        ("nobody/nothing", "nobody/nothing"),
        (3, "int"),
        ("", "names no model; give 'demo', tiny/FAMILY"),
        ("  ", "names no model; give 'demo', tiny/FAMILY"),
        ("/no/such/folder", "/no/such/folder"),
    ],
)
def test_what_is_no_model_is_refused(source: Any, word: str) -> None:
    assert word in refused(source)


def test_a_loaded_model_is_used_as_it_is() -> None:
    assert "not what it returned before: use that as it is" in refused(families.get("mixtral"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert str(tmp_path) in refused(tmp_path)


def test_a_model_already_built_keeps_its_options() -> None:
    assert "already built" in refused(tiny_model("mixtral"), dtype="bfloat16")


def test_an_unknown_dtype_is_refused() -> None:
    assert "flaot32" in refused("tiny/mixtral", dtype="flaot32")


def bypass(what: str, layer: int) -> Any:
    """A tiny mixtral whose block of `layer` computes something else than its modules say."""
    hf = tiny_model("mixtral")
    block = hf.model.layers[layer].mlp

    def forward(hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        router = block.gate.forward if what == "router bypassed" else block.gate
        experts = block.experts.forward if what == "experts bypassed" else block.experts
        _, weights, index = router(rows)
        if what == "selection changed on the way":
            index = (index + 1) % 8
        if what == "weights changed on the way":
            weights = weights * 0.5
        if what == "experts called twice":
            experts(rows, index, weights)
        out = experts(rows, index, weights)
        if what == "outputs ignored":
            out = rows
        return out.view(hidden.shape)

    block.forward = forward
    return hf


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("router bypassed", ["Layer 1", "router ran 0 times"]),
        ("experts bypassed", ["Layer 1", "experts 0 times"]),
        ("experts called twice", ["Layer 1", "experts 2 times"]),
        ("selection changed on the way", ["Layer 1", "did not receive"]),
        ("weights changed on the way", ["Layer 1", "did not receive"]),
        ("outputs ignored", ["[1]", "changed no logit"]),
    ],
)
def test_modules_that_do_not_do_what_they_say_are_refused(what: str, words: list[str]) -> None:
    hf = bypass(what, 1)
    message = refused(hf)
    assert [w for w in words if w not in message] == []
    assert hooks_of(hf) == [] or hooks_of(hf) == ["forward"]


def test_the_wrong_layers_router_is_refused() -> None:
    """Layer 1 routes by layer 2's router: its own never runs, the other runs twice."""
    hf = tiny_model("mixtral")
    block, other = hf.model.layers[1].mlp, hf.model.layers[2].mlp.gate

    def forward(hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        _, weights, index = other(rows)
        return block.experts(rows, index, weights).view(hidden.shape)

    block.forward = forward
    assert "router ran 0 times" in refused(hf)
