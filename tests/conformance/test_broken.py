"""Fourteen ways of breaking a model on five families: `load` refuses each with the reason. No sound model is refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conformance.checks.case import SUPPORTED, case
from tests.support import families
from workbench import WorkbenchError, load
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEBlock, find_layout

FIVE = ("mixtral", "deepseek_v3", "gpt_oss", "granitemoeshared", "lfm2_moe")
Break = Callable[[Any, list[MoEBlock]], None]


def answer(block: MoEBlock, change: Callable[[Tensor, Tensor, Tensor], tuple[Any, ...]]) -> None:
    """A hook that changes what the router answers."""
    block.router.register_forward_hook(lambda m, a, out: (*change(*out[:3]), *out[3:]))


def bypass(block: MoEBlock, attribute: str) -> None:
    """The block calls forward itself, so hooks on the module never fire."""
    module = getattr(block, attribute)
    kind = type(module)
    silent = type(f"Silent{kind.__name__}", (kind,), {"__call__": lambda self, *a, **k: kind.forward(self, *a, **k)})
    module.__class__ = silent


def router_bypassed(hf: Any, blocks: list[MoEBlock]) -> None:
    bypass(blocks[-1], "router")


def experts_bypassed(hf: Any, blocks: list[MoEBlock]) -> None:
    bypass(blocks[-1], "experts")


def block_hook_never_fires(hf: Any, blocks: list[MoEBlock]) -> None:
    bypass(blocks[0], "block")


def probabilities_for_logits(hf: Any, blocks: list[MoEBlock]) -> None:
    answer(blocks[-1], lambda logits, w, i: (logits.float().softmax(-1), w, i))


def logits_of_other_tokens(hf: Any, blocks: list[MoEBlock]) -> None:
    answer(blocks[-1], lambda logits, w, i: (logits.roll(7, 0), w, i))


def logits_of_other_experts(hf: Any, blocks: list[MoEBlock]) -> None:
    answer(blocks[-1], lambda logits, w, i: (logits.roll(1, -1), w, i))


def wrong_layers_router(hf: Any, blocks: list[MoEBlock]) -> None:
    """The last block asks the first one's router."""
    name = blocks[-1].router_name.rpartition(".")[2]
    parent = hf.get_submodule(blocks[-1].router_name.rpartition(".")[0])
    parent.__dict__[name] = blocks[0].router
    del parent._modules[name]
    parent._modules["unused"] = blocks[-1].router


def indices_permuted(hf: Any, blocks: list[MoEBlock]) -> None:
    answer(blocks[-1], lambda logits, w, i: (logits, w, i.roll(1, -1)))


def received_permuted(hf: Any, blocks: list[MoEBlock]) -> None:
    """Between router and experts somebody renumbers the experts."""

    def renumber(module: Any, args: Any) -> Any:
        return args[0], (args[1] + 1) % 8, args[2]

    blocks[-1].experts.register_forward_pre_hook(renumber)


def weights_dropped(hf: Any, blocks: list[MoEBlock]) -> None:
    """The experts weigh every expert alike, whatever the router said."""
    own = blocks[-1].experts.forward
    blocks[-1].experts.forward = lambda h, i, w: own(h, i, torch.full_like(w, 1 / w.shape[-1]))


def kernel_swapped(hf: Any, blocks: list[MoEBlock]) -> None:
    """A fused kernel: right numbers, no product that anybody could see."""
    experts = blocks[-1].experts
    own = experts.forward
    experts.forward = lambda h, i, w: own(h.detach(), i, w.as_subclass(Tensor).clone())


def experts_discarded(hf: Any, blocks: list[MoEBlock]) -> None:
    """The experts run, and nothing of what they say goes on."""
    blocks[-1].experts.register_forward_hook(lambda m, a, out: torch.zeros_like(out))
    blocks[-1].block.register_forward_hook(lambda m, a, out: out)


def runs_twice(hf: Any, blocks: list[MoEBlock]) -> None:
    """A wrapper calls the router once more."""
    router = blocks[-1].router
    state = {"inside": False}

    def again(module: Any, args: Any, kwargs: Any, out: Any) -> None:
        if not state["inside"]:
            state["inside"] = True
            module(*args, **kwargs)
            state["inside"] = False

    router.register_forward_hook(again, with_kwargs=True)


def not_a_number(hf: Any, blocks: list[MoEBlock]) -> None:
    with torch.no_grad():
        next(p for p in blocks[-1].router.parameters() if p.ndim == 2).fill_(float("nan"))


BREAKS: dict[str, tuple[Break, str]] = {
    "router bypassed": (router_bypassed, "the router ran 0 times"),
    "experts bypassed": (experts_bypassed, "the experts 0 times"),
    "a block's hook never fires": (block_hook_never_fires, "hooks never fired"),
    "logits replaced by probabilities": (probabilities_for_logits, "reports probabilities"),
    "logits of other tokens": (logits_of_other_tokens, "say nothing about the experts|do not follow the logits"),
    "logits of other experts": (logits_of_other_experts, "say nothing about the experts|do not follow the logits"),
    "wrong layer's router": (wrong_layers_router, "the router ran|outside the one-router-per-layer"),
    "indices permuted": (indices_permuted, "do not follow the logits"),
    "experts renumbered on the way": (received_permuted, "did not receive what the router selected"),
    "weights ignored": (weights_dropped, "not the sum of routing weight|expert outputs passed"),
    "kernels swapped": (kernel_swapped, "expert outputs passed where we look"),
    "experts' output discarded": (experts_discarded, "not the sum of routing weight|changed no logit"),
    "router runs twice": (runs_twice, "the router ran 2 times"),
    "not a number": (not_a_number, "not finite"),
}


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("family", families.slow(FIVE, ("mixtral",)))
def test_a_broken_model_is_refused_with_the_reason(family: str, broken: str) -> None:
    hf = tiny_model(family)
    found = find_layout(hf).blocks
    change, reason = BREAKS[broken]
    change(hf, [found[n] for n in sorted(found)])
    with pytest.raises(WorkbenchError) as said:
        load(hf, tiny_tokenizer())
    assert re.search(reason, str(said.value)), str(said.value)


def test_there_are_at_least_twelve() -> None:
    assert len(BREAKS) >= 12


@pytest.mark.parametrize("family", families.slow(SUPPORTED, FIVE))
def test_no_sound_model_is_refused(family: str) -> None:
    assert case(family).model.anatomy.moe_layers


def test_a_sound_model_of_unknown_rule_loads_without_the_edits_that_need_one() -> None:
    hf = tiny_model("mixtral")
    for layer in hf.model.layers:
        layer.mlp.gate.register_forward_hook(lambda m, a, out: (out[0], out[1].square(), out[2]))
    model = load(hf, tiny_tokenizer())
    assert all({"off", "force", "bias"} <= set(x.refused) for x in model.anatomy.layers)
