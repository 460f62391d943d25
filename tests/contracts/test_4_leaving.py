"""Contract 4: leaving `steered`, however it happens, restores the model."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import StoppingCriteria

from tests.support import families, reference
from tests.support.families import MODELS, slow
from tests.support.watching import hooks_of, watch
from workbench import Plan, WorkbenchError, steered
from workbench.hooks import plan_in_force, recording
from workbench.hooks.active import active
from workbench.model import MoEModel
from workbench.routing import Dose


class Interrupted(Exception):
    """Raised by the tests inside the model."""


def every_hook(model: MoEModel) -> Plan:
    """A plan that needs every kind of hook: routers, experts, positions, `generate`, shared experts."""
    layers, hidden = model.anatomy.moe_layers, model.anatomy.hidden_size
    plan = Plan()
    for n in layers:
        plan |= Plan.off([(n, 0)], phase="prompt") | Plan.force([(n, 1)], positions="0-") | Plan.bias([(n, 2)], 1.0)
        plan |= Plan.scale([(n, 3)], 2.0, phase="generated") | Plan.drop([(n, 4)]) | Plan.mute([(n, 5)])
        plan |= Plan.replace([(n, 6)], [0.1] * hidden)
        if model.anatomy.layer(n).n_shared:
            plan |= Plan.scale(f"L{n}S0", 0.5)
    return plan


def assert_restored(model: MoEModel, ids: torch.Tensor, base: torch.Tensor) -> None:
    assert hooks_of(model.hf) == []
    assert active(model.runtime.uid) is None
    assert not plan_in_force(model)
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, base)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> MoEModel:
    return families.get(request.param)


@torch.no_grad()
def test_contract_4_return_restores(model: MoEModel) -> None:
    ids = families.ids(model)
    base = model.hf(ids).logits

    def leave_early() -> torch.Tensor:
        with steered(model, every_hook(model), dose=Dose()), recording(model):
            return model.hf(ids).logits

    assert not torch.equal(leave_early(), base)
    assert_restored(model, ids, base)


@pytest.mark.parametrize("where", slow(("router", "experts", "block", "after"), but=("experts",)))
@torch.no_grad()
def test_contract_4_an_exception_inside_the_forward_restores(model: MoEModel, where: str) -> None:
    ids, layer = families.ids(model), families.moe_layer(model)
    base = model.hf(ids).logits
    block = reference.block_of(model.hf, layer)
    inside = {
        "router": reference.router_of(model.hf, layer),
        "experts": block.experts,
        "block": block,
        "after": model.hf.lm_head,
    }[where]

    def fail(*_: Any) -> None:
        raise Interrupted

    with steered(model, every_hook(model), dose=Dose()):
        handle = inside.register_forward_hook(fail)
        with pytest.raises(Interrupted):
            model.hf(ids)
        handle.remove()
        again = model.hf(ids).logits  # still inside: still steered, nothing left over from the broken forward
        assert not torch.equal(again, base)
    assert_restored(model, ids, base)
    with steered(model, every_hook(model), dose=Dose()):
        assert torch.equal(model.hf(ids).logits, again)
    with pytest.raises(Interrupted), steered(model, every_hook(model)), recording(model):  # noqa: PT012
        handle = inside.register_forward_hook(fail)
        try:
            model.hf(ids)
        finally:
            handle.remove()
    assert_restored(model, ids, base)


class _StopByRaising(StoppingCriteria):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt


class _BrokenStreamer:
    """Fails at the third token, as a closed browser tab does."""

    def __init__(self) -> None:
        self.calls = 0

    def put(self, value: Any) -> None:
        self.calls += 1
        if self.calls == 3:
            raise Interrupted

    def end(self) -> None:
        raise AssertionError("the generation was not interrupted")


@pytest.mark.parametrize("how", ["criteria", "streamer"])
def test_contract_4_an_interrupted_generation_restores(model: MoEModel, how: str) -> None:
    ids = families.ids(model, 1)
    with torch.no_grad():
        base = model.hf(ids).logits
    extra: dict[str, Any] = {"stopping_criteria": [_StopByRaising()]} if how == "criteria" else {}
    extra = extra or {"streamer": _BrokenStreamer()}
    with pytest.raises((Interrupted, KeyboardInterrupt)), steered(model, every_hook(model), dose=Dose()):
        model.hf.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None, **extra)
    assert_restored(model, ids, base)


def test_contract_4_a_generator_restores_when_it_is_closed(model: MoEModel) -> None:
    ids = families.ids(model)
    with torch.no_grad():
        base = model.hf(ids).logits

        def steps() -> Iterator[torch.Tensor]:
            with steered(model, every_hook(model)):
                while True:
                    yield model.hf(ids).logits

        stream = steps()
        assert not torch.equal(next(stream), base)
        stream.close()
    assert_restored(model, ids, base)


def test_contract_4_a_plan_that_is_refused_leaves_nothing() -> None:
    model = families.get("olmoe")
    ids = families.ids(model)
    with torch.no_grad():
        base = model.hf(ids).logits
    with pytest.raises(WorkbenchError), steered(model, Plan.off([(0, 99)])):
        raise AssertionError("the block was entered")
    assert_restored(model, ids, base)


@torch.no_grad()
def test_contract_4_nested_blocks_join_and_leave_one_by_one() -> None:
    model = families.get("olmoe")
    ids = families.ids(model)
    used = watch(model, None, ids).layers[2].busiest()[0]
    outer, inner = Plan.off([(0, 1)]), Plan.scale([(2, used)], 4.0, phase="prompt")
    base = model.hf(ids).logits
    with steered(model, outer):
        alone = model.hf(ids).logits
        with steered(model, inner) as joined:
            assert joined.edits == (outer | inner).edits
            both = model.hf(ids).logits
        assert torch.equal(model.hf(ids).logits, alone)
        with pytest.raises(WorkbenchError, match="contradict"), steered(model, Plan.force([(0, 1)])):
            raise AssertionError("the block was entered")
        assert torch.equal(model.hf(ids).logits, alone)
    assert_restored(model, ids, base)
    with steered(model, outer | inner):
        assert torch.equal(model.hf(ids).logits, both)
    assert not torch.equal(both, alone)


def test_contract_4_a_generate_of_the_users_own_survives() -> None:
    """Some libraries set `generate` on the model object: it is called, and it is there afterwards."""
    model = families.build("olmoe")
    original, calls = model.hf.generate, []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(*args, **kwargs)

    model.hf.generate = theirs
    with steered(model, Plan.off([(0, 1)], phase="generated")):
        model.hf.generate(families.ids(model, 1), max_new_tokens=2)
    assert calls == [1]
    assert model.hf.__dict__.get("generate") is theirs
