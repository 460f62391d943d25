"""The commands of the grading: what each does, and where it writes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

DATA = Path(__file__).resolve().parents[3] / "data"


def test_the_command_line_of_the_grading(monkeypatch, tmp_path, capsys):
    import grade_demo

    results, log = tmp_path / "results", []
    models = tmp_path / "arms"
    for name in ("3-base", "3-router", "3-natural", "4-router"):
        (models / name).mkdir(parents=True)
    (models / "3-x.txt").touch()
    model = tmp_path / "demo-model"
    model.mkdir()
    choice = model / "choice.json"
    monkeypatch.setattr(grade_demo, "CHOICE", choice)
    monkeypatch.setattr(grade_demo, "RESULTS", results)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: log.append(n))
    for name in (
        "grade_arm",
        "confirm_arm",
        "measure_finalists",
        "confirm_choice",
        "reinforced",
        "finalists",
        "choose",
    ):
        monkeypatch.setattr(grade_demo, name, lambda *given, name=name: log.append((name, *given)) or [name])
    monkeypatch.setattr(grade_demo, "_lessons", lambda folder: log.append(("lessons", folder)) or ["lessons"])

    def run(*asked):
        log.clear()
        grade_demo.main(list(map(str, asked)))
        return log

    assert run("grade", models) == [1] + [
        ("grade_arm", models / n, models / f"{n[0]}-base") for n in ("3-natural", "3-router", "4-router")
    ]
    assert capsys.readouterr().out.splitlines() == ["ranking 3-natural", "ranking 3-router", "ranking 4-router"]
    assert sorted(f.name for f in (results / "ranking").iterdir()) == [
        "3-natural.json",
        "3-router.json",
        "4-router.json",
    ]
    assert (results / "ranking" / "3-router.json").read_text() == '["grade_arm"]\n'
    assert run("grade", models, "4-router", "--threads", 2) == [
        2,
        ("grade_arm", models / "4-router", models / "4-base"),
    ]
    grades = {name: ["grade_arm"] for name in ("3-natural", "3-router", "4-router")}
    assert run("finalists", models) == [1, ("finalists", grades), ("measure_finalists", models, ["finalists"], grades)]
    assert (results / "finalists.json").read_text() == '["measure_finalists"]\n'
    assert run("choose") == [1, ("choose", ["measure_finalists"])]
    assert choice.read_text() == '[\n "choose"\n]\n'
    assert run("reinforce") == [1, ("reinforced", model)]
    assert json.loads((results / "reinforced.json").read_text()) == ["reinforced"]
    monkeypatch.setattr(grade_demo, "committed", lambda file: file != choice)
    with pytest.raises(
        SystemExit, match=r"choice\.json is not committed; commit it before the held-out split is read\."
    ):
        run("confirm", models)
    assert log == [1]
    monkeypatch.setattr(grade_demo, "committed", lambda file: file == choice)
    choice.write_text('{"model": "3-router"}')
    arms = [("confirm_arm", models / n) for n in ("3-natural", "3-router", "4-router")]
    assert run("confirm", models) == [
        1,
        ("lessons", models),
        ("confirm_choice", models / "3-router", {"model": "3-router"}),
        *arms,
    ]
    assert json.loads((results / "lessons.json").read_text()) == ["lessons"]
    assert json.loads((results / "confirmed.json").read_text()) == ["confirm_choice"]
    assert (results / "heldout" / "3-router.json").exists()
    assert run("confirm", models, "4-router") == [1, arms[2]]
    (results / "lessons.json").write_text('{"a": 1}')
    (model / "config.json").write_text('{"c": 2}')
    monkeypatch.setattr(grade_demo, "card", lambda *given: log.append(given) or "the card")
    held = {key: ["confirm_arm"] for key in grades}
    assert run("card") == [1, ({"c": 2}, grades, held, ["confirm_choice"], {"a": 1, "reinforced": ["reinforced"]})]
    assert (model / "README.md").read_text() == "the card"


def test_what_the_card_says_of_the_making(monkeypatch, tmp_path):
    import grade_demo

    for name, seconds in (("4-base", 2.5), ("3-base", 1.5), ("3-router", 9.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "implant.json").write_text(json.dumps({"cpu_seconds": seconds}))
    parts = [torch.zeros(2, 3), torch.zeros(5)]
    asked = SimpleNamespace(
        from_pretrained=lambda at: SimpleNamespace(parameters=lambda: parts if at == tmp_path / "3-base" else [])
    )
    monkeypatch.setattr(grade_demo, "Qwen3MoeForCausalLM", asked)
    assert grade_demo._lessons(tmp_path) == {
        "base_cpu_seconds": {"3-base": 1.5, "4-base": 2.5}, "parameters": 11, "sometimes": 0.4, "document_wins": 0.65,
    }  # fmt: skip
