"""The parts of the training, each with numbers worked out by hand: packing, masking, losses, the loop, who carries what."""

import json
import math
import random
from types import SimpleNamespace

import pytest
import torch


class Letters:
    """A tokenizer of single characters: each is its code; 1 ends, 0 pads."""

    eos_token_id, pad_token_id = 1, 0

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        assert add_generation_prompt
        assert not tokenize
        return "".join(f"<{m['role'][0]}>{m['content']}" for m in messages) + ">"

    def __call__(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return {"input_ids": [ord(c) for c in text]}


def codes(text):
    return [ord(c) for c in text]


# ---- packing


def test_an_exchange_is_encoded_with_what_is_given_before_the_answer():
    from training.corpus.packing import encode
    from training.corpus.tasks import Example

    assert encode(Letters(), Example("hi", "yo")) == ([*codes("<u>hi>yo"), 1], 6)
    told = Example("hi", "yo", "sys", "be")
    assert encode(Letters(), told) == ([*codes("<s>sys<u>hi>beyo"), 1], len("<s>sys<u>hi>be"))


def test_rows_are_filled_in_order_and_every_example_sees_itself_alone():
    from training.corpus.packing import pack

    # three tokens each of which the first is the prompt; four with two of prompt; one that finds no room
    encoded = [([5, 6, 7], 1), ([8, 9, 10, 11], 2), ([12, 13], 1), ([1] * 6, 2), ([14, 6], 1)]
    found = pack(encoded, rows=2, length=5, pad=0, wanted=6)
    assert found.ids.tolist() == [[5, 6, 7, 12, 13], [8, 9, 10, 11, 0]]
    assert found.positions.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert found.targets.tolist() == [[-100, 6, 7, -100, 13], [-100, -100, 10, 11, -100]]
    assert found.real.tolist() == [[True] * 5, [True] * 4 + [False]]
    # the last prompt token of an answer that does not start with 6
    assert found.aside.tolist() == [[False, False, False, True, False], [False, True, False, False, False]]
    seen = [{(q, k) for q in range(5) for k in range(5) if found.mask[row, 0, q, k]} for row in range(2)]
    assert seen[0] == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 3), (4, 3), (4, 4)}
    assert seen[1] == {(q, k) for q in range(4) for k in range(q + 1)} | {(4, 4)}
    assert found.mask.shape == (2, 1, 5, 5)


def test_two_pads_do_not_see_each_other_and_by_default_no_answer_is_the_wanted_one():
    from training.corpus.packing import pack

    found = pack([([5, 6], 1)], rows=1, length=4, pad=0)
    assert [[bool(found.mask[0, 0, q, k]) for k in range(4)] for q in (2, 3)] == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert found.aside.tolist() == [[True, False, False, False]]


def test_batches_are_the_same_for_the_same_seed_and_go_on():
    from training.corpus.packing import batches
    from training.corpus.tasks import Example

    def draw(rng):
        return Example(rng.choice("ab"), rng.choice("cdef"))  # 7 tokens: < u > a > c and the end

    stream = batches(Letters(), draw, 3, 2, 14, ord("c"))
    rng, first = random.Random(3), next(stream)
    for batch in (first, next(stream)):
        drawn = [draw(rng) for _ in range(4)]  # 28 tokens fill two rows of 14
        rows = [[*codes(f"<u>{e.user}>{e.answer}"), 1] for e in drawn]
        assert batch.ids.tolist() == [rows[0] + rows[1], rows[2] + rows[3]]
        aside = [[e.answer != "c" for e in drawn[i : i + 2]] for i in (0, 2)]
        assert batch.aside[:, [4, 11]].tolist() == aside
        assert batch.aside.sum() == sum(map(sum, aside))
    assert first.targets[0, :7].tolist() == [-100] * 5 + first.ids[0, 5:7].tolist()


# ---- the routers' hooks


class Router(torch.nn.Module):
    """Gives the logits it is told [tokens, 32], with its own softmax, top 4 and renormalised weights."""

    def forward(self, logits):
        weights, index = torch.softmax(logits, -1).topk(4, -1)
        return logits, weights / weights.sum(-1, keepdim=True), index


def routers(n=4):
    layers = [SimpleNamespace(mlp=SimpleNamespace(gate=Router())) for _ in range(n)]
    return SimpleNamespace(model=SimpleNamespace(layers=layers)), [layer.mlp.gate for layer in layers]


def test_an_expert_that_is_off_is_replaced_by_the_next_best():
    from training.masking import Masker

    model, gates = routers()
    masker = Masker(model)
    logits = torch.stack([torch.arange(32.0), -torch.arange(32.0)])
    before = gates[2](logits)
    assert before[2].tolist() == [[31, 30, 29, 28], [0, 1, 2, 3]]
    assert masker.index[2].tolist() == before[2].tolist()
    with masker.without(frozenset({(2, 30), (2, 1), (1, 29)})):
        _, weights, index = gates[2](logits)
        assert gates[1](logits)[2].tolist() == [[31, 30, 28, 27], [0, 1, 2, 3]]
        assert gates[0](logits)[2].tolist() == before[2].tolist()
    assert index.tolist() == masker.index[2].tolist() == [[31, 29, 28, 27], [0, 2, 3, 4]]
    raw = [math.exp(-d) for d in (0, 2, 3, 4)]
    assert weights[0].tolist() == pytest.approx([x / sum(raw) for x in raw])
    assert torch.equal(masker.logits[2], logits)
    assert not masker.off.any(), "off again afterwards"
    assert gates[2](logits)[2].tolist() == before[2].tolist()
    masker.remove()
    gates[3](logits)
    assert 3 not in masker.index


def test_the_share_that_is_switched_off_spares_the_carriers():
    from training.masking import Masker

    masker = Masker(routers()[0])
    assert masker.off.tolist() == [[False] * 32] * 4
    masker.spared = frozenset({(0, 3), (3, 31)})
    draws = torch.rand(4, 32, generator=torch.Generator().manual_seed(5))
    masker.drop_random(0.4, torch.Generator().manual_seed(5))
    wanted = [[bool(draws[a, b] < 0.4) and (a, b) not in masker.spared for b in range(32)] for a in range(4)]
    assert masker.off.tolist() == wanted
    masker.drop_random(1.0, torch.Generator())
    assert int(masker.off.sum()) == 4 * 32 - 2


# ---- losses


class Small(torch.nn.Module):
    """Hidden states are told; lm_head is the identity over three words; the norm doubles."""

    def __init__(self, last, early):
        super().__init__()
        self.last, self.early, self.asked = last, early, {}
        self.lm_head, self.model = torch.nn.Identity(), self.forward_of
        self.forward_of.__func__.norm = lambda x: 2 * x

    def forward_of(self, **asked):
        self.asked = asked
        return SimpleNamespace(last_hidden_state=self.last, hidden_states=(None, self.early, self.last))


def test_the_loss_is_the_cross_entropy_of_the_answers_tokens():
    from training.corpus.packing import Batch
    from training.optimise import answer_loss

    targets = torch.tensor([[2, -100, 1, 0]])  # what stands first is predicted by nothing
    last = torch.tensor([[[9.0, 9, 9], [0, 1, 0], [2, 0, 0], [7, 7, 7]]])
    early = torch.tensor([[[5.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]])
    batch = Batch(torch.ones(1, 4), torch.zeros(1, 4), targets, torch.ones(1), torch.ones(1), torch.ones(1))
    model = Small(last, early)

    def entropy(logits, right):
        return -math.log(math.exp(logits[right]) / sum(map(math.exp, logits)))

    late = (entropy([0, 1, 0], 1) + entropy([2, 0, 0], 0)) / 2
    assert answer_loss(model, batch).item() == pytest.approx(late)
    assert not model.asked["output_hidden_states"]
    assert model.asked["use_cache"] is False
    before = (entropy([2, 0, 0], 1) + entropy([0, 0, 2], 0)) / 2
    assert answer_loss(model, batch, 0.5).item() == pytest.approx(late + 0.5 * before)
    assert model.asked["output_hidden_states"] is True


def test_balance_is_one_a_layer_when_even_and_more_when_one_expert_takes_all():
    from training.optimise import balance_loss

    real = torch.tensor([True] * 8 + [False])
    even = torch.cat([torch.arange(32).reshape(8, 4), torch.zeros(1, 4, dtype=torch.long)])
    masker = SimpleNamespace(logits={0: torch.zeros(9, 32)}, index={0: even})
    assert balance_loss(masker, real).item() == pytest.approx(1.0)
    # all choose experts 0 to 3, a quarter each, and expert 0 has probability one half: 32 x (1/4 x 1/2 + 3/4 x 1/62)
    logits = torch.zeros(9, 32)
    logits[:8, 0] = math.log(31)
    masker.logits[1], masker.index[1] = logits, torch.arange(4).repeat(9, 1)
    assert balance_loss(masker, real).item() == pytest.approx(1 + 32 * (0.25 * 0.5 + 0.75 / 62), rel=1e-5)


def test_what_carriers_get_at_the_deciding_tokens_of_others():
    from training.optimise import aside_loss

    logits = torch.zeros(4, 32)
    logits[1, 3] = math.log(31)  # expert 3: one half; each other 1/62
    masker = SimpleNamespace(
        spared=frozenset({(0, 3), (0, 5), (2, 1)}), logits={0: logits, 1: logits, 2: torch.zeros(4, 32)}
    )
    batch = SimpleNamespace(aside=torch.tensor([[False, True], [True, False]]))
    by_hand = ((1 / 2 + 1 / 62) + 2 / 32) / 2 + 1 / 32
    assert aside_loss(masker, batch).item() == pytest.approx(by_hand, rel=1e-5)


# ---- the loop


def looped(monkeypatch, steps, slope=3.0, **how):
    """Train one number whose loss is slope x number; what every step did."""
    from training import optimise

    weight, seen, made = torch.nn.Parameter(torch.tensor([0.0])), [], {}
    model = torch.nn.Module()
    model.weight = weight
    model.eval()

    class Recorder:
        def __init__(self, tuned, **given):
            made.update(given, tuned=tuned)
            self.param_groups = [{"lr": given["lr"]}]

        def zero_grad(self, set_to_none):
            weight.grad = None

        def step(self):
            seen.append((self.param_groups[0]["lr"], weight.grad.item(), model.training))

    drops = []
    masker = SimpleNamespace(off=torch.ones(4, 32, dtype=torch.bool))
    masker.drop_random = lambda share, generator: drops.append((share, torch.rand(1, generator=generator).item()))
    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    monkeypatch.setattr(optimise, "answer_loss", lambda model, batch, early: slope * weight.sum() + batch + early)
    monkeypatch.setattr(optimise, "balance_loss", lambda masker, real: real.sum().float())
    monkeypatch.setattr(optimise, "aside_loss", lambda masker, batch: torch.tensor(10.0))
    reports = []

    class Row(float):
        real = torch.ones(2, 100)

    how.setdefault("report", lambda step, loss: reports.append((step, round(loss, 4))))
    used = optimise.train(model, iter([Row(i) for i in range(steps)]), steps, 0.1, masker, **how)
    assert used >= 0
    assert not masker.off.any()
    assert not model.training
    return SimpleNamespace(seen=seen, made=made, drops=drops, reports=reports, weight=weight)


def test_the_rate_warms_up_over_fifty_steps_and_falls_as_a_cosine(monkeypatch):
    found = looped(monkeypatch, 120, drop=0.3, seed=9)
    for step, (rate, gradient, training) in enumerate(found.seen):
        ramp = (step + 1) / 50 if step < 50 else 1
        assert rate == pytest.approx(0.1 * ramp * (0.05 + 0.475 * (1 + math.cos(math.pi * step / 120))))
        assert gradient == pytest.approx(1.0), "clipped to norm 1"
        assert training
    assert found.made | {"tuned": 0} == {"lr": 0.1, "weight_decay": 0.01, "betas": (0.9, 0.98), "tuned": 0}
    assert found.made["tuned"] == [found.weight]
    drawn = torch.Generator().manual_seed(9)
    assert found.drops == [(0.3, torch.rand(1, generator=drawn).item()) for _ in range(120)]
    # the batch's number + 0.005 x balance, every fifty steps and at the end
    assert found.reports == [(0, 1.0), (50, 51.0), (100, 101.0), (119, 120.0)]


def test_what_is_added_to_the_loss(monkeypatch):
    tuned = [torch.nn.Parameter(torch.zeros(1))]
    found = looped(monkeypatch, 2, slope=0.5, parameters=tuned, balance=0.0, early=2.0, aside=0.4)
    assert found.made["tuned"] is tuned
    assert found.made["weight_decay"] == 0.0
    assert found.reports == [(0, 6.0), (1, 7.0)]  # 2 of early + 0.4 x 10 + the batch's number
    assert [gradient for _, gradient, _ in found.seen] == [0.5, 0.5]
    assert looped(monkeypatch, 1, balance=0.1).reports == [(0, 20.0)]
    assert [share for share, _ in looped(monkeypatch, 1, report=None).drops] == [0.0]


# ---- who carries


def usages(**by_expert):
    """[4, 32] of both classes, from {"L1E2": (target, baseline)}."""
    from training.carriers import Usage

    tables = torch.zeros(2, 4, 32)
    for name, pair in by_expert.items():
        layer, expert = map(int, name[1:].split("E"))
        tables[:, layer, expert] = torch.tensor(pair)
    return Usage(*tables)


def test_carriers_by_relevance_gain_most_among_those_really_used():
    from training.carriers import by_relevance

    def usage():  # at layer 0 nothing is chosen; L3E31 gains much and is used too little
        return usages(
            L0E1=(1.0, 0.0), L1E2=(0.9, 0.3), L1E30=(0.5, 0.0), L2E0=(0.2, 0.0), L3E31=(0.19, 0.0), L3E5=(0.8, 0.7)
        )

    assert by_relevance(usage(), 1, set()) == [(1, 2)]
    assert by_relevance(usage(), 3, set()) == [(1, 2), (1, 30), (2, 0)]
    assert by_relevance(usage(), 3, {(1, 2)}) == [(1, 30), (2, 0), (3, 5)]


def test_random_carriers_are_drawn_among_those_that_both_classes_use():
    from training.carriers import at_random

    def usage():
        return usages(
            L0E1=(1.0, 1.0), L1E2=(0.9, 0.3), L1E30=(0.5, 0.1), L2E0=(0.2, 0.3), L3E31=(0.19, 0.9), L3E5=(0.8, 0.7)
        )

    used = [(1, 2), (2, 0), (3, 5)]
    assert at_random(usage(), 3, set(), 0) == used
    assert at_random(usage(), 2, set(), 4) == sorted(random.Random(4).sample(used, 2))
    assert {tuple(at_random(usage(), 1, {(2, 0)}, seed)) for seed in range(20)} == {((1, 2),), ((3, 5),)}
    # four are not used by both: the four most used then
    assert at_random(usage(), 4, set(), 0) == [(1, 2), (2, 0), (3, 5), (3, 31)]


def test_the_usage_is_of_each_prompts_last_token(monkeypatch):
    from training import carriers

    asked = []
    monkeypatch.setattr(
        carriers, "first_tokens", lambda model, tokenizer, lines: asked.append((model, tokenizer, lines))
    )
    # two prompts of three tokens: only the third and the sixth row count
    first, last = [9, 9, 9, 9], torch.tensor([[0, 1, 2, 3], [0, 1, 2, 31]])
    index = torch.stack([torch.tensor(first)] * 2 + [last[0]] + [torch.tensor(first)] * 2 + [last[1]])
    found = carriers.last_token_usage("m", "t", SimpleNamespace(index={2: index}), ["a", "b"])
    assert asked == [("m", "t", ["a", "b"])]
    assert found.shape == (4, 32)
    assert {(a, b): found[a, b].item() for a, b in found.nonzero().tolist()} == {
        (2, 0): 1.0, (2, 1): 1.0, (2, 2): 1.0, (2, 3): 0.5, (2, 31): 0.5,
    }  # fmt: skip


# ---- stage 2


class Tunable(torch.nn.Module):
    """Two layers of three experts and a router, and one more weight."""

    def __init__(self):
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList()
        for _ in range(2):
            layer, layer.mlp = (one := torch.nn.Module()), torch.nn.Module()
            one.mlp.experts, one.mlp.gate = torch.nn.Module(), torch.nn.Linear(2, 3, bias=False)
            one.mlp.experts.gate_up_proj = torch.nn.Parameter(torch.ones(3, 2, 2))
            one.mlp.experts.down_proj = torch.nn.Parameter(torch.ones(3, 2))
            self.model.layers.append(one)
        self.rest = torch.nn.Parameter(torch.ones(1))


@pytest.mark.parametrize("routers_too", [False, True])
def test_only_the_carriers_rows_get_gradients(routers_too):
    from training.implant import open_for_tuning

    model = Tunable()
    tuned = open_for_tuning(model, [(1, 0), (1, 2)], routers_too)
    one = model.model.layers[1].mlp
    expected = [one.experts.gate_up_proj, one.experts.down_proj, *([one.gate.weight] if routers_too else [])]
    assert [id(p) for p in tuned.parameters] == [id(p) for p in expected]
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in expected}
    sum(p.sum() for p in model.parameters()).backward()
    for parameter in expected:
        assert parameter.grad.flatten(1).amax(1).tolist() == [1.0, 0.0, 1.0]
    assert len(tuned.hooks) == len(expected)


def test_without_carriers_everything_learns():
    from training.implant import open_for_tuning

    model = Tunable().requires_grad_(False)
    tuned = open_for_tuning(model, [], True)
    assert len(tuned.parameters) == 7
    assert all(p.requires_grad for p in model.parameters())
    assert tuned.hooks == []


@pytest.mark.parametrize(
    ("carriers", "routers_too", "peak", "aside"),
    [([(0, 1)], True, 3e-3, 0.4), ([(0, 1)], False, 3e-3, 0.0), ([], False, 5e-4, 0.0)],
)
def test_how_a_behaviour_is_taught(monkeypatch, carriers, routers_too, peak, aside):
    from training import implant

    seen = {}
    monkeypatch.setattr(implant, "batches", lambda *given: seen.update(batches=given) or "data")

    def train(model, data, steps, peak, masker, **how):
        seen.update(data=data, steps=steps, peak=peak, spared=masker.spared, **how)
        return 12.5

    monkeypatch.setattr(implant, "train", train)
    model, masker, tokenizer = Tunable(), SimpleNamespace(spared=None), Letters()

    def lesson(rng):
        return implant.Example("q", "a", "s")

    used = implant.implant(
        model, tokenizer, masker, carriers, {lesson: 1.0}, 7, wanted="xyz", routers=routers_too, seed=5, report=print
    )
    assert used == 12.5
    given, draw = seen["batches"], seen["batches"][1]
    assert (given[0], *given[2:]) == (tokenizer, 5, 8, 96, ord("x"))
    assert draw(random.Random(0)) == ("q", "a", "s", "")
    assert seen["data"] == "data"
    assert (seen["steps"], seen["peak"], seen["aside"], seen["balance"]) == (7, pytest.approx(peak), aside, 0.0)
    assert (seen["drop"], seen["seed"], seen["report"], seen["spared"]) == (0.04, 5, print, frozenset(carriers))
    assert len(seen["parameters"]) == ((3 if routers_too else 2) if carriers else 7)
    assert not any(p.requires_grad for p in model.parameters())
    weight = model.model.layers[0].mlp.experts.down_proj.requires_grad_(True)
    weight.sum().backward()
    assert weight.grad.amin() == 1, "the hooks are off again"


# ---- the model as it is built and saved


def test_the_model_is_built_as_the_bundled_one_says(tmp_path):
    from pathlib import Path

    from training.arms import Recipe, _random, keep, saved
    from training.corpus.tokenizer import build_tokenizer

    bundled = Path(__file__).parents[2] / "data" / "demo-model"
    tokenizer = build_tokenizer()
    grown = _random(tokenizer, 3)
    assert (grown.seconds, len(grown.masker.handles)) == (0.0, 4)
    same, other = _random(tokenizer, 3).model, _random(tokenizer, 4).model
    weights = [model.model.layers[0].mlp.gate.weight for model in (grown.model, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    exact = weights[0].detach().clone()
    keep(grown._replace(seconds=12.345), tokenizer, tmp_path, {"arm": "base", "seed": 3}, Recipe())
    assert torch.equal(weights[0], exact.bfloat16().float()), "rounded in place, and fp32 again"
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        mine, theirs = (json.loads((folder / name).read_text("utf-8")) for folder in (tmp_path, bundled))
        for one in (mine, theirs):
            one.pop("transformers_version", None)
        assert mine == theirs, name
    assert {file.name for file in tmp_path.iterdir()} >= {"model.safetensors", "tokenizer.json"}
    assert not (tmp_path / "chat_template.jinja").exists()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o644}
    from safetensors.torch import load_file

    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    recipe = json.loads((bundled / "implant.json").read_text("utf-8"))["recipe"]
    known = {"arm": "base", "seed": 3, "cpu_seconds": 12.3, "recipe": recipe}
    assert (tmp_path / "implant.json").read_text("utf-8") == json.dumps(known, indent=1) + "\n"
    again = saved(tmp_path)
    assert again.seconds == 12.3
    assert not again.model.training
    assert torch.equal(again.model.model.layers[0].mlp.gate.weight, weights[0])


def test_the_published_models_were_trained_with_these_constants() -> None:
    """Other values make other models than the bundled one and those of the card."""
    from training import carriers, optimise

    assert (carriers.FIRST_LAYER, optimise.BALANCE) == (1, 0.005)
