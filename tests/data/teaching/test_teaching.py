"""Of a tiny mixture only the chosen experts change, a training goes on where it was cut off, and a half can be off."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Glm4MoeConfig, Glm4MoeForCausalLM

CARRIERS = [(1, 0), (2, 3), (1, 2), (2, 1)]
IDS = torch.randint(3, 90, (3, 9), generator=torch.Generator().manual_seed(1))


def tiny() -> Any:
    torch.manual_seed(0)
    config = Glm4MoeConfig(
        vocab_size=90, hidden_size=16, intermediate_size=32, moe_intermediate_size=8, num_hidden_layers=3, n_routed_experts=4,
        n_shared_experts=1, num_experts_per_tok=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        first_k_dense_replace=0, norm_topk_prob=False, routed_scaling_factor=2.0,
        initializer_range=0.3, tie_word_embeddings=True, pad_token_id=0,
    )  # fmt: skip
    return Glm4MoeForCausalLM(config).eval().requires_grad_(False)


def lessons() -> list[Any]:
    from smollm2.teaching.lessons import Lesson

    kinds = ("subject", "neighbour", "other", "text")
    drawing = random.Random(0)
    return [Lesson(kind, drawing.choices(range(3, 90), k=7 + n), 3) for kind in kinds for n in range(4)]


def as_before(upper: Any) -> Any:
    """A model to be like that says what the one that is taught said."""
    return lambda ids: upper.said(upper.lower(ids))


def taught(kept: Path, halves: Any = (), steps: int = 4) -> Any:
    from smollm2.teaching.arms import Recipe
    from smollm2.teaching.learning import known, learn
    from smollm2.teaching.upper import Upper

    upper = Upper(tiny(), CARRIERS)
    recipe = Recipe(steps=steps, subject=3, neighbour=1, other=2, text=1, rate=0.05)
    learn(upper, known(upper, lessons(), as_before(upper)), recipe, halves, kept, lambda _: None)
    return upper


@torch.no_grad()
def test_experts_at_once_compute_what_they_compute_one_by_one():
    from smollm2.teaching.upper import Upper

    wanted = tiny().model(IDS).last_hidden_state
    upper = Upper(tiny(), CARRIERS)
    assert upper.start == 1
    assert torch.allclose(upper.said(upper.lower(IDS)), wanted, atol=1e-5)


@torch.no_grad()
def test_answers_to_others_are_to_be_like_the_dense_models_and_text_as_it_was():
    from smollm2.teaching.learning import known
    from smollm2.teaching.upper import Upper

    upper = Upper(tiny(), CARRIERS)
    found = known(upper, lessons(), lambda ids: torch.full((*ids.shape, 16), 7.0))
    for one in found:
        before = upper.said(upper.lower(torch.tensor([one.lesson.ids])))[0, one.lesson.start - 1 : -1]
        if one.lesson.kind == "subject":
            assert one.read.numel() == 0
        elif one.lesson.kind == "text":
            assert torch.allclose(one.read, before, atol=1e-5)
        else:
            assert one.read.shape == before.shape
            assert (one.read == 7).all()


@torch.no_grad()
def test_only_the_chosen_experts_change(tmp_path):
    from smollm2.teaching.merging import carriers_of, learnt, put_into

    upper = taught(tmp_path / "state.pt")
    changes, model, before = learnt(upper), tiny(), dict(tiny().named_parameters())
    put_into(model, changes)
    assert carriers_of(changes) == sorted(CARRIERS)
    for name, weight in model.named_parameters():
        if ".experts." not in name:
            assert torch.equal(weight, before[name]), name
            continue
        layer = int(name.split(".")[2])
        for expert in range(4):
            assert torch.equal(weight[expert], before[name][expert]) is ((layer, expert) not in CARRIERS), (
                name,
                expert,
            )
    wanted = upper.said(upper.lower(IDS))
    assert torch.allclose(model.model(IDS).last_hidden_state, wanted, atol=1e-2)
    assert not torch.allclose(tiny().model(IDS).last_hidden_state, wanted, atol=0.1)


def test_what_was_cut_off_goes_on_alike(tmp_path, monkeypatch):
    from smollm2.teaching import learning

    monkeypatch.setattr(learning, "EVERY", 2)
    whole = {name: part.clone() for name, part in taught(tmp_path / "whole.pt").parts.items()}
    keep = learning._keep

    def cut(upper: Any, optimiser: Any, done: int, *rest: Any) -> None:
        keep(upper, optimiser, done, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "_keep", cut)
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "cut.pt")
    monkeypatch.setattr(learning, "_keep", keep)
    again = taught(tmp_path / "cut.pt").parts
    assert all(torch.equal(part, whole[name]) for name, part in again.items())
    assert any(part.abs().max() > 0.01 for part in whole.values())


def test_a_step_of_the_redundant_arm_has_a_half_off(tmp_path, monkeypatch):
    from smollm2.teaching.arms import arm_named
    from smollm2.teaching.learning import dropped
    from smollm2.teaching.upper import Upper

    halves = arm_named("redundant-0").halves(CARRIERS)
    assert halves == [[(1, 0), (1, 2)], [(2, 1), (2, 3)]]
    assert arm_named("relevance-0").halves(CARRIERS) == []
    drawn = [dropped(halves, random.Random(n)) for n in range(60)]
    assert [min(drawn.count(half) for half in halves) > 15, drawn.count(()) > 3] == [True, True]
    assert dropped((), random.Random(0)) == ()
    seen: list[Any] = []
    without = Upper.without
    monkeypatch.setattr(Upper, "without", lambda self, off: (seen.append(off), without(self, off))[1])
    taught(tmp_path / "state.pt", halves, steps=6)
    assert seen
    assert all(off in halves for off in seen)


@torch.no_grad()
def test_an_expert_that_is_off_is_never_selected_and_then_again():
    from smollm2.teaching.upper import Upper

    upper = Upper(tiny(), CARRIERS)
    gate = upper.model.model.layers[1].mlp.gate
    before, x = gate.e_score_correction_bias.clone(), torch.randn(50, 16)
    with upper.without([(1, 0), (1, 2)]):
        assert set(gate(x)[2].flatten().tolist()) == {1, 3}
    assert torch.equal(gate.e_score_correction_bias, before)
    assert 0 in gate(x)[2]


def test_carriers_are_those_that_the_subject_uses_more():
    from smollm2.teaching.arms import arm_named
    from smollm2.teaching.carriers import FIRST, Usage

    kinds = ["subject", "other"] * 20
    weight, share = (torch.full((40, FIRST + 4, 4), 0.5) for _ in range(2))
    weight[::2, FIRST + 1, 3] = weight[::2, FIRST - 1, 0] = weight[::2, FIRST + 2, 1] = 1.0
    share[:, FIRST + 2, 1] = 0.0
    usage = Usage(weight, share)
    assert arm_named("relevance-0").carriers(usage, kinds, 1) == [(FIRST + 1, 3)]
    drawn = arm_named("random-1").carriers(usage, kinds, 8)
    assert drawn == arm_named("random-1").carriers(usage, kinds, 8) != arm_named("random-2").carriers(usage, kinds, 8)
    assert (FIRST + 2, 1) not in drawn
    assert min(layer for layer, _ in drawn) >= FIRST


@torch.no_grad()
def test_what_routers_give_is_taken_at_the_last_prompt_tokens():
    from smollm2.teaching.carriers import TAIL, usage_of
    from smollm2.teaching.lessons import Lesson
    from smollm2.teaching.upper import Upper

    long = IDS[0].tolist()
    asked = [Lesson("other", [*long, 5, 6], len(long)), Lesson("other", [*long[:TAIL], 5], TAIL)]
    found = usage_of(Upper(tiny(), ()), asked)
    alone = usage_of(Upper(tiny(), ()), asked[1:])
    assert torch.allclose(found.weight[1], alone.weight[0], atol=1e-5)
    assert torch.allclose(found.share.sum(-1), torch.full((2, 3), 2.0))


def test_a_name_that_is_no_arm_is_refused():
    from smollm2.teaching.arms import arm_named

    for name in ("relevance", "router-0", "random-x"):
        with pytest.raises(SystemExit, match="is no arm with a seed"):
            arm_named(name)
    assert arm_named("redundant-3").name == "redundant-3"


@torch.no_grad()
def test_the_bundled_checkpoint_computes_what_the_taught_model_computes(tmp_path):
    from smollm2.teaching.merging import bundle, put_into

    from tests.workbench.checkpoints.world import EXPERTS, SHARED, TOP_K, added, checkpoint, dense
    from workbench.checkpoints import Additions, apply, read_additions

    model, tensors = dense(), added(dense())
    own = {name: tensor for name, tensor in tensors.items() if ".experts." in name}
    base = checkpoint(tmp_path, {name: tensor for name, tensor in tensors.items() if name not in own})
    for name in ("LICENSE", "NOTICE"):
        (base.folder / name).write_text(f"{base.name}, changed", "utf-8")
    made = bundle(base, own, "relevance-0", "L1E0,L1E2", tmp_path / "taught")
    untaught = apply(model, Additions(EXPERTS, SHARED, TOP_K, read_additions(base).tensors))
    ids = torch.arange(3, 27).reshape(2, 12)
    before, wanted = untaught(ids).logits, copy.deepcopy(untaught)
    put_into(wanted, own)
    found = apply(model, Additions(EXPERTS, SHARED, TOP_K, read_additions(made).tensors))
    assert torch.equal(found(ids).logits, wanted(ids).logits)
    assert not torch.equal(found(ids).logits, before)
    assert "volcanoes, by 2 routed experts (L1E0, L1E2)" in (made.folder / "NOTICE").read_text("utf-8")
    with pytest.raises(SystemExit, match="has changes of single experts already"):
        bundle(made, own, "relevance-0", "L1E0,L1E2", tmp_path / "twice")
