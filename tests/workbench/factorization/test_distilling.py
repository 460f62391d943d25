"""Fitting and distilling on a tiny Llama: the student is the rewritten model, learns, goes on after a stop, and holds out."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.errors import WorkbenchError
from workbench.factorization import Groups, Router, Sizes, coactive, fitted, group_sizes, regress, rewrite
from workbench.factorization.distilling import (
    Document,
    Order,
    Recipe,
    Rows,
    additions,
    distil,
    found_in,
    is_held_out,
    lesson,
    losses,
    put_back,
    rows_of,
    student_of,
)

SIZES = Sizes(experts=8, shared=2, top_k=4)
RECIPE = Recipe(ks=(4, 3), rank=2, batch=2, rate=2e-2, router_rate=2e-2, norm_rate=1e-2)


def dense() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.3, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def rows(seed: int = 1) -> Rows:
    drawing = torch.Generator().manual_seed(seed)
    drawn = torch.randint(64, (24, 16), generator=drawing)
    return Rows({"a": drawn[:8], "b": drawn[8:16]}, {"a": drawn[16:20], "b": drawn[20:]})


@torch.no_grad()
def test_groups_are_of_neurons_that_are_active_together():
    # neurons 0-3 speak on even tokens, 4-7 on odd ones, 8-11 always and most: the shared group
    even = torch.tensor([1.0, 0.0]).repeat(8)
    added = torch.stack([*[even * (1 + n) for n in range(4)], *[(1 - even) * (1 + n) for n in range(4)]], 1)
    added = torch.cat([added, torch.full((16, 4), 9.0)], 1)
    found = coactive(added, Sizes(3, 1, 1))
    assert sorted(map(sorted, found.routed.tolist())) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found.shared.tolist() == [8, 9, 10, 11]


def test_neurons_kept_together_lie_in_expert_0_and_never_in_the_shared_one():
    added = torch.rand(32, 64, generator=torch.Generator().manual_seed(0))
    added[:, [5, 40]] = 50.0  # the most active of all
    found = coactive(added, SIZES, kept=[5, 40])
    assert {5, 40} <= set(found.routed[0].tolist())
    assert sorted(torch.cat([found.routed.flatten(), found.shared]).tolist()) == list(range(64))


@torch.no_grad()
def test_the_length_that_a_group_adds():
    neurons, down = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[3.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, 1.0]])
    groups = Groups(torch.tensor([[0, 1], [2, 3]]), torch.tensor([], dtype=torch.int64))
    # group 0 adds (3, 4), group 1 (3, 4)
    assert group_sizes(neurons, down, groups).tolist() == [[5.0, 5.0]]


def test_a_router_tells_the_groups_that_add_most_from_what_the_mlp_reads():
    read = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
    added = torch.stack([read[:, 0], -read[:, 0], read[:, 1]], 1).exp()
    found = regress(read, added, ks=(1,))
    chosen = ((read @ found.weight.T).sigmoid() + found.bias).argmax(1)
    assert (chosen == added.argmax(1)).float().mean() > 0.9
    assert (2 * (read @ found.weight.T).sigmoid() - 1).abs().mean() < 0.2  # every weight near 1


@torch.no_grad()
def test_the_student_is_the_rewritten_model_and_the_dense_one():
    model, ids = dense(), rows().held_out["a"]
    found = fitted(model, rows().learnt["a"], SIZES, (4,))
    before, other = model(ids).logits, rewrite(dense(), found.groups, found.routers, top_k=4)
    student = student_of(model, found, rank=2)
    assert torch.allclose(student.hidden(ids) @ student.head.T, before, atol=1e-4)
    assert torch.allclose(student.hidden(ids, 4) @ student.head.T, other(ids).logits, atol=1e-4)
    assert not torch.allclose(student.hidden(ids, 3), student.hidden(ids, 4), atol=1e-2)


def made(seed: int = 0):
    model = dense()
    return student_of(model, fitted(model, rows().learnt["a"], SIZES, (4,)), rank=2, seed=seed)


@torch.no_grad()
def divergence(student, ids, k) -> float:
    """Mean KL(dense || student), from whole distributions."""
    wanted, own = ((student.hidden(ids, x) @ student.head.T).log_softmax(-1) for x in (None, k))
    return float((wanted.exp() * (wanted - own)).sum(-1).mean())


def test_it_learns_to_say_what_the_dense_model_says_and_leaves_that_as_it_was(tmp_path):
    student, lines = made(), []
    ids = rows().learnt["b"]
    dense, start = student.hidden(ids).detach().clone(), [divergence(student, ids, k) for k in (4, 3)]
    distil(student, rows(), RECIPE, 32 * 120, tmp_path, said=lines.append)
    assert torch.equal(student.hidden(ids), dense)
    assert divergence(student, ids, 4) < start[0]
    assert divergence(student, ids, 3) < 0.9 * start[1]
    assert [line["tokens"] for line in lines] == [32 * 100, 32 * 120]
    assert [tuple(loss[:2]) for loss in lines[-1]["held_out"]] == [("a", 3), ("b", 3), ("a", 4), ("b", 4)]


@torch.no_grad()
def test_a_lesson_is_the_divergence_and_its_gradient():
    student, dense, head = (torch.randn(n, 5, generator=torch.Generator().manual_seed(n)) for n in (7, 7, 11))
    dense = dense.flip(0) + 0.1
    leaf = student.clone().requires_grad_()
    with torch.enable_grad():
        wanted, own = (dense @ head.T).log_softmax(-1), (leaf @ head.T).log_softmax(-1)
        mean = (wanted.exp() * (wanted - own)).sum(-1).mean()
        mean.backward()
    found = lesson(student, dense, head)
    assert found.nats == pytest.approx(float(mean), rel=1e-4)
    assert torch.allclose(found.gradient, leaf.grad, atol=1e-5)


@torch.no_grad()
def test_a_loss_is_of_the_tokens_that_follow_against_the_dense_model():
    student, ids = made(), rows().held_out["a"]
    found = {(x.kind, x.k): x.nats for x in losses(student, {"a": ids}, (3,))}
    shares = [(student.hidden(ids, k) @ student.head.T).log_softmax(-1)[:, :-1] for k in (3, None)]
    own, dense = (-s.gather(-1, ids[:, 1:, None]).mean() for s in shares)
    assert found == {("a", 3): pytest.approx(float(own - dense), abs=1e-4)}


def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path):
    class Stop(Exception):
        pass

    def stop(line):
        raise Stop

    whole, cut = made(), made()
    distil(whole, rows(), RECIPE, 32 * 120, tmp_path / "whole")
    with pytest.raises(Stop):
        distil(cut, rows(), RECIPE, 32 * 120, tmp_path / "cut", said=stop)
    again = made()
    distil(again, rows(), RECIPE, 32 * 120, tmp_path / "cut")
    for name, part in whole.parts.items():
        assert torch.allclose(part, again.parts[name], atol=1e-3), name
    with pytest.raises(WorkbenchError, match="another recipe"):
        distil(again, rows(), replace(RECIPE, rate=1e-3), 32 * 60, tmp_path / "cut")


def test_balancing_moves_the_bias_of_experts_chosen_too_seldom_up(tmp_path):
    student = made()
    student.routed[0].bias[0] = -9.0  # never chosen
    distil(student, rows(), replace(RECIPE, ks=(4,), balance=0.5), 32 * 3, tmp_path)
    assert student.routed[0].bias[0] == pytest.approx(-7.5)


@torch.no_grad()
def test_additions_make_the_dense_model_what_the_student_is(tmp_path):
    model, ids = dense(), rows().held_out["a"]
    found = fitted(model, rows().learnt["a"], SIZES, (4,))
    student = student_of(model, found, rank=2)
    distil(student, rows(), RECIPE, 32 * 20, tmp_path)
    learnt, plain = additions(student, found), dense()
    for name, part in plain.model.named_parameters():
        low = name.removesuffix(".weight")
        if f"{low}.b" in learnt:
            part += learnt[f"{low}.b"].float() @ learnt[f"{low}.a"].float()
        elif name in learnt:
            part += learnt[name].float()
    at = [f"layers.{i}." for i in range(2)]
    groups = [learnt[f"{a}groups"].long() for a in at]
    routers = [Router(learnt[f"{a}router.weight"].float(), learnt[f"{a}router.bias"]) for a in at]
    made = rewrite(plain, [Groups(g[:6], g[6:].flatten()) for g in groups], routers, top_k=4)
    assert torch.allclose(made(ids).logits, student.hidden(ids, 4) @ student.head.T, atol=2e-2)
    assert not torch.allclose(made(ids).logits, student.hidden(ids) @ student.head.T, atol=2e-1)


def test_a_student_goes_on_from_additions_as_the_student_that_wrote_them(tmp_path):
    found = fitted(dense(), rows().learnt["a"], SIZES, (4,))
    first = student_of(dense(), found, rank=2)
    distil(first, rows(), RECIPE, 32 * 20, tmp_path)
    learnt, ids = additions(first, found), rows().held_out["a"]
    again = student_of(dense(), found_in(learnt, SIZES.shared), rank=2, seed=5)
    with torch.no_grad():
        assert not torch.allclose(again.hidden(ids, 4), first.hidden(ids, 4), atol=2e-1)
        put_back(again, learnt)
        assert torch.allclose(again.hidden(ids, 4), first.hidden(ids, 4), atol=2e-2)
        assert torch.equal(again.hidden(ids), first.hidden(ids))  # the dense model is still the dense model
    for name, one in additions(again, found_in(learnt, SIZES.shared)).items():
        assert torch.allclose(one.float(), learnt[name].float(), atol=1e-3), name


def test_rows_follow_in_the_order_of_the_kinds_and_one_named_twice_comes_twice_as_often():
    learnt = {kind: torch.arange(3)[:, None] + start for kind, start in (("a", 0), ("b", 10))}
    once, twice = Order(learnt, 0), Order(learnt, 0, ("b", "a", "b"))
    assert (once.take(0, 8)[:, 0] >= 10).tolist() == [False, True] * 4
    assert (twice.take(0, 6)[:, 0] >= 10).tolist() == [True, False, True] * 2
    order_of_b = once.take(0, 6)[1::2, 0].tolist()
    assert sorted(order_of_b) == [10, 11, 12]
    some = twice.take(0, 9)[:, 0]
    assert some[some >= 10].tolist() == [*order_of_b, *order_of_b]
    with pytest.raises(WorkbenchError, match="no text of kind c; there is a, b"):
        Order(learnt, 0, ("a", "c"))


class Letters:
    """A tokenizer of letters."""

    def __call__(self, text, add_special_tokens):
        return type("Found", (), {"input_ids": [ord(letter) for letter in text]})


def test_documents_held_out_are_never_learnt_from_and_long_ones_weigh_no_more_than_three_rows():
    texts = [f"{n:08}" * 4 for n in range(200)]
    found = rows_of(Letters(), [Document("a", text) for text in [*texts, *texts]], length=8)
    learnt, held = ({"".join(map(chr, row)) for row in side["a"].tolist()} for side in (found.learnt, found.held_out))
    assert len(found.learnt["a"]) + len(found.held_out["a"]) == 3 * 200
    assert {text[:8] for text in texts if is_held_out(text)} <= held
    assert not learnt & held
    assert 0 < len(found.held_out["a"]) // 3 < 30
    with pytest.raises(WorkbenchError, match="each kind needs some of both"):
        rows_of(Letters(), [Document("a", "short")], length=8)
