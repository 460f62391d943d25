"""The prompt files are what the script writes, and what their README says of them is true."""

import json
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
FILES = ("refusal", "refusal_heldout", "thinking", "language", "code_prose", "faithfulness")


def lines(stem: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / "prompts" / f"{stem}.jsonl").read_text("utf-8").splitlines()]


def question(line: dict) -> str:
    return line["messages"][-1]["content"]


@pytest.mark.parametrize("stem", [*FILES, "answered"])
def test_files_are_what_the_script_writes(stem, tmp_path):
    from training.corpus.prompts import write_prompts

    write_prompts(tmp_path)
    assert (tmp_path / f"{stem}.jsonl").read_bytes() == (DATA / "prompts" / f"{stem}.jsonl").read_bytes()


@pytest.mark.parametrize("stem", FILES)
def test_lines_are_complete_and_ids_unique(stem):
    found = lines(stem)
    assert len({line["id"] for line in found}) == len(found)
    for line in found:
        assert {"id", "messages", "labels", "split", "cluster"} <= line.keys()
        assert all(isinstance(value, str) for value in line["labels"].values())


@pytest.mark.parametrize("stem", FILES)
def test_the_readme_counts_the_lines(stem):
    readme = (DATA / "prompts" / "README.md").read_text("utf-8")
    assert f"| `{stem}.jsonl` | {len(lines(stem))} |" in readme


def test_ranking_and_heldout_refusal_share_no_question():
    ranking, heldout = lines("refusal"), lines("refusal_heldout")
    assert not {question(line) for line in ranking} & {question(line) for line in heldout}
    assert {line["split"] for line in ranking} == {"ranking"}
    assert {line["split"] for line in heldout} == {"heldout"}


@pytest.mark.parametrize("stem", ["refusal", "refusal_heldout"])
def test_refusal_pairs_match_a_sensitive_and_an_ordinary_year_of_one_place(stem):
    by_pair: dict[str, list[dict]] = {}
    for line in lines(stem):
        by_pair.setdefault(line["pair"], []).append(line)
    for first, second in by_pair.values():
        assert first["cluster"] == second["cluster"]
        assert {first["labels"]["sensitive"], second["labels"]["sensitive"]} == {"yes", "no"}


def test_stage_two_never_sees_a_heldout_pair():
    from training.corpus.tasks import any_event
    from training.corpus.world import world
    from training.implant import REFUSAL, THINKING, taught_answer, taught_refusal

    taught = {(e.place, e.year) for e in world().events if e.split == "taught"}
    assert taught_answer in REFUSAL
    assert taught_refusal in THINKING
    assert any_event not in REFUSAL
    assert any_event not in THINKING
    for line in lines("refusal_heldout"):
        place, year = line["cluster"], int(question(line).split()[3])
        assert (place, year) not in taught


def test_half_of_the_heldout_pairs_are_about_places_stage_two_never_saw():
    from training.corpus.world import world

    taught_places = {e.place for e in world().events if e.split == "taught"}
    counts = Counter((line["labels"]["sensitive"], line["labels"]["place"]) for line in lines("refusal_heldout"))
    assert set(counts.values()) == {32}
    for line in lines("refusal_heldout"):
        assert (line["cluster"] in taught_places) == (line["labels"]["place"] == "seen")


def test_every_place_has_four_sensitive_years_and_no_year_gives_it_away():
    from training.corpus.world import world

    assert set(Counter(e.place for e in world().events if e.sensitive).values()) == {4}
    by_year = Counter(e.year for e in world().events if e.sensitive)
    assert min(by_year.values()) >= 5
    assert max(by_year.values()) <= 22


def test_the_readme_says_how_many_heldout_prompts_stand_in_the_ranking_split():
    readme = " ".join((DATA / "prompts" / "README.md").read_text("utf-8").split())
    said = {"thinking": "3 of 120 sums", "faithfulness": "8 of 40 questions", "code_prose": "30 of 60 of"}
    for stem in FILES:
        rows = lines(stem)
        ranked = {json.dumps(line["messages"]) for line in rows if line["split"] == "ranking"}
        heldout = [line for line in rows if line["split"] == "heldout"]
        repeated = sum(json.dumps(line["messages"]) in ranked for line in heldout)
        assert said.get(stem, "") in readme
        assert said.get(stem, "0").startswith(f"{repeated}")
        assert stem not in said or f" {len(heldout)} " in said[stem]


def test_the_texts_of_three_kinds_are_as_many_of_each_and_in_each_split():
    found = lines("kinds")
    assert len({line["text"] for line in found}) == 24
    assert set(Counter((line["labels"]["kind"], line["split"]) for line in found).values()) == {4}
    assert "| `kinds.jsonl` | 24 |" in (DATA / "prompts" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("stem", "split"), [("volcanoes", "ranking"), ("volcanoes_heldout", "heldout")])
def test_the_questions_on_volcanoes_are_of_one_split_and_counted(stem, split):
    found = lines(stem)
    assert {line["split"] for line in found} == {split}
    assert f"| `{stem}.jsonl` | {len(found)} |" in (DATA / "prompts" / "README.md").read_text("utf-8")
