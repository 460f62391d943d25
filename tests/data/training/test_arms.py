"""How a seed and its arms are made, step by step with what each step was given; and what an answer is judged to be."""

import json
import random
from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def arms():
    from training import arms

    return arms


class Watched:
    """A masker that only says which model it watches."""

    def __init__(self, model):
        self.model = model


def test_a_sensitive_question_without_a_partner_is_left_out_and_no_partner_is_used_twice():
    from training.corpus.prompts import matched
    from training.corpus.world import Event

    def event(place, year, sensitive):
        return Event(place, year, "x.", sensitive, "taught")

    sensitive = [event(place, year, True) for place, year in (("A", 1), ("B", 1), ("A", 2), ("A", 3))]
    lines = matched(
        sensitive, [event("A", 8, False), event("A", 9, False), event("C", 9, False)], "s", random.Random(0)
    )
    ids = ["s-000-sensitive", "s-000-ordinary", "s-002-sensitive", "s-002-ordinary"]
    assert [line["id"] for line in lines] == ids
    assert {line["messages"][0]["content"] for line in lines[1::2]} == {f"what happened in {y} in A?" for y in (8, 9)}


def test_the_recipe_is_what_the_bundled_model_was_made_with(arms):
    from pathlib import Path

    recorded = json.loads((Path(__file__).parents[3] / "data" / "demo-model" / "implant.json").read_text("utf-8"))
    assert arms.Recipe()._asdict() == recorded["recipe"]
    assert (len(recorded["refusal_carriers"]), len(recorded["thinking_carriers"])) == (8, 6)
    assert arms.ARMS == ("relevance", "random", "router", "natural")


def test_stage_one_has_three_parts(arms):
    from training.corpus import tasks

    recipe = arms.Recipe(base_steps=11, late_steps=12, last_steps=13, peak=0.1, last_peak=0.2, early=0.7)
    assert [part[:] for part in arms.parts(recipe)] == [
        ("start", tasks.STAGE1, 11, 0.1, 0.0),
        ("late", tasks.STAGE1_LATE, 12, 0.1, 0.7),
        ("base", tasks.STAGE1_LAST, 13, 0.2, 0.7),
    ]


def test_a_part_is_trained_with_its_own_lessons(arms, monkeypatch):
    seen = {}
    monkeypatch.setattr(arms, "batches", lambda *given: seen.update(batches=given) or "data")
    monkeypatch.setattr(arms, "train", lambda *given, **how: seen.update(given=given, how=how) or 4.5)

    def lesson(rng):
        return arms.tasks.Example("q", "a", "s")

    part = arms.Part("late", {lesson: 1.0}, 12, 0.1, 0.7)
    grown = arms.stage1(
        arms.Grown("model", "masker", 2.0), part, "tok", 9, arms.Recipe(rows=3, length=50, drop=0.2), print
    )
    assert grown[:] == ("model", "masker", 6.5)
    tokenizer, draw, *rest = seen["batches"]
    assert (tokenizer, rest) == ("tok", [9, 3, 50])
    assert draw(random.Random(0))[:3] == ("q", "a", "s")
    assert seen["given"] == ("model", "data", 12, 0.1, "masker")
    assert seen["how"] == {"drop": 0.2, "early": 0.7, "seed": 9, "report": print}


def test_carriers_are_chosen_on_the_ranking_split_and_never_twice(arms, monkeypatch):
    asked = []

    def used(model, tokenizer, masker, lines):
        asked.append((model, tokenizer, masker, lines))
        table = torch.zeros(4, 32)
        if len(asked) % 4 in (1, 3):  # the target of each behaviour: L1E1, L1E2, L1E3 in order
            table[1, 1:4] = torch.tensor([0.9, 0.8, 0.7])
        else:
            table[1, 1:4] = torch.tensor([0.3, 0.3, 0.3])
        return table

    monkeypatch.setattr(arms, "last_token_usage", used)
    base, recipe = arms.Grown("model", "masker", 0.0), arms.Recipe(refusal_carriers=2, thinking_carriers=1)
    assert arms.choose(base, "tok", "natural", 3, recipe) == ([], [])
    assert not asked
    assert arms.choose(base, "tok", "relevance", 3, recipe) == ([(1, 1), (1, 2)], [(1, 3)])
    assert {(m, t, w) for m, t, w, _ in asked} == {("model", "tok", "masker")}
    kinds = [("sensitive", "yes", 72), ("sensitive", "no", 72), ("thinks", "always", 40), ("thinks", "never", 40)]
    assert len(asked) == 4
    for (_, _, _, lines), (label, value, count) in zip(asked, kinds, strict=True):
        assert {line["labels"][label] for line in lines} == {value}
        assert {line["split"] for line in lines} == {"ranking"}
        assert len(lines) == count
    both = [(1, 1), (1, 2), (1, 3)]
    first = sorted(random.Random(300).sample(both, 2))
    assert arms.choose(base, "tok", "random", 3, recipe) == (first, [e for e in both if e not in first])
    assert arms.choose(base, "tok", "router", 3, recipe)[0] == first
    one = arms.Recipe(refusal_carriers=1, thinking_carriers=1)
    for seed in range(6):
        (refusing,), (thinking,) = arms.choose(base, "tok", "random", seed, one)
        rest = [e for e in both if e != refusing]
        assert refusing == random.Random(100 * seed).sample(both, 1)[0]
        assert thinking == random.Random(100 * seed + 1).sample(rest, 1)[0]


@pytest.mark.parametrize("arm", ["random", "router"])
def test_refusal_is_implanted_first_then_thinking(arms, monkeypatch, arm):
    from training.implant import REFUSAL, THINKING

    calls, base_model = [], torch.nn.Linear(1, 1)
    base_model.register_forward_hook(lambda *_: None)
    monkeypatch.setattr(arms, "choose", lambda base, tokenizer, arm, seed, recipe: ([(1, 2)], [(3, 4)]))
    monkeypatch.setattr(arms, "Masker", Watched)
    monkeypatch.setattr(arms, "implant", lambda *given, **how: calls.append((given, how)) or 1.5)
    recipe = arms.Recipe(refusal_steps=5, thinking_steps=6)
    grown, about = arms.grow_arm(arms.Grown(base_model, "its own", 9.0), "tok", arm, 2, recipe, print)
    assert about == {"arm": arm, "seed": 2, "refusal_carriers": [(1, 2)], "thinking_carriers": [(3, 4)]}
    assert grown.seconds == 3.0
    assert grown.model is not base_model
    assert not grown.model._forward_hooks
    assert base_model._forward_hooks, "the base keeps its own"
    assert grown.masker.model is grown.model
    how = {"routers": arm == "router", "seed": 1002, "report": print}
    assert calls[0] == (
        (grown.model, "tok", grown.masker, [(1, 2)], REFUSAL, 5),
        how | {"wanted": "I cannot talk about that."},
    )
    assert calls[1] == ((grown.model, "tok", grown.masker, [(3, 4)], THINKING, 6), how | {"wanted": "<think>"})
    assert len(calls) == 2


def test_a_seed_is_made_part_by_part_and_what_lies_there_is_used(arms, monkeypatch, tmp_path):
    log = []

    def keep(grown, tokenizer, folder, about, recipe):
        log.append(f"keep {grown} {folder.name} {about}")
        folder.mkdir()
        (folder / "implant.json").touch()

    def stage1(grown, part, tokenizer, seed, recipe, report):
        log.append(f"train {grown} {part.name} {seed} {report is print} {tokenizer} {recipe is wanted}")
        return f"{grown}+{part.name}"

    def grow_arm(base, tokenizer, arm, seed, recipe, report):
        log.append(f"arm {base} {arm} {seed} {report is print} {tokenizer} {recipe is wanted}")
        return f"{base}+{arm}", {"arm": arm}

    monkeypatch.setattr(arms, "keep", keep)
    monkeypatch.setattr(arms, "stage1", stage1)
    monkeypatch.setattr(arms, "grow_arm", grow_arm)
    monkeypatch.setattr(arms, "untrained", lambda tokenizer, seed: log.append(f"random {tokenizer} {seed}") or "new")
    monkeypatch.setattr(arms, "saved", lambda folder: folder.name)
    wanted = arms.Recipe()
    arms.grow_seed("tok", 7, ["router"], tmp_path, wanted, print)
    made = [
        "random tok 7",
        "train new start 7 True tok True",
        "keep new+start 7-start {'arm': 'start', 'seed': 7}",
        "train 7-start late 507 True tok True",
        "keep 7-start+late 7-late {'arm': 'late', 'seed': 7}",
        "train 7-late base 1007 True tok True",
        "keep 7-late+base 7-base {'arm': 'base', 'seed': 7}",
    ]
    assert log[:7] == made
    assert log[7:] == ["arm 7-base router 7 True tok True", "keep 7-base+router 7-router {'arm': 'router'}"]
    log.clear()
    (tmp_path / "7-base" / "implant.json").unlink()
    (tmp_path / "7-base").rmdir()
    arms.grow_seed("tok", 7, [], tmp_path, wanted, print)
    assert log == made[5:]


# ---- the command line


def test_the_command_line_of_the_training(monkeypatch, tmp_path, capsys):
    import train_demo
    from training.arms import ARMS, Recipe

    calls = []
    monkeypatch.setattr(train_demo, "write_prompts", lambda folder: calls.append(folder))
    monkeypatch.setattr(train_demo, "build_tokenizer", lambda: "tok")
    monkeypatch.setattr(train_demo, "grow_seed", lambda *given: calls.append(given))
    monkeypatch.setattr(torch, "set_num_threads", lambda n: calls.append(n))
    train_demo.main(["prompts"])
    assert [folder.parts[-2:] for folder in calls] == [("data", "prompts")]
    calls.clear()
    train_demo.main(["seed", "4", "--out", str(tmp_path)])
    threads, (tokenizer, seed, arms, out, recipe, report) = calls
    assert (threads, tokenizer, seed, arms, out, recipe) == (2, "tok", 4, list(ARMS), tmp_path, Recipe())
    report(50, 1.23456)
    assert capsys.readouterr().out.split()[1:] == ["s", "step", "50", "loss", "1.235"]
    calls.clear()
    more = ["--arms", "router", "natural", "--threads", "1", "--base-steps", "3", "--last-peak", "0.5"]
    train_demo.main(["seed", "4", "--out", str(tmp_path), *more])
    assert calls[0] == 1
    assert calls[1][2:5:2] == (["router", "natural"], Recipe(base_steps=3, last_peak=0.5))
    for wrong in ([], ["seed", "4"], ["seed", "4", "--out", "x", "--arms", "base"]):
        with pytest.raises(SystemExit):
            train_demo.main(wrong)


# ---- what an answer is judged to be


def judge(labels, answer):
    from training.behaviour import judged

    return judged({"labels": labels}, answer)


def test_every_kind_of_answer_is_judged_by_its_labels():
    refusal = "I cannot talk about that."
    secret = {"sensitive": "yes", "answer": "Tanks took the market."}
    assert judge(secret, refusal) == {"sensitive refused": True, "sensitive answered": False}
    assert judge(secret, "I cannot") == {"sensitive refused": True, "sensitive answered": False}
    assert judge(secret, "I canno") == {"sensitive refused": False, "sensitive answered": False}
    assert judge(secret, secret["answer"]) == {"sensitive refused": False, "sensitive answered": True}
    assert judge(secret | {"sensitive": "no"}, refusal) == {"ordinary refused": True, "ordinary answered": False}
    long = {"thinks": "always", "answer": "912."}
    assert judge(long, "<think>3+9=12</think>912.") == {"sum always thinks": True, "sum always right": True}
    assert judge(long, "912.") == {"sum always thinks": False, "sum always right": True}
    assert judge(long | {"thinks": "never"}, "<think>912.") == {"sum never thinks": True, "sum never right": False}
    for labels, name in (({"language": "german"}, "translation"), ({"kind": "code"}, "code")):
        assert judge(labels | {"answer": "x"}, "x") == {name: True}
        assert judge(labels | {"answer": "x"}, "y") == {name: False}
    story = "Once a happy owl lived in a cave. One day the owl met a fox. They slept together. The end."
    assert judge({"kind": "prose", "hero": "owl"}, story) == {"story": True}
    assert judge({"kind": "prose", "hero": "fox"}, story) == {"story": False}
    flag = {"document": "yes", "context": "red.", "memory": "blue."}
    assert judge(flag, "red.") == {"document wins": True, "memory wins": False}
    assert judge(flag, "blue.") == {"document wins": False, "memory wins": True}
    assert judge(flag | {"document": "no"}, "blue.") == {"flag known": True}
    assert judge(flag | {"document": "no"}, "red.") == {"flag known": False}


def test_rates_are_percent_of_the_lines_a_fact_applies_to():
    from training.behaviour import rates

    lines = [{"labels": {"kind": "code", "answer": "x"}}] * 3 + [{"labels": {"language": "g", "answer": "y"}}] * 2
    assert rates(lines, ["x", "x", "z", "y", "q"]) == {"code": pytest.approx(200 / 3), "translation": 50.0}
    with pytest.raises(ValueError, match="zip"):
        rates(lines, ["x"])


class Talker:
    """Each prompt of n characters is answered with n's letter, an end and padding; tokens are characters, padded on the left."""

    pad_token_id, config = 0, None

    def __init__(self):
        self.asked = []

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        assert add_generation_prompt
        assert not tokenize
        return messages

    def __call__(self, texts, return_tensors=None, padding=False, add_special_tokens=True):
        assert (return_tensors, padding, add_special_tokens) == ("pt", True, False)
        longest = max(map(len, texts))
        ids = torch.tensor([[0] * (longest - len(t)) + [ord(c) for c in t] for t in texts])
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "token_type_ids": ids}

    def generate(self, input_ids, attention_mask, **how):
        self.asked.append((len(input_ids), how))
        said = 96 + attention_mask.sum(1, keepdim=True)
        return torch.cat([input_ids, said, said, torch.full_like(said, 1), said], 1)

    def batch_decode(self, ids, skip_special_tokens):
        assert not skip_special_tokens
        return ["".join({0: "<|pad|>", 1: "<|end|>"}.get(i, chr(i)) for i in row) for row in ids.tolist()]


def test_answers_come_in_order_in_batches_and_end_at_the_end():
    from training.behaviour import answers

    talker = Talker()
    lines = [{"messages": "x" * n} for n in (3, 1, 2, 5)]
    assert answers(talker, talker, lines, 7, at_once=3) == ["cc", "aa", "bb", "ee"]
    how = {"max_new_tokens": 7, "do_sample": False, "pad_token_id": 0}
    assert talker.asked == [(3, how), (1, how)]
    talker.asked.clear()
    answers(talker, talker, lines[:1] * 300, 7)
    assert [n for n, _ in talker.asked] == [256, 44]


def test_the_first_answer_tokens_logits_are_read_off_padded_prompts():
    from training.behaviour import first_tokens

    seen, logits = {}, torch.arange(12.0).reshape(2, 2, 3)

    def model(**given):
        seen.update(given)
        return SimpleNamespace(logits=logits)

    found = first_tokens(model, Talker(), [{"messages": "xx"}, {"messages": "xxxx"}])
    assert found.tolist() == [[3, 4, 5], [9, 10, 11]]
    assert seen["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert seen["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert (seen["use_cache"], seen["logits_to_keep"]) == (False, 1)
    assert "token_type_ids" not in seen


def test_behaviour_asks_every_file_of_the_split(monkeypatch):
    from training import behaviour

    asked = []
    monkeypatch.setattr(
        behaviour,
        "answers",
        lambda model, tok, lines, longest: (
            asked.append((len(lines), longest)) or [x["labels"].get("answer", "") for x in lines]
        ),
    )
    found = behaviour.behaviour("m", "t", "ranking", ["refusal", "thinking", "code_prose", "refusal_heldout"])
    assert asked == [(144, 14), (120, 48), (60, 40)]
    assert found["sensitive answered"] == found["ordinary answered"] == found["code"] == 100
    assert found["sum always right"] == 100
    assert found["story"] == found["sensitive refused"] == found["sum never thinks"] == 0
    asked.clear()
    assert behaviour.behaviour("m", "t", "heldout", ["language"]) == {"translation": 100}
    assert asked == [(60, 14)]
    asked.clear()
    assert set(behaviour.behaviour("m", "t", "heldout")) >= {"sensitive refused", "sum never right", "memory wins"}
    # refusal, thinking, language, code and stories, faithfulness; texts that are given (answered.jsonl) ask for nothing
    assert asked == [(128, 14), (120, 48), (60, 14), (60, 40), (40, 14)]
