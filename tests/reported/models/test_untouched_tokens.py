"""An edit moved tokens that it does not touch. Each keeps the router's own answer bit for bit, whoever gave that answer."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import families
from workbench import Plan, compare, load, steered
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEModel
from workbench.routing import Dose

Received = tuple[Tensor, Tensor]  # what the experts of one layer were given: index and weights [tokens, k]


def axk2(shift: float = 0.44) -> MoEModel:
    """Its router scores experts of lost groups 0.0, which wins where scores + bias fall below 0; the rule drops them."""
    hf = tiny_model("axk2")
    for name, tensor in [*hf.named_buffers(), *hf.named_parameters()]:
        if "correction_bias" in name:
            tensor.data -= shift
    return load(hf, tiny_tokenizer())


def token_ids(seed: int = 0, batch: int = 8, length: int = 256) -> Tensor:
    return torch.randint(3, 259, (batch, length), generator=torch.Generator().manual_seed(seed))


def received(model: MoEModel, plan: Plan, ids: Tensor, dose: Dose | None = None, **kwargs: Any) -> Received:
    """What the experts of the first MoE layer were given, seen by a hook that comes after all others."""
    layer, found = model.anatomy.layer(model.anatomy.moe_layers[0]), list[Received]()

    def look(module: Any, args: Any, kwargs: Any) -> None:
        found.append(tuple(x.clone() for x in [*args, *kwargs.values()][1:3]))  # pyright: ignore[reportArgumentType]

    with torch.no_grad(), steered(model, plan, dose=dose or Dose()):
        hook = model.hf.get_submodule(layer.experts).register_forward_pre_hook(look, with_kwargs=True)
        model.hf(ids, **kwargs)
        hook.remove()
    return found[0]


def bits(x: Tensor) -> Tensor:
    return x.view({2: torch.int16, 4: torch.int32}[x.element_size()])


def same_bits(a: Received, b: Received) -> Tensor:
    """Tokens whose answer is the same, slot by slot, bit by bit."""
    return (a[0] == b[0]).all(-1) & (bits(a[1]) == bits(b[1])).all(-1)


def has(answer: Received, expert: int) -> Tensor:
    return (answer[0] == expert).any(-1)


def another_set(a: Received, b: Received) -> Tensor:
    return (a[0].sort(-1).values != b[0].sort(-1).values).any(-1)


def some_expert(answer: Received, rank: int = 0) -> int:
    return torch.bincount(answer[0].reshape(-1)).argsort(descending=True)[rank].item()  # pyright: ignore[reportReturnType]


# ---- a rule that is only nearly the router's


@pytest.mark.parametrize(
    ("shift", "seed", "rank", "amount"),
    [(0.44, 0, 11, 1e-6), (0.44, 1, 0, 1e-6), (0.45, 2, 5, -1e-6), (0.43, 4, 2, -1e-5)],
)
def test_other_experts_come_only_where_the_biased_one_enters_or_leaves(
    shift: float, seed: int, rank: int, amount: float
) -> None:
    model, ids = axk2(shift), token_ids(seed)
    layer = model.anatomy.moe_layers[0]
    base = received(model, Plan(), ids)
    expert = some_expert(base, rank)
    dose = Dose()
    found = received(model, Plan.bias([(layer, expert)], amount), ids, dose)
    moved = has(base, expert) != has(found, expert)
    assert torch.equal(another_set(base, found), moved)
    assert same_bits(base, found)[~has(base, expert) & ~has(found, expert)].all()
    assert moved.sum() < 5
    assert abs(amount) < 5e-6 or not same_bits(base, found)[has(base, expert)].all(), "the edit itself is there"
    assert dose.counts().tokens_unlike > 0, "here the rule is not the router's, and nobody says so"
    assert dose.counts().layers_unlike == (layer,)


def by_the_rule(logits: list[float], correction: list[float], groups: int, kept: int, k: int) -> set[int]:
    """What the paper's rule selects: the `kept` groups with the best two experts, and there the best `k`; nobody else."""
    scores = [1 / (1 + 2.718281828459045 ** -float(x)) + c for x, c in zip(logits, correction, strict=True)]
    size = len(scores) // groups
    best = sorted(range(groups), key=lambda g: -sum(sorted(scores[g * size : (g + 1) * size])[-2:]))[:kept]
    inside = [e for e in range(len(scores)) if e // size in best]
    return set(sorted(inside, key=lambda e: -scores[e])[:k])


class Ruled:
    """A model, tokens, what its experts were given, and the same by the rule, written out; `unlike`: where the two differ."""

    def __init__(self, seed: int) -> None:
        self.model, self.ids, self.said = axk2(), token_ids(seed), list[Tensor]()
        self.layer = self.model.anatomy.layer(self.model.anatomy.moe_layers[0])
        self.router = self.model.hf.get_submodule(self.layer.router)
        hook = self.router.register_forward_hook(lambda m, a, out: self.said.append(out[0]))
        self.base = received(self.model, Plan(), self.ids)
        hook.remove()
        rows = zip(self.base[0].tolist(), self.rule(), strict=True)
        self.unlike = torch.tensor([set(own) != ours for own, ours in rows])
        assert 20 < self.unlike.sum() < 1000

    def rule(self, expert: int = 0, amount: float = 0.0) -> list[set[int]]:
        logits, config = self.said[0].double().clone(), self.model.hf.config
        logits[:, expert] += amount
        how = (self.router.e_score_correction_bias.tolist(), config.n_group, config.topk_group, self.layer.top_k)
        return [by_the_rule(row, *how) for row in logits.tolist()]


def test_what_is_off_leaves_and_a_router_that_is_not_its_rule_is_left_alone_elsewhere() -> None:
    it = Ruled(5)
    expert, dose = some_expert(it.base), Dose()
    found = received(it.model, Plan.off([(it.layer.layer, expert)]), it.ids, dose)
    assert dose.counts().tokens_unlike == int(it.unlike.sum())
    assert not has(found, expert).any()
    assert same_bits(it.base, found)[it.unlike & ~has(it.base, expert)].all()
    forced = received(it.model, Plan.force([(it.layer.layer, expert)]), it.ids)
    assert has(forced, expert).all()
    assert not another_set(it.base, forced)[it.unlike & has(it.base, expert)].any()


@pytest.mark.parametrize("amount", [-0.5, 0.25])
def test_a_bias_moves_others_by_their_groups_alone_and_only_where_the_rule_is_the_routers(amount: float) -> None:
    it = Ruled(6)
    expert = some_expert(it.base, 2)
    found = received(it.model, Plan.bias([(it.layer.layer, expert)], amount), it.ids)
    moved = has(it.base, expert) != has(found, expert)
    before, after = it.rule(), it.rule(expert, amount)
    by_rule = torch.tensor([a != b for a, b in zip(before, after, strict=True)])
    others = another_set(it.base, found) & ~moved
    assert others.any()
    assert not (others & (it.unlike | ~by_rule)).any()
    assert [set(x) for x in found[0][~it.unlike].tolist()] == [
        x for x, u in zip(after, it.unlike, strict=True) if not u
    ]


HALF = (
    "axk2",
    "lfm2_moe",
    "mistral4",
    "phimoe",
)  # routers that score or weigh in half precision, and the rule in float32


@pytest.mark.parametrize("name", HALF)
def test_in_half_precision_too_a_token_keeps_its_router(name: str) -> None:
    model = load(tiny_model(name, dtype=torch.bfloat16), tiny_tokenizer())
    layer, ids = model.anatomy.moe_layers[0], token_ids(6, 4, 128)
    base = received(model, Plan(), ids)
    for rank in (0, 3):
        expert = some_expert(base, rank)
        touched = has(base, expert)
        found = received(model, Plan.bias([(layer, expert)], -1e-7), ids)
        assert same_bits(base, found)[~touched].all()
        assert not another_set(base, found)[~touched].any()
        gone = received(model, Plan.off([(layer, expert)]), ids)
        assert not has(gone, expert).any()
        if name == "lfm2_moe":  # each expert is scored by itself
            assert torch.equal(same_bits(base, gone), ~touched)


def test_forcing_what_is_first_already_is_no_edit() -> None:
    model, ids = families.get("qwen3_moe", "bfloat16"), token_ids(7, 4, 64)
    layer = model.anatomy.moe_layers[0]
    base = received(model, Plan(), ids)
    first = base[0].gather(1, base[1].argmax(-1, keepdim=True))[:, 0]
    expert = int(first.mode().values)
    found, dose = received(model, Plan.force([(layer, expert)]), ids, dose := Dose()), dose
    assert same_bits(base, found)[first == expert].all()
    assert not same_bits(base, found)[~has(base, expert)].any()
    assert (dose.counts().tokens_unlike, dose.counts().layers_unlike) == (0, ())


# ---- a hook of the user's own (routing replay)


@contextmanager
def replay(model: MoEModel, answer: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Iterator[None]:
    """A forward hook on the first router that answers something else."""
    router = model.hf.get_submodule(model.anatomy.layer(model.anatomy.moe_layers[0]).router)
    hook = router.register_forward_hook(lambda m, a, out: (out[0], *answer(*out[:3]), *out[3:]))
    try:
        yield
    finally:
        hook.remove()


def shuffled(rows: slice, seed: int) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Other experts with other weights for some tokens, the same each time."""

    def answer(logits: Tensor, weights: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        k = index.shape[-1]
        others = torch.rand(logits.shape, generator=g).topk(k, dim=-1).indices
        shares = torch.rand(index.shape, generator=g).add(0.1).to(weights.dtype)
        index, weights = index.clone(), weights.clone()
        index[rows], weights[rows] = others[rows], shares[rows]
        return weights, index

    return answer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["mixtral", "olmoe", "deepseek_v3", "qwen3_moe"])
def test_routing_replay_is_kept_where_no_edit_falls(name: str, dtype: str) -> None:
    model, ids = families.get(name, dtype), token_ids(8, 4, 64)
    layer = model.anatomy.moe_layers[0]
    with replay(model, shuffled(slice(40, 140), 1)):
        base = received(model, Plan(), ids)
        expert = some_expert(base)
        replayed = torch.zeros(len(base[0]), dtype=torch.bool)
        replayed[40:140] = True
        off, tiny, forced = (
            received(model, plan, ids)
            for plan in (
                Plan.off([(layer, expert)]),
                Plan.bias([(layer, expert)], 1e-7),
                Plan.force([(layer, expert)]),
            )
        )
    assert not has(off, expert).any()
    assert has(forced, expert).all()
    kept = ~another_set(base, off)
    assert kept[replayed & ~has(base, expert)].all(), "a replayed selection without the expert that is off"
    enters = has(base, expert) != has(tiny, expert)  # where its logit ties with another, which bfloat16's often do
    assert not (another_set(base, tiny) & ~enters)[replayed].any()
    assert dtype == "bfloat16" or not enters[replayed].any()
    assert enters[replayed].float().mean() < 0.1
    if name != "olmoe":  # whose weights are shares of all experts, the one that is off included
        assert same_bits(base, off)[replayed & ~has(base, expert)].all()
        assert same_bits(base, tiny)[replayed & ~has(base, expert) & ~enters].all()


@pytest.mark.parametrize("rows", [slice(3, 8), slice(11, 12), slice(0, 20)])
def test_tokens_whose_router_is_not_its_rule_are_counted_and_said(rows: slice) -> None:
    """20 tokens, two of them padding (0 and 10): those that the hook answers for, and no others."""
    model = families.get("mixtral")
    ids, mask = token_ids(9, 2, 10), torch.ones(2, 10, dtype=torch.long)
    mask[:, 0] = 0
    layer = model.anatomy.moe_layers[0]
    counted = len(set(range(*rows.indices(20))) - {0, 10})
    dose, plan = Dose(), Plan.off([(layer, 1)])
    with replay(model, shuffled(rows, 2)):
        received(model, plan, ids, dose, attention_mask=mask)
        assert (dose.counts().tokens_unlike, dose.counts().layers_unlike) == (counted, (layer,))
        assert f"in {counted} token-layers (layer {layer}) the router's own answer is not" in str(dose.counts())
        received(model, plan, ids, dose, attention_mask=mask)
        assert dose.counts().tokens_unlike == 2 * counted
        inside, outside = Dose(), Dose()
        received(model, Plan.off([(layer, 1)], positions="2-4"), ids, inside, attention_mask=mask)
        columns = [c for c in range(20) if c in range(*rows.indices(20)) and 2 <= c % 10 - 1 <= 4]
        assert inside.counts().tokens_unlike == len(columns)
        received(model, Plan.mute([(layer, 1)]), ids, outside, attention_mask=mask)
        assert outside.counts().tokens_unlike == 0, "an edit that does not go by the rule"


def test_without_a_dose_a_warning_says_it_when_the_block_ends() -> None:
    model, ids = families.get("mixtral"), token_ids(10, 1, 12)
    first, last = model.anatomy.moe_layers[0], model.anatomy.moe_layers[-1]

    @torch.no_grad()
    def twice() -> None:
        with steered(model, Plan.off([(first, 1), (last, 1)])):
            model.hf(ids)
            model.hf(ids)  # each layer's first forward is looked at, and no later one

    with (
        replay(model, shuffled(slice(2, 7), 3)),
        pytest.warns(UserWarning, match=rf"off L{first}E1.*in 5 token-layers \(layer {first}\)"),
    ):
        twice()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twice()


def test_compare_says_it_with_the_dose() -> None:
    model = families.get("demo")
    layer = model.anatomy.moe_layers[0]
    with replay(model, shuffled(slice(0, 1), 4)):
        found = compare(
            model,
            [{"id": "a", "text": "what happened in 1957"}, {"id": "b", "text": "was geschah"}],
            Plan.off([(layer, 1)]),
            metrics={"one": lambda response: 1.0},
            controls=0,
            max_new_tokens=3,
        )
    assert found.dose.tokens_unlike > 0
    assert f"(layer {layer}) the router's own answer is not that of its routing rule" in str(found)
    assert found.to_dict()["dose"]["layers_unlike"] == (layer,)
