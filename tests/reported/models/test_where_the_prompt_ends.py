"""An edit of one phase took the prompt's length from another sequence, and did nothing. Now it is known, or refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.support import families
from workbench import Plan, WorkbenchError, steered
from workbench.comparison import divergence
from workbench.routing import Dose, prompt_length

OPEN, CLOSE = 63, 65  # "<" and ">" of the byte tokenizer


class Loop:
    """A decode loop of one's own on one model, under a plan that mutes a whole layer in one phase; its tokens are counted."""

    def __init__(self, phase: Any = "generated") -> None:
        self.model = families.get("olmoe")
        layer = families.moe_layer(self.model)
        everything = [(layer, e) for e in range(self.model.anatomy.layer(layer).n_experts)]
        self.plan = Plan.mute(everything, phase=phase)

    @torch.no_grad()
    def run(self, length: int, cache: Any = None, rows: int = 1) -> Any:
        ids = families.ids(self.model, rows, length)
        return self.model.hf(ids, past_key_values=cache, use_cache=True).past_key_values

    def changed(self, work: Callable[[], object]) -> int:
        """How many tokens the plan changes while `work` runs."""
        dose = Dose()
        with steered(self.model, self.plan, dose=dose):
            work()
        return dose.counts().tokens_changed


@pytest.mark.parametrize("phase", ["generated", "prompt"])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("earlier", [None, 5, 7, 12])
def test_a_prefill_outside_of_the_block_is_the_prompt_whatever_ran_before(
    phase: str, earlier: int | None, cached: bool
) -> None:
    """`earlier`: the length of a forward of an earlier block, which says nothing of this sequence."""
    loop = Loop(phase)
    if earlier:
        loop.changed(lambda: loop.model.hf(families.ids(loop.model, 1, earlier), use_cache=cached))
    cache = loop.run(7)
    with pytest.warns(
        UserWarning, match=r"^7 cached columns .* are taken for the whole prompt; .*prompt_length"
    ) as said:
        assert loop.changed(lambda: [loop.run(n, cache) for n in (1, 2, 1)]) == (4 if phase == "generated" else 0)
    assert len(said) == 1, "said once, at the first step"


@pytest.mark.parametrize(("phase", "stated", "expected"), [("generated", 7, 3), ("generated", 9, 1), ("prompt", 9, 2)])
def test_the_prompts_length_can_be_stated(phase: str, stated: int, expected: int) -> None:
    loop = Loop(phase)
    loop.changed(lambda: loop.run(12))
    cache = loop.run(7)

    def steps() -> None:
        with prompt_length(stated):
            for _ in range(3):
                loop.run(1, cache)

    assert loop.changed(steps) == expected


def test_a_sequence_begun_in_an_earlier_block_is_known_in_the_next() -> None:
    loop = Loop()
    with steered(loop.model, loop.plan):
        cache = loop.run(6)
    loop.changed(lambda: loop.run(11))
    assert loop.changed(lambda: loop.run(1, cache)) == 1
    loop.run(1, cache)  # unsteered: whose columns come later is known all the same
    assert loop.changed(lambda: loop.run(2, cache)) == 2


def test_sequences_that_take_turns_keep_their_own_prompts() -> None:
    """The short one's answer begins before the long one's prompt ends."""
    loop = Loop()

    def turns() -> None:
        short, long = loop.run(3), loop.run(9)
        for _ in range(2):
            loop.run(1, short)
            loop.run(1, long)

    assert loop.changed(turns) == 4
    assert Loop("prompt").changed(turns) == 3 + 9


def test_a_cache_that_is_copied_or_cut_keeps_its_prompt() -> None:
    loop = Loop()

    def copies() -> None:
        prompt = loop.run(5)
        for _ in range(3):
            one = copy.deepcopy(prompt)
            loop.run(1, one)
            loop.run(1, one)

    assert loop.changed(copies) == 6

    def cut(back: int) -> Callable[[], None]:
        def work() -> None:
            cache = loop.run(5)
            loop.run(3, cache)
            cache.crop(-back)
            loop.run(1, cache)

        return work

    assert loop.changed(cut(2)) == 4
    with pytest.raises(
        WorkbenchError, match="where the prompt ends: 4 cached columns are left of a cache that was cut"
    ):
        loop.changed(cut(4))


def test_a_cache_that_comes_in_a_tuple_is_the_same_cache() -> None:
    loop, model = Loop(), families.get("olmoe")

    @torch.no_grad()
    def tuples() -> None:
        answer = model.hf(families.ids(model, 1, 5), use_cache=True, return_dict=False)
        cache = next(x for x in answer if hasattr(x, "get_seq_length"))
        model.hf(families.ids(model, 1, 1), past_key_values=cache, return_dict=False)

    assert loop.changed(tuples) == 1


def test_a_cache_that_is_emptied_begins_anew() -> None:
    loop = Loop()

    def again() -> None:
        cache = loop.run(5)
        loop.run(1, cache)
        cache.crop(-6)
        loop.run(8, cache)
        loop.run(1, cache)

    assert loop.changed(again) == 2


class Bare:
    """A cache that takes no attributes; everything else is the inner one's."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_without_a_place_for_a_note_a_sequence_is_the_one_before_if_it_goes_on_where_that_ended() -> None:
    from transformers import DynamicCache

    loop = Loop()

    def goes_on() -> None:
        cache: Any = Bare(DynamicCache(config=loop.model.hf.config))
        loop.run(4, cache)
        loop.run(2, cache)

    def another() -> None:
        first: Any = Bare(DynamicCache(config=loop.model.hf.config))
        loop.run(4, first)
        second: Any = Bare(loop_outside)
        loop.run(1, second)

    loop_outside = loop.run(6)
    assert loop.changed(goes_on) == 2
    with pytest.warns(UserWarning, match="^6 cached columns"):
        assert loop.changed(another) == 1


# ---- spans: what is open in a row is that row's own


def spans_changed(model: Any, work: Callable[[], object]) -> int:
    layer, dose = families.moe_layer(model), Dose()
    everything = [(layer, e) for e in range(model.anatomy.layer(layer).n_experts)]
    with steered(model, Plan.mute(everything, span=("<", ">")), dose=dose):
        work()
    return dose.counts().tokens_changed


@torch.no_grad()
def test_what_is_open_belongs_to_the_sequence_and_not_to_the_forward_before() -> None:
    """Two prompts of the same length: one leaves a span open, one does not, and the steps come in the other order."""
    model = families.get("olmoe")
    opened, closed = torch.tensor([[20, 21, OPEN, 22]]), torch.tensor([[20, OPEN, CLOSE, 22]])
    more = torch.tensor([[23]])

    def turns() -> None:
        a = model.hf(opened, use_cache=True).past_key_values
        b = model.hf(closed, use_cache=True).past_key_values
        model.hf(more, past_key_values=a)  # open
        model.hf(more, past_key_values=b)  # not
        model.hf(more, past_key_values=a)  # open

    assert spans_changed(model, turns) == 2 + 2 + 1 + 0 + 1


@torch.no_grad()
def test_spans_refuse_a_cache_that_was_cut_and_one_of_another_sequence() -> None:
    model = families.get("olmoe")
    opened, more = torch.tensor([[20, 21, OPEN, 22]]), torch.tensor([[23]])

    def cut() -> None:
        cache = model.hf(opened, use_cache=True).past_key_values
        cache.crop(-1)
        model.hf(more, past_key_values=cache)

    with pytest.raises(WorkbenchError, match="3 cached columns were not seen"):
        spans_changed(model, cut)
    outside = model.hf(opened, use_cache=True).past_key_values

    def other() -> None:
        model.hf(torch.tensor([[20, 21, 22, 23]]), use_cache=True)
        model.hf(more, past_key_values=outside)

    with pytest.raises(WorkbenchError, match="4 cached columns were not seen"):
        spans_changed(model, other)


# ---- teacher forcing: answers of different lengths in one batch, padded on the left


@pytest.mark.parametrize("phase", ["generated", "prompt"])
@torch.no_grad()
def test_the_divergence_of_a_phase_is_that_of_generating(phase: Any) -> None:
    """KL at each position of the base's answer, against forwards of one's own with a cache, one row at a time."""
    loop = Loop(phase)
    model = loop.model
    prompts = [families.ids(model, 1, n, seed=n)[0].tolist() for n in (4, 9, 6)]
    answers = [families.ids(model, 1, n, seed=40 + n)[0].tolist() for n in (5, 2, 1)]
    found = divergence(model, prompts, answers, [loop.plan], 10_000)[0]

    def stepped(prompt: list[int], answer: list[int], plan: Plan) -> torch.Tensor:
        with steered(model, plan), prompt_length(len(prompt)):
            out = [model.hf(torch.tensor([prompt]), use_cache=True)]
            for token in answer:
                out.append(model.hf(torch.tensor([[token]]), past_key_values=out[-1].past_key_values))
        return torch.stack([o.logits[0, -1] for o in out]).double().log_softmax(-1)

    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        base, other = (stepped(prompt, answer, plan) for plan in (Plan(), loop.plan))
        kl = (base.exp() * (base - other)).sum(-1)
        assert found.kl_first_nats[i] == pytest.approx(float(kl[0]), rel=1e-3, abs=1e-6)
        assert found.kl_nats[i] == pytest.approx(float(kl[: len(answer)].mean()), rel=1e-3, abs=1e-6)
    assert (max(found.kl_first_nats) > 1e-4) == (phase == "prompt")
    assert found.kl_nats[0] > 1e-4


@torch.no_grad()
def test_one_prompt_length_for_each_row() -> None:
    loop = Loop()

    def rows() -> None:
        with prompt_length([2, 5, 6]):
            loop.run(6, rows=3)

    assert loop.changed(rows) == 4 + 1 + 0

    def too_few() -> None:
        with prompt_length([2, 5]):
            loop.run(6, rows=3)

    with pytest.raises(WorkbenchError, match="given 2 rows and this forward has 3"):
        loop.changed(too_few)


# ---- what an earlier forward left behind


@torch.no_grad()
def test_a_layer_by_itself_is_no_part_of_the_forward_of_an_earlier_block() -> None:
    loop = Loop("prompt")
    loop.changed(lambda: loop.run(4))
    block = loop.model.runtime.layout.blocks[families.moe_layer(loop.model)].block
    with steered(loop.model, loop.plan), pytest.raises(WorkbenchError, match="called by itself"):
        block(torch.zeros(1, 4, loop.model.anatomy.hidden_size))


@torch.no_grad()
def test_what_a_failed_forward_had_set_aside_is_not_added_to_another() -> None:
    """`replace` puts vectors aside before the experts run; they fail; the next block has another plan."""
    model, ids = families.get("olmoe"), families.ids(families.get("olmoe"), 1, 5)
    layer = families.moe_layer(model)
    base = model.hf(ids).logits
    every = [(layer, e) for e in range(model.anatomy.layer(layer).n_experts)]
    experts = model.runtime.layout.blocks[layer].experts

    def fail(module: Any, args: Any) -> None:
        raise RuntimeError("interrupted")

    with steered(model, Plan.replace(every, [100.0] * model.anatomy.hidden_size)):
        hook = experts.register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="interrupted"):
            model.hf(ids)
        hook.remove()
    with steered(model, Plan.scale(every, 1.0)):
        assert torch.equal(model.hf(ids).logits, base)
