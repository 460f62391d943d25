"""Checked by intervening: which layers are heard, from few forwards; silent ones are named, one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conformance.checks.case import SUPPORTED
from tests.support import families
from tests.support.refusals import refused
from workbench import load
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.loading.heard import replayed, surely_heard
from workbench.model import find_layout
from workbench.survey import probe_ids

SOME = ("mixtral", "deepseek_v3", "gpt_oss")


def silenced(hf: Any, layer: int) -> Any:
    """A model whose routed experts of one layer answer zero, by their weights, wherever its adapter finds them."""
    parts = (".experts.", "mlp.input_linear", "mlp.output_linear")
    own = [
        p
        for n, p in hf.named_parameters()
        if f".{layer}." in n and "self_attention" not in n and any(x in n for x in parts)
    ]
    with torch.no_grad():
        for weight in own:
            weight.zero_()
    return hf


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", families.slow(SUPPORTED, SOME))
def test_every_layer_of_a_sound_model_is_heard_at_once(family: str, dtype: str) -> None:
    model = load(tiny_model(family, dtype=getattr(torch, dtype)), tiny_tokenizer(), check=False)
    assert surely_heard(model, probe_ids(model.hf)) == set(model.anatomy.moe_layers)


@pytest.mark.parametrize("family", families.slow([f for f in SUPPORTED if f != "longcat_flash"], SOME))
def test_a_silent_layer_is_named_and_no_other(family: str) -> None:
    """Not of LongCat: some of its experts hand on what they get, and have no weights that could be zero."""
    layers = sorted(find_layout(tiny_model(family)).blocks)
    for layer in {layers[0], layers[-1]}:
        assert f"expert of layers [{layer}] changed no logit" in refused(load, silenced(tiny_model(family), layer))


def test_silent_layers_beyond_one_batch_are_named() -> None:
    hf = tiny_model("mixtral", num_hidden_layers=40, layer_types=None)
    for layer in (0, 31, 32, 39):
        silenced(hf, layer)
    assert "expert of layers [0, 31, 32, 39] changed no logit" in refused(load, hf)


@pytest.mark.parametrize(("layers", "forwards"), [(3, 4), (32, 4), (33, 5)])
def test_a_few_forwards_tell_of_all_layers(layers: int, forwards: int) -> None:
    """The survey's, the recorded one, a batch without mutes, one with them for each 32 layers."""
    hf, ran = tiny_model("mixtral", num_hidden_layers=layers, layer_types=None), list[int]()
    hf.register_forward_pre_hook(lambda *_: ran.append(1))
    load(hf, tiny_tokenizer())
    assert len(ran) == forwards


def test_what_cannot_run_the_batch_is_checked_layer_by_layer() -> None:
    """A model that takes two sequences at most: three layers, three more forwards."""
    hf, ran = tiny_model("mixtral"), list[int]()

    def only_two(module: Any, args: Any) -> None:
        if len(args[0]) > 2:
            raise ValueError("two sequences at most")
        ran.append(1)

    hf.register_forward_pre_hook(only_two)
    load(hf, tiny_tokenizer())
    assert len(ran) == 5
    silenced(hf, 1)
    assert "layers [1] changed no logit" in refused(load, hf)


@pytest.mark.parametrize(("noise", "heard"), [(1e-1, set()), (1e-7, {0, 2})])
def test_a_layer_is_heard_far_above_what_changes_without_a_mute(noise: float, heard: set[int]) -> None:
    """Rounding that differs between two forwards of one batch. Layer 1 is silent, and only looks otherwise."""
    hf, times = silenced(tiny_model("mixtral"), 1), [0]

    def noisy(module: Any, args: Any, out: Tensor) -> Tensor:
        times[0] += 1
        return out * (1 + noise * times[0])

    model = load(tiny_model("mixtral"), tiny_tokenizer(), check=False)
    model.hf.load_state_dict(hf.state_dict())
    model.hf.lm_head.register_forward_hook(noisy)
    assert surely_heard(model, probe_ids(model.hf)) == heard


@torch.no_grad()
def test_routers_answer_what_they_answered_first() -> None:
    model = load(tiny_model("mixtral"), tiny_tokenizer(), check=False)
    router = model.hf.model.layers[1].mlp.gate
    one, other = torch.randn(2, 4, model.hf.config.hidden_size, generator=torch.Generator().manual_seed(0))
    apart = [router(x)[0] for x in (one, other)]
    with replayed(model.runtime):
        same = [router(x)[0] for x in (one, other)]
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], apart[0])
    assert not torch.equal(apart[0], apart[1])


def test_a_layer_that_computes_by_itself_is_not_heard() -> None:
    """Router and experts run as they should, and another computation of the same, which no hook sees, goes on."""
    hf = tiny_model("mixtral")
    block = hf.model.layers[1].mlp

    def forward(hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        _, weights, index = block.gate(rows)
        block.experts(rows, index, weights)
        _, weights, index = block.gate.forward(rows)
        return block.experts.forward(rows, index, weights).view(hidden.shape)

    block.forward = forward
    assert "layers [1] changed no logit" in refused(load, hf)
