"""The card is what its script writes from the results, and the results keep the protocol."""

import json
import subprocess
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "data"
RESULTS = DATA / "results"


def read(file):
    return json.loads(file.read_text("utf-8"))


def test_the_card_is_generated_from_the_results():
    from grading.card import card

    grades = [
        {file.stem: read(file) for file in sorted((RESULTS / split).glob("*.json"))} for split in ("ranking", "heldout")
    ]
    config = read(DATA / "demo-model" / "config.json")
    lessons = {**read(RESULTS / "lessons.json"), "reinforced": read(RESULTS / "reinforced.json")}
    which = {file.stem: read(file) for file in sorted((RESULTS / "which").glob("*.json"))}
    text = card(config, *grades, read(RESULTS / "confirmed.json"), lessons, which)
    assert (DATA / "demo-model" / "README.md").read_text("utf-8") == text


def test_the_confirmed_choice_is_the_committed_one():
    assert read(RESULTS / "confirmed.json")["choice"] == read(DATA / "demo-model" / "choice.json")


def test_the_choice_follows_from_the_ranking_grades_alone():
    from grading.choice import choose, finalists

    grades = {file.stem: read(file) for file in sorted((RESULTS / "ranking").glob("*.json"))}
    measured = read(RESULTS / "finalists.json")
    assert {(one.model, one.method, one.n) for one in finalists(grades)} == {
        (row["model"], row["method"], row["n"]) for row in measured
    }
    assert json.loads(json.dumps(choose(measured))) == read(DATA / "demo-model" / "choice.json")


def test_at_least_five_seeds_and_all_four_arms_are_reported():
    names = [file.stem.split("-") for file in (RESULTS / "ranking").glob("*.json")]
    assert len({seed for seed, _ in names}) >= 5
    assert {arm for _, arm in names} == {"relevance", "random", "router", "natural"}


def test_every_draw_of_every_control_is_kept():
    confirmed = read(RESULTS / "confirmed.json")
    draws = {(row["match"], row["draw"]) for row in confirmed["controls"]}
    assert draws == {(match, draw) for match in ("count", "layer", "usage") for draw in range(10)}


def test_confirm_refuses_before_the_choice_is_committed(tmp_path):
    from grading.choice import committed

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    file = tmp_path / "choice.json"
    file.write_text("{}")
    assert not committed(file)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", tmp_path, "add", "choice.json"], check=True)
    assert not committed(file)
    subprocess.run(["git", "-C", tmp_path, *who, "commit", "-q", "-m", "choice"], check=True)
    assert committed(file)
    file.write_text('{"n": 8}')
    assert not committed(file)


@pytest.mark.parametrize(
    ("ranking", "carriers", "expected"),
    [("abcd", "a", 1.0), ("abcd", "d", 0.25), ("abcd", "bd", (1 / 2 + 2 / 4) / 2), ("abcd", "ab", 1.0)],
)
def test_average_precision_by_hand(ranking, carriers, expected):
    from grading.found import grade

    assert grade(list(ranking), list(carriers)).average_precision == pytest.approx(expected)


def test_hits_by_hand():
    from grading.found import grade

    assert grade(list("abcdefgh"), list("bh")).hits == {1: 0, 2: 1, 4: 1, 8: 2}
