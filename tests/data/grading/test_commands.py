"""The commands of the grading: what each does, and where it writes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

DATA = Path(__file__).resolve().parents[3] / "data"


class Grading:
    """The command line of the grading over models that are empty folders: `log` is what it asked, in order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import grade_demo

        self.script, self.log = grade_demo, []
        self.models, self.model, self.results = folder / "arms", folder / "demo-model", folder / "results"
        for name in ("3-base", "3-router", "3-natural", "4-router"):
            (self.models / name).mkdir(parents=True)
        (self.models / "3-x.txt").touch()
        self.model.mkdir()
        self.choice = self.model / "choice.json"
        monkeypatch.setattr(grade_demo, "CHOICE", self.choice)
        monkeypatch.setattr(grade_demo, "RESULTS", self.results)
        monkeypatch.setattr(torch, "set_num_threads", self.log.append)
        asked = (
            "grade_arm",
            "confirm_arm",
            "measure_finalists",
            "confirm_choice",
            "reinforced",
            "finalists",
            "choose",
            "lessons",
        )
        for name in asked:
            monkeypatch.setattr(grade_demo, name, lambda *given, name=name: self.log.append((name, *given)) or [name])

    def run(self, *asked: object) -> list:
        self.log.clear()
        self.script.main(list(map(str, asked)))
        return self.log

    def written(self, name: str) -> str:
        return (self.results / name).read_text()


GRADES = {name: ["grade_arm"] for name in ("3-natural", "3-router", "4-router")}


@pytest.fixture
def grading(tmp_path, monkeypatch):
    return Grading(tmp_path, monkeypatch)


def test_arms_are_graded_each_against_the_base_of_its_seed(grading, capsys):
    models = grading.models
    assert grading.run("grade", models) == [1] + [
        ("grade_arm", models / n, models / f"{n[0]}-base") for n in ("3-natural", "3-router", "4-router")
    ]
    assert capsys.readouterr().out.splitlines() == ["ranking 3-natural", "ranking 3-router", "ranking 4-router"]
    assert sorted(f.stem for f in (grading.results / "ranking").iterdir()) == ["3-natural", "3-router", "4-router"]
    assert grading.written("ranking/3-router.json") == '["grade_arm"]\n'
    one = ("grade_arm", models / "4-router", models / "4-base")
    assert grading.run("grade", models, "4-router", "--threads", 2) == [2, one]


def test_finalists_are_measured_and_one_is_chosen(grading):
    models = grading.models
    grading.run("grade", models)
    measured = ("measure_finalists", models, ["finalists"], GRADES)
    assert grading.run("finalists", models) == [1, ("finalists", GRADES), measured]
    assert grading.written("finalists.json") == '["measure_finalists"]\n'
    assert grading.run("choose") == [1, ("choose", ["measure_finalists"])]
    assert grading.choice.read_text() == '[\n "choose"\n]\n'
    assert grading.run("reinforce") == [1, ("reinforced", grading.model)]
    assert json.loads(grading.written("reinforced.json")) == ["reinforced"]


def test_the_heldout_split_is_read_only_after_the_choice_is_committed(grading, monkeypatch):
    models = grading.models
    monkeypatch.setattr(grading.script, "committed", lambda file: file != grading.choice)
    said = r"choice\.json is not committed; commit it before the held-out split is read\."
    with pytest.raises(SystemExit, match=said):
        grading.run("confirm", models)
    assert grading.log == [1]
    monkeypatch.setattr(grading.script, "committed", lambda file: file == grading.choice)
    grading.choice.write_text('{"model": "3-router"}')
    arms = [("confirm_arm", models / n) for n in GRADES]
    chosen = ("confirm_choice", models / "3-router", {"model": "3-router"})
    assert grading.run("confirm", models) == [1, ("lessons", models), chosen, *arms]
    assert json.loads(grading.written("lessons.json")) == ["lessons"]
    assert json.loads(grading.written("confirmed.json")) == ["confirm_choice"]
    assert (grading.results / "heldout" / "3-router.json").exists()
    assert grading.run("confirm", models, "4-router") == [1, arms[2]]


def test_the_card_is_made_of_every_result(grading, monkeypatch):
    grading.run("grade", grading.models)
    grading.run("reinforce")
    grading.choice.write_text('{"model": "3-router"}')
    monkeypatch.setattr(grading.script, "committed", lambda file: True)
    grading.run("confirm", grading.models)
    (grading.results / "lessons.json").write_text('{"a": 1}')
    (grading.model / "config.json").write_text('{"c": 2}')
    monkeypatch.setattr(grading.script, "card", lambda *given: grading.log.append(given) or "the card")
    held = {key: ["confirm_arm"] for key in GRADES}
    lessons, which = {"a": 1, "reinforced": ["reinforced"]}, {"3-router": {"sha256": "0"}}
    (grading.results / "which").mkdir()
    (grading.results / "which" / "3-router.json").write_text(json.dumps(which["3-router"]))
    assert grading.run("card") == [1, ({"c": 2}, GRADES, held, ["confirm_choice"], lessons, which)]
    assert (grading.model / "README.md").read_text() == "the card"


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
    assert grade_demo.lessons(tmp_path) == {
        "base_cpu_seconds": {"3-base": 1.5, "4-base": 2.5}, "parameters": 11, "sometimes": 0.4, "document_wins": 0.65,
    }  # fmt: skip
