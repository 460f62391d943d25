"""Contract 5: threads with different plans on one model do not see each other's edits."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
import torch
from torch import Tensor

from tests.support import families
from tests.support.families import MODELS, slow
from tests.support.watching import hooks_of, watch
from workbench import Plan, steered
from workbench.hooks import recording
from workbench.model import MoEModel
from workbench.routing import Dose

SOME = slow(MODELS, but=("demo",))


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def plans(model: MoEModel, ids: Tensor) -> list[Plan]:
    """Five plans that all change the logits in another way; the first is no plan at all."""
    a, b, c, *_, z = watch(model, None, ids).layers[families.moe_layer(model)].busiest()
    made = [Plan(), Plan(), Plan(), Plan(), Plan()]
    for n in model.anatomy.moe_layers:
        made[1] |= Plan.off([(n, a), (n, b)])
        made[2] |= Plan.force([(n, z)], phase="prompt") | Plan.mute([(n, c)])
        made[3] |= Plan.scale([(n, a)], 6.0, positions="1-")
        made[4] |= Plan.replace([(n, a)], [1.0] * model.anatomy.hidden_size) | Plan.drop([(n, b)])
    return made


def together(jobs: list[Callable[[], Tensor]]) -> list[Tensor]:
    """Runs the jobs in as many threads, started at once."""
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], Tensor]) -> Tensor:
        start.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.mark.parametrize("name", SOME)
def test_contract_5_a_hundred_threaded_forwards_do_not_leak(name: str) -> None:
    model = families.get(name)
    ids = families.ids(model, 2, 8)

    def forward(plan: Plan) -> Tensor:
        with torch.no_grad(), steered(model, plan):
            return model.hf(ids).logits

    mine = plans(model, ids)
    expected = [forward(p) for p in mine]
    assert all(not torch.equal(expected[0], x) for x in expected[1:])

    def twenty(n: int) -> Tensor:
        got = [forward(mine[n]) for _ in range(20)]
        assert all(torch.equal(x, expected[n]) for x in got), f"thread {n} computed somebody else's plan"
        return got[-1]

    together([lambda n=n: twenty(n) for n in range(5)])
    assert hooks_of(model.hf) == []


@pytest.mark.parametrize("name", SOME)
def test_contract_5_simultaneous_generations_equal_serial_ones(name: str) -> None:
    model = families.get(name)
    ids = families.ids(model, 2, 6)

    def generate(plan: Plan) -> Tensor:
        with steered(model, plan):
            out = model.hf.generate(
                ids,
                max_new_tokens=5,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
                eos_token_id=None,
            )
        return torch.stack(out.logits)

    mine = plans(model, ids)
    expected = [generate(p) for p in mine]
    for got, wanted in zip(together([lambda p=p: generate(p) for p in mine]), expected, strict=True):
        assert torch.equal(got, wanted)
    assert hooks_of(model.hf) == []


def test_contract_5_recorders_and_doses_belong_to_their_thread() -> None:
    model = families.get("olmoe")
    ids = families.ids(model, 2, 8)
    mine = plans(model, ids)

    def record(plan: Plan) -> Tensor:
        dose = Dose()
        with torch.no_grad(), steered(model, plan, dose=dose), recording(model, keep={"norms", "logits"}) as recorder:
            for _ in range(3):
                model.hf(ids)
        record = recorder.take()
        assert dose.counts().tokens == (3 * ids.numel() if plan else 0)
        return torch.stack([x.output_l2 for x in record.layers.values() if x.output_l2 is not None])

    expected = [record(p) for p in mine]
    for got, wanted in zip(together([lambda p=p: record(p) for p in mine]), expected, strict=True):
        assert torch.equal(got, wanted)


@torch.no_grad()
def test_contract_5_a_plain_thread_is_not_steered_and_a_copied_context_is() -> None:
    model = families.get("olmoe")
    ids = families.ids(model)
    plan = plans(model, ids)[1]

    def forward() -> Tensor:
        with torch.no_grad():
            return model.hf(ids).logits

    base = forward()
    with steered(model, plan), ThreadPoolExecutor(1) as pool:
        changed = forward()
        plain = pool.submit(forward).result()
        copied = pool.submit(copy_context().run, forward).result()
    assert not torch.equal(changed, base)
    assert torch.equal(plain, base)
    assert torch.equal(copied, changed)


@torch.no_grad()
def test_contract_5_two_models_do_not_share_a_plan() -> None:
    a, b = families.build("olmoe"), families.build("olmoe", seed=1)
    ids = families.ids(a)
    base = b.hf(ids).logits
    with steered(a, plans(a, ids)[1]):
        assert torch.equal(b.hf(ids).logits, base)
        assert hooks_of(b.hf) == []


def test_contract_5_hooks_survive_a_neighbour_that_comes_and_goes() -> None:
    """torch enters a hook before it notes that the hook wants keywords, and forgets in the same order: a forward of somebody
    else's that falls between calls the hook without them."""
    model = families.get("olmoe")
    ids = families.ids(model, 1, 2)
    plan = Plan.mute([(n, 1) for n in model.anatomy.moe_layers], phase="prompt")
    ends = threading.Event()

    def come_and_go() -> Tensor:
        while not ends.is_set():
            with steered(model, plan, dose=Dose()):
                pass
        return ids

    def forwards() -> Tensor:
        try:
            with torch.no_grad():
                for _ in range(60):
                    model.hf(ids)
        finally:
            ends.set()
        return ids

    together([come_and_go, come_and_go, forwards])


def test_contract_5_an_inactive_hook_called_without_keywords_does_nothing() -> None:
    """The race above, made certain."""
    from workbench.hooks.points import HookPoint
    from workbench.hooks.register import register

    model = families.get("olmoe")
    layout, layer = model.runtime.layout, 0
    for kind, module in (
        ("forward", layout.base),
        ("experts", layout.blocks[layer].experts),
        ("residual", layout.layers[0]),
    ):
        handles = register(model.runtime, HookPoint(kind, layer if kind != "forward" else -1))
        try:
            for hook in module._forward_pre_hooks.values():
                assert hook(module, ()) is None
        finally:
            for handle in handles:
                handle.remove()
